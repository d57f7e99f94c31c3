package cli

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// javaDate is the layout of Java's Date.toString.
const javaDate = "Mon Jan 02 15:04:05 MST 2006"

// statText is the block of eleven lines that -s prints; times are in the local zone.
func statText(s proto.Stat) string {
	date := func(ms int64) string { return time.UnixMilli(ms).Format(javaDate) }
	var b strings.Builder
	fmt.Fprintf(&b, "cZxid = 0x%x\n", uint64(s.Czxid))
	fmt.Fprintf(&b, "ctime = %s\n", date(s.Ctime))
	fmt.Fprintf(&b, "mZxid = 0x%x\n", uint64(s.Mzxid))
	fmt.Fprintf(&b, "mtime = %s\n", date(s.Mtime))
	fmt.Fprintf(&b, "pZxid = 0x%x\n", uint64(s.Pzxid))
	fmt.Fprintf(&b, "cversion = %d\n", s.Cversion)
	fmt.Fprintf(&b, "dataVersion = %d\n", s.Version)
	fmt.Fprintf(&b, "aclVersion = %d\n", s.Aversion)
	fmt.Fprintf(&b, "ephemeralOwner = 0x%x\n", uint64(s.EphemeralOwner))
	fmt.Fprintf(&b, "dataLength = %d\n", s.DataLength)
	fmt.Fprintf(&b, "numChildren = %d\n", s.NumChildren)
	return b.String()
}

// eventText is what the original prints for an event, in the form of 3.9.
func eventText(e client.Event) string {
	path := e.Path
	if e.Type == client.EventNone {
		path = "null"
	}
	return fmt.Sprintf("\nWATCHER::\n\nWatchedEvent state:%v type:%s path:%s zxid: %d\n",
		e.State, client.EventTypeName(e.Type), path, e.Zxid)
}

// aclText is two lines per entry.
func aclText(acl []proto.ACL) string {
	var b strings.Builder
	for _, a := range acl {
		fmt.Fprintf(&b, "'%s,'%s\n: %s\n", a.Scheme, a.ID, permText(a.Perms))
	}
	return b.String()
}

// permLetters is the order in which the original prints permissions.
var permLetters = []struct {
	letter byte
	perm   int32
}{{'c', proto.PermCreate}, {'d', proto.PermDelete}, {'r', proto.PermRead}, {'w', proto.PermWrite}, {'a', proto.PermAdmin}}

func permText(perms int32) string {
	var s []byte
	for _, p := range permLetters {
		if perms&p.perm != 0 {
			s = append(s, p.letter)
		}
	}
	return string(s)
}

// parseACL reads "scheme:id:perms,...". What it cannot read it leaves out and complains about
// to warn, a line each, as the original does.
func parseACL(s string, warn func(string)) (acl []proto.ACL) {
	for _, entry := range strings.Split(s, ",") {
		first, last := strings.IndexByte(entry, ':'), strings.LastIndexByte(entry, ':')
		if first == last { // none or only one
			warn(entry + " does not have the form scheme:id:perm")
			continue
		}
		a := proto.ACL{Scheme: entry[:first], ID: entry[first+1 : last]}
		for _, r := range entry[last+1:] {
			known := false
			for _, p := range permLetters {
				if rune(p.letter) == r {
					a.Perms |= p.perm
					known = true
				}
			}
			if !known {
				warn("Unknown perm type: " + string(r))
			}
		}
		acl = append(acl, a)
	}
	return acl
}

// dataText is a znode's data as text; null data reads "null" in every form.
func dataText(data []byte, asBase64, asHex bool) string {
	if data == nil {
		data = []byte("null")
	}
	switch {
	case asHex:
		return hexDump(data)
	case asBase64:
		return base64.StdEncoding.EncodeToString(data)
	}
	return string(data)
}

// hexDump is netty's pretty hex dump, without the last newline; empty for no data.
func hexDump(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	const rule = "+--------+-------------------------------------------------+----------------+"
	var b strings.Builder
	b.WriteString("         +-------------------------------------------------+\n")
	b.WriteString("         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n")
	b.WriteString(rule)
	for at := 0; at < len(data); at += 16 {
		row := data[at:min(at+16, len(data))]
		fmt.Fprintf(&b, "\n|%08x|", at)
		for _, c := range row {
			fmt.Fprintf(&b, " %02x", c)
		}
		b.WriteString(strings.Repeat("   ", 16-len(row)))
		b.WriteString(" |")
		for _, c := range row {
			if c <= 0x1f || c >= 0x7f {
				c = '.'
			}
			b.WriteByte(c)
		}
		b.WriteString(strings.Repeat(" ", 16-len(row)))
		b.WriteString("|")
	}
	b.WriteString("\n" + rule)
	return b.String()
}
