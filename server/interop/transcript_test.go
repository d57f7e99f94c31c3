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

// A known row is a behaviour in which Zabra knowingly differs from a Java server. Tour,
// Step, Java and Zabra are patterns in which * stands for any text.
type known struct {
	Tour   string
	Step   string
	Server kind // the Java server that it is about; "" for all
	Java   string
	Zabra  string
	Reason string

	used bool
}

var globs sync.Map // pattern -> *regexp.Regexp

func glob(pattern, s string) bool {
	if pattern == "*" || pattern == s {
		return true
	}
	re, ok := globs.Load(pattern)
	if !ok {
		re, _ = globs.LoadOrStore(pattern, regexp.MustCompile(`(?s)^`+strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)+`$`))
	}
	return re.(*regexp.Regexp).MatchString(s)
}

func (k *known) matches(tour string, ref kind, d difference) bool {
	return glob(k.Tour, tour) && (k.Server == "" || k.Server == ref) &&
		glob(k.Step, d.step) && glob(k.Java, d.java) && glob(k.Zabra, d.zabra)
}

var knownMu sync.Mutex // guards the used marks of knownDifferences

// judge fails the test for each difference that no row of the table explains. Between two
// Java servers no row applies.
func judge(t *testing.T, tour string, ref kind, ds []difference) {
	t.Helper()
	knownMu.Lock()
	defer knownMu.Unlock()
	for _, d := range ds {
		explained := false
		if subject() == zabra {
			for i := range knownDifferences {
				if k := &knownDifferences[i]; k.matches(tour, ref, d) {
					k.used, explained = true, true
					break
				}
			}
		}
		if !explained {
			t.Errorf("%s differs from %s in %q\n  %-6s %s\n  %-6s %s", subject(), ref, d.step, ref, d.java, subject(), d.zabra)
		}
	}
}

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
	row := known{Tour: "t*", Step: "s/*", Server: java38, Java: "err=-10*", Zabra: "err=-102"}
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
	} {
		if got := row.matches(c.tour, c.ref, c.d); got != c.want {
			t.Errorf("row matches %s %s %v: %v, want %v", c.tour, c.ref, c.d, got, c.want)
		}
	}
	a.add("s/1", "again")
	if len(a.dups) != 1 {
		t.Error("a step used twice was not noticed")
	}
}
