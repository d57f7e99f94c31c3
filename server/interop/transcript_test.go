//go:build interop

package interop

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A transcript is what a tour saw: steps in order, each with one line.
type transcript struct {
	mu    sync.Mutex // guards all below: clients may report from several goroutines
	steps []string
	seen  map[string]string
	dups  []string
}

const stepSeparator = " | "

// add records a step. A step's name is unique in its tour, so that the table of known
// differences can point at it.
func (tr *transcript) add(step, line string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.seen == nil {
		tr.seen = map[string]string{}
	}
	if _, ok := tr.seen[step]; ok {
		tr.dups = append(tr.dups, step)
		return
	}
	tr.steps = append(tr.steps, step)
	tr.seen[step] = line
}

// addLines records the "step | line" lines that a client program printed; other lines are
// its noise (log output) and are ignored.
func (tr *transcript) addLines(out string) {
	for _, l := range strings.Split(out, "\n") {
		if step, line, ok := strings.Cut(strings.TrimRight(l, "\r"), stepSeparator); ok {
			tr.add(strings.TrimSpace(step), line)
		}
	}
}

func (tr *transcript) String() string {
	var b strings.Builder
	for _, s := range tr.steps {
		fmt.Fprintf(&b, "%s%s%s\n", s, stepSeparator, tr.seen[s])
	}
	return b.String()
}

// absent stands for a step that a transcript does not have.
const absent = "<absent>"

// A difference is one step in which two transcripts are not equal.
type difference struct{ step, java, zabra string }

// compare returns the steps in which the transcripts differ, in the order of a, with the
// steps that only b has at the end.
func compare(a, b *transcript) []difference {
	var ds []difference
	for _, s := range a.steps {
		l, ok := b.seen[s]
		if !ok {
			l = absent
		}
		if l != a.seen[s] {
			ds = append(ds, difference{s, a.seen[s], l})
		}
	}
	for _, s := range b.steps {
		if _, ok := a.seen[s]; !ok {
			ds = append(ds, difference{s, absent, b.seen[s]})
		}
	}
	return ds
}

// A known row is a behaviour in which Zabra knowingly differs from a Java server. It either
// pairs what the two say (Java and Zabra, in which * stands for any text), or rewrites what
// Zabra says into what Java would have said (From and To), for a difference that is a small
// part of many lines.
type known struct {
	Tour   string // regular expression for the whole name
	Step   string // regular expression for the whole name
	Server kind   // the Java server that it is about; "" for all
	Java   string
	Zabra  string
	From   string // regular expression on Zabra's line
	To     string // its replacement, with $1
	Reason string

	used bool
}

var regexps sync.Map // source -> *regexp.Regexp

func compiled(source string) *regexp.Regexp {
	re, ok := regexps.Load(source)
	if !ok {
		re, _ = regexps.LoadOrStore(source, regexp.MustCompile(source))
	}
	return re.(*regexp.Regexp)
}

func whole(pattern, s string) bool { return compiled(`(?s)^(?:` + pattern + `)$`).MatchString(s) }

func glob(pattern, s string) bool {
	return pattern == s || whole(strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`), s)
}

func (k *known) concerns(tour string, ref kind, d difference) bool {
	return (k.Server == "" || k.Server == ref) && whole(k.Tour, tour) && whole(k.Step, d.step)
}

// explain looks for the rows that make the difference go away and marks them as used.
func explain(rows []known, tour string, ref kind, d difference) bool {
	var rewrites []*known
	for i := range rows {
		k := &rows[i]
		if !k.concerns(tour, ref, d) {
			continue
		}
		if k.From == "" {
			if glob(k.Java, d.java) && glob(k.Zabra, d.zabra) {
				k.used = true
				return true
			}
			continue
		}
		if l := compiled(k.From).ReplaceAllString(d.zabra, k.To); l != d.zabra {
			rewrites = append(rewrites, k)
			if d.zabra = l; l == d.java {
				for _, r := range rewrites {
					r.used = true
				}
				return true
			}
		}
	}
	return false
}

var knownMu sync.Mutex // guards the used marks of knownDifferences

// judge fails the test for each difference that no row of the table explains. Between two
// Java servers no row applies.
func judge(t *testing.T, tour string, ref kind, ds []difference) {
	t.Helper()
	knownMu.Lock()
	defer knownMu.Unlock()
	shown := 0
	for _, d := range ds {
		explained := subject() == zabra && explain(knownDifferences, tour, ref, d)
		switch {
		case explained:
		case shown == maxShown:
			shown++
			t.Errorf("... and more: the tour has %d differences from %s in all", len(ds), ref)
		case shown < maxShown:
			shown++
			t.Errorf("%s differs from %s in %q\n  %-6s %s\n  %-6s %s", subject(), ref, d.step, ref, d.java, subject(), d.zabra)
		}
	}
}

// maxShown bounds the differences that one comparison prints.
const maxShown = 25

// TestTranscript checks the comparison itself on made-up transcripts.
func TestTranscript(t *testing.T) {
	var a, b transcript
	a.addLines("s/1 | err=0\nnoise\ns/2 | err=-101\ns/3 | only here\r\n")
	b.addLines("s/1 | err=0\ns/2 | err=-102\ns/4 | only there")
	want := []difference{{"s/2", "err=-101", "err=-102"}, {"s/3", "only here", absent}, {"s/4", absent, "only there"}}
	got := compare(&a, &b)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("compare = %v, want %v", got, want)
	}
	if len(compare(&a, &a)) != 0 {
		t.Error("a transcript differs from itself")
	}
	rows := []known{
		{Tour: "t.*", Step: "s/2", Server: java38, Java: "err=-10*", Zabra: "err=-102"},
		{Tour: "t.*", Step: "s/.*", From: `x(\d)`, To: "y$1"},
		{Tour: "t.*", Step: "s/.*", From: `z`, To: "w"},
	}
	for _, c := range []struct {
		tour string
		ref  kind
		d    difference
		want bool
	}{
		{"tour", java38, want[0], true},
		{"tour", java39, want[0], false},
		{"other", java38, want[0], false},
		{"tour", java38, want[1], false},
		{"tour", java39, difference{"s/5", "y1 y2", "x1 x2"}, true},
		{"tour", java39, difference{"s/5", "y1 w", "x1 z"}, true},
		{"tour", java39, difference{"s/5", "y1 v", "x1 z"}, false},
	} {
		if got := explain(rows, c.tour, c.ref, c.d); got != c.want {
			t.Errorf("explained %s %s %v: %v, want %v", c.tour, c.ref, c.d, got, c.want)
		}
	}
	a.add("s/1", "again")
	if len(a.dups) != 1 {
		t.Error("a step used twice was not noticed")
	}
}
