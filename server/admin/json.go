package admin

import (
	"fmt"
	"strconv"
)

// An object is a JSON object whose fields keep their order.
type object []field

type field struct {
	key   string
	value any // see appendValue
}

func (o *object) put(key string, value any) { *o = append(*o, field{key, value}) }

// literal is text that is JSON already, such as a number.
type literal string

// appendJSON appends o in the layout of Java's pretty printer: objects over several lines, indented by
// two blanks, arrays on the line where they begin, "key" : value.
func appendJSON(dst []byte, o object) []byte { return appendObject(dst, o, 0) }

func appendObject(dst []byte, o object, depth int) []byte {
	if len(o) == 0 {
		return append(dst, "{ }"...)
	}
	dst = append(dst, '{')
	for i, f := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendLineStart(dst, depth+1)
		dst = appendString(dst, f.key)
		dst = append(dst, " : "...)
		dst = appendValue(dst, f.value, depth+1)
	}
	return append(appendLineStart(dst, depth), '}')
}

func appendLineStart(dst []byte, depth int) []byte {
	dst = append(dst, '\n')
	for range depth {
		dst = append(dst, "  "...)
	}
	return dst
}

func appendArray[T any](dst []byte, list []T, depth int) []byte {
	if len(list) == 0 {
		return append(dst, "[ ]"...)
	}
	dst = append(dst, "[ "...)
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendValue(dst, v, depth)
	}
	return append(dst, " ]"...)
}

func appendValue(dst []byte, value any, depth int) []byte {
	switch v := value.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case literal:
		return append(dst, v...)
	case string:
		return appendString(dst, v)
	case object:
		return appendObject(dst, v, depth)
	case []object:
		return appendArray(dst, v, depth)
	case []string:
		return appendArray(dst, v, depth)
	case []int:
		return appendArray(dst, v, depth)
	case []int64:
		return appendArray(dst, v, depth)
	}
	panic(fmt.Sprintf("admin: no JSON for %T", value))
}

// appendString escapes what JSON demands and nothing else, as Java does; bytes that are no UTF-8 become
// U+FFFD, which is what Java makes of them when it reads a path.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\b':
			dst = append(dst, `\b`...)
		case r == '\f':
			dst = append(dst, `\f`...)
		case r < ' ':
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[r>>4], hex[r&15])
		default:
			dst = append(dst, string(r)...)
		}
	}
	return append(dst, '"')
}
