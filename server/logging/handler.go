package logging

import (
	"context"
	"io"
	"log/slog"
	"math"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Keys of attributes that have a place of their own in the line.
const (
	ThreadKey    = "thread"
	ComponentKey = "component"
	ErrKey       = "err"
)

// Thread returns a logger whose lines name thread in front of the colon of the bracket.
func Thread(log *slog.Logger, thread string) *slog.Logger { return log.With(ThreadKey, thread) }

// Component returns a logger whose lines name component behind the colon of the bracket.
func Component(log *slog.Logger, component string) *slog.Logger {
	return log.With(ComponentKey, component)
}

// Err is the cause of a failure; its text follows the message after a colon.
func Err(err error) slog.Attr { return slog.Any(ErrKey, err) }

// output is what a handler and all that derive from it share.
type output struct {
	level slog.LevelVar
	myid  atomic.Int64 // noMyID until it is known
	mu    sync.Mutex   // guards w: lines are not interleaved
	w     io.Writer
}

const noMyID = math.MinInt64

// Handler is a slog.Handler. Make one with New.
type Handler struct {
	out       *output
	thread    string
	component string // empty: the package of the caller
	attrs     []byte // attributes of WithAttrs, formatted; appended after those of the record's message
	cause     []byte // text of an Err attribute of WithAttrs
	group     string // prefix of keys, "a.b."
}

// New returns a handler that writes to w, lines of level and above. It takes w: until the process ends,
// nothing else should write there unless w sorts it out. A failed write is not reported; there is nowhere
// to report it.
func New(w io.Writer, level slog.Level) *Handler {
	h := &Handler{out: &output{w: w}, thread: "main"}
	h.out.level.Set(level)
	h.out.myid.Store(noMyID)
	return h
}

// SetMyID puts id on all lines from now on, also those of handlers derived before.
func (h *Handler) SetMyID(id int64) { h.out.myid.Store(id) }

// SetLevel changes the least level of lines from now on, also of handlers derived before.
func (h *Handler) SetLevel(level slog.Level) { h.out.level.Set(level) }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.out.level.Level()
}

// buffer is pooled; one that a giant message has grown is dropped.
type buffer struct{ b []byte }

const pooledBytesMax = 16 << 10

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 512)} }}

// Handle implements slog.Handler. It allocates nothing for records whose values are strings, numbers,
// booleans, times and durations.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	buf := buffers.Get().(*buffer)
	component, line := h.component, 0
	if r.PC != 0 {
		// r.PC is a return address; the call is just before it.
		if f := runtime.FuncForPC(r.PC - 1); f != nil {
			_, line = f.FileLine(r.PC - 1)
			if component == "" {
				component = packageOf(f.Name())
			}
		}
	}
	if component == "" {
		component = "zabra"
	}
	thread := h.thread
	if h.group == "" {
		// What belongs into the bracket may stand anywhere among the attributes.
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case ThreadKey:
				thread = a.Value.String()
			case ComponentKey:
				component = a.Value.String()
			}
			return true
		})
	}
	b := appendHead(buf.b[:0], r.Time, h.out.myid.Load(), r.Level, thread, component, line)
	b = appendEscaped(b, r.Message)
	t := tail{b: append(b, h.attrs...), cause: h.cause, group: h.group}
	r.Attrs(func(a slog.Attr) bool {
		t.append(a)
		return true
	})
	b = t.b
	if len(t.cause) > 0 {
		b = append(b, ": "...)
		b = append(b, t.cause...)
	}
	b = append(b, '\n')
	h.out.mu.Lock()
	_, err := h.out.w.Write(b)
	h.out.mu.Unlock()
	if cap(b) <= pooledBytesMax {
		buf.b = b
		buffers.Put(buf)
	}
	return err
}

// tail collects what follows the message.
type tail struct {
	b     []byte
	cause []byte
	group string // prefix of keys

	thread, component string // from attributes; empty when there were none
}

func (t *tail) append(a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		outer := t.group
		if a.Key != "" {
			t.group += a.Key + "."
		}
		for _, member := range v.Group() {
			t.append(member)
		}
		t.group = outer
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	if t.group == "" {
		switch a.Key {
		case ThreadKey:
			t.thread = v.String()
			return
		case ComponentKey:
			t.component = v.String()
			return
		case ErrKey:
			t.cause = appendEscaped(t.cause[:len(t.cause):len(t.cause)], v.String())
			return
		}
	}
	t.b = append(t.b, ' ')
	t.b = appendEscaped(t.b, t.group)
	t.b = appendEscaped(t.b, a.Key)
	t.b = append(t.b, '=')
	t.b = appendValue(t.b, v)
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	derived := *h
	t := tail{b: h.attrs[:len(h.attrs):len(h.attrs)], cause: h.cause, group: h.group, thread: h.thread, component: h.component}
	for _, a := range attrs {
		t.append(a)
	}
	derived.attrs, derived.cause, derived.thread, derived.component = t.b, t.cause, t.thread, t.component
	return &derived
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	derived := *h
	if name != "" {
		derived.group += name + "."
	}
	return &derived
}

// packageOf returns the last element of the package path in a function's name:
// "zabra.dev/zabra/server/config.Load" gives "config".
func packageOf(function string) string {
	name := function[strings.LastIndexByte(function, '/')+1:]
	if i := strings.IndexByte(name, '.'); i >= 0 {
		name = name[:i]
	}
	return name
}

// appendHead appends everything up to the message.
func appendHead(b []byte, at time.Time, myid int64, level slog.Level, thread, component string, line int) []byte {
	b = at.AppendFormat(b, "2006-01-02 15:04:05,000")
	b = append(b, " [myid:"...)
	if myid != noMyID {
		b = strconv.AppendInt(b, myid, 10)
	}
	b = append(b, "] - "...)
	b = append(b, levelText(level)...)
	b = append(b, " ["...)
	b = appendEscaped(b, thread)
	b = append(b, ':')
	b = appendEscaped(b, component)
	b = append(b, '@')
	b = strconv.AppendInt(b, int64(line), 10)
	return append(b, "] - "...)
}

// levelText returns the level padded to five characters.
func levelText(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "ERROR"
	case level >= slog.LevelWarn:
		return "WARN "
	case level >= slog.LevelInfo:
		return "INFO "
	case level >= slog.LevelDebug:
		return "DEBUG"
	}
	return "TRACE"
}

func appendValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindFloat64:
		return strconv.AppendFloat(b, v.Float64(), 'g', -1, 64)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindTime:
		return v.Time().AppendFormat(b, time.RFC3339Nano)
	case slog.KindString:
		return appendQuoted(b, v.String())
	}
	return appendQuoted(b, v.String())
}

// appendQuoted appends s, quoted when its end would not be seen.
func appendQuoted(b []byte, s string) []byte {
	if s == "" || strings.ContainsAny(s, " =\"") {
		return strconv.AppendQuote(b, s)
	}
	return appendEscaped(b, s)
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends s with control characters as \n, \r, \t or \x00, so that nobody who can choose a
// path or a name can forge a line. A tab between words stays, as the Java server prints some.
func appendEscaped(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != 0x7f || c == '\t' || c >= utf8.RuneSelf {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, `\x`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(b, s[start:]...)
}
