package authprovider

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"strings"
)

// errName reports a name that is no distinguished name in DER.
var errName = errors.New("authprovider: bad distinguished name")

// attribute is one type and value of a relative name, the value undecoded.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// keywords are the types that Java writes by name in the RFC 2253 form; all others are numbers.
var keywords = map[string]string{
	"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

// subjectName gives the text of a DER distinguished name as Java's X500Principal.getName does: most
// specific relative name first, without blanks behind commas.
func subjectName(der []byte) (string, error) {
	var rdns []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &rdns); err != nil || len(rest) > 0 {
		return "", errName
	}
	var b strings.Builder
	for i := len(rdns) - 1; i >= 0; i-- {
		if i < len(rdns)-1 {
			b.WriteByte(',')
		}
		// Not decoded as a set, since a set in the wrong order is taken as it is.
		for j, rest := 0, rdns[i].Bytes; len(rest) > 0; j++ {
			var a attribute
			var err error
			if rest, err = asn1.Unmarshal(rest, &a); err != nil {
				return "", errName
			}
			if j > 0 {
				b.WriteByte('+')
			}
			writeAttribute(&b, &a)
		}
	}
	return b.String(), nil
}

// isText tells whether Java takes a value of that tag for a string.
func isText(tag int) bool {
	switch tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagT61String, asn1.TagIA5String, asn1.TagGeneralString, asn1.TagBMPString:
		return true
	}
	return false
}

func writeAttribute(b *strings.Builder, a *attribute) {
	oid := a.Type.String()
	keyword, known := keywords[oid]
	if !known || !isText(a.Value.Tag) || a.Value.Class != asn1.ClassUniversal {
		if known {
			oid = keyword
		}
		b.WriteString(oid)
		b.WriteString("=#")
		b.WriteString(hex.EncodeToString(a.Value.FullBytes))
		return
	}
	b.WriteString(keyword)
	b.WriteByte('=')
	var text []rune
	for _, r := range string(a.Value.Bytes) {
		switch {
		case strings.ContainsRune(",=+<>#;\"\\", r):
			text = append(text, '\\', r)
		case r == 0:
			text = append(text, '\\', '0', '0')
		default:
			text = append(text, r)
		}
	}
	blank := func(r rune) bool { return r == ' ' || r == '\r' }
	lead, trail := 0, len(text)-1
	for lead < len(text) && blank(text[lead]) {
		lead++
	}
	for trail >= 0 && blank(text[trail]) {
		trail--
	}
	for i, r := range text {
		if i < lead || i > trail {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
}

// inputKeywords are the types that Java knows by name when it reads a name, in upper case.
var inputKeywords = map[string]bool{
	"CN": true, "C": true, "L": true, "S": true, "ST": true, "O": true, "OU": true, "T": true, "IP": true, "STREET": true, "DC": true,
	"DNQUALIFIER": true, "DNQ": true, "SURNAME": true, "GIVENNAME": true, "INITIALS": true, "GENERATION": true,
	"EMAIL": true, "EMAILADDRESS": true, "UID": true, "SERIALNUMBER": true,
}

// validName tells whether Java's X500Principal takes s for a distinguished name.
func validName(s string) bool {
	if s == "" {
		return true
	}
	for _, part := range splitName(s) {
		if !validAttribute(part) {
			return false
		}
	}
	return true
}

// splitName splits at commas, semicolons and plus signs that are neither escaped nor in quotes.
func splitName(s string) (parts []string) {
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ';' || c == '+'):
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[min(start, len(s)):])
}

func validAttribute(s string) bool {
	typ, value, ok := strings.Cut(s, "=")
	if !ok || !validType(strings.TrimSpace(typ)) {
		return false
	}
	value = strings.TrimLeft(value, " \n")
	switch {
	case strings.HasPrefix(value, "#"):
		digits := strings.TrimRight(value[1:], " ")
		_, err := hex.DecodeString(digits)
		return err == nil && digits != ""
	case strings.HasPrefix(value, `"`):
		return validQuoted(value[1:])
	}
	return validPlain(value)
}

func validType(typ string) bool {
	upper := strings.ToUpper(typ)
	if inputKeywords[upper] {
		return true
	}
	upper = strings.TrimPrefix(upper, "OID.")
	arcs := strings.Split(upper, ".")
	for _, arc := range arcs {
		if arc == "" || strings.Trim(arc, "0123456789") != "" {
			return false
		}
	}
	return len(arcs) >= 2 && (arcs[0] == "0" || arcs[0] == "1" || arcs[0] == "2")
}

// validEscape tells whether what stands behind a backslash may, and how long it is.
func validEscape(s string) (n int, ok bool) {
	switch {
	case s == "":
		return 0, false
	case strings.IndexByte(",=+<>#;\"\\ ", s[0]) >= 0:
		return 1, true
	case len(s) >= 2:
		_, err := hex.DecodeString(s[:2])
		return 2, err == nil
	}
	return 0, false
}

// validQuoted checks what follows an opening quote, to the end of the value.
func validQuoted(s string) bool {
	end, ok := indexUnescaped(s, `"`)
	return ok && end >= 0 && strings.Trim(s[end+1:], " \n") == ""
}

func validPlain(s string) bool {
	at, ok := indexUnescaped(s, `"<>`)
	return ok && at < 0
}

// indexUnescaped finds the first of chars that no backslash escapes, -1 if there is none. It is not ok
// if an escape before that is not valid.
func indexUnescaped(s, chars string) (at int, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			n, ok := validEscape(s[i+1:])
			if !ok {
				return -1, false
			}
			i += n
		} else if strings.IndexByte(chars, s[i]) >= 0 {
			return i, true
		}
	}
	return -1, true
}
