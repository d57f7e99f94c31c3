package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"zabra.dev/zabra/bench"
)

// The measurements of failing leaders and of joining servers on ensembles of this binary.
func TestTrials(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for seconds")
	}
	dir := t.TempDir()
	measure := func(v any, args ...string) {
		t.Helper()
		cmd := commandWithin(t, 10*commandTimeout, dir, append([]string{"bench"}, append(args, "-json", "result")...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(filepath.Join(dir, "result"))
		if err == nil {
			err = json.Unmarshal(text, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var f bench.Failover
	measure(&f, "failover", "-rounds", "1", "-sessions", "3")
	if len(f.Trials) != 2 {
		t.Fatalf("%+v", f)
	}
	for i, event := range []string{"stop", "kill"} {
		if o := f.Trials[i]; o.Event != event || o.Contender != "zabra" || o.Ensemble <= 0 || o.Session < o.Ensemble {
			t.Errorf("%+v", o)
		}
	}
	var j bench.Joining
	measure(&j, "join", "-rounds", "2", "-znodes", "1000", "-rate", "200", "-duration", "500ms")
	if len(j.Joins) != 2 {
		t.Fatalf("%+v", j)
	}
	for _, n := range j.Joins {
		if n.Took <= 0 || n.Before.Count == 0 || n.During.Count == 0 {
			t.Errorf("%+v", n)
		}
	}
}
