package bench_test

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zabra.dev/zabra/bench"
	"zabra.dev/zabra/server/client"
)

// A plan leaves nothing on servers that are not its own, unless it is asked to.
func TestPlanCleansUp(t *testing.T) {
	addr, dir := startStandalone(t, ""), t.TempDir()
	children := func() string {
		t.Helper()
		c, err := client.Dial(t.Context(), addr, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		names, err := c.GetChildren(t.Context(), "/")
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	args := []string{"plan", "-servers", addr, "-quick", "-step", "100ms", "-warmup", "10ms", "-mixes", "create:5,get:3,createdelete:1,ephemeral:1,session:1", "-sweeps", "none",
		"-html", filepath.Join(dir, "h"), "-json", filepath.Join(dir, "j")}
	for _, keep := range []bool{false, true} {
		want := "zookeeper"
		if keep {
			args, want = append(args, "-keep"), "zbench-plan zookeeper"
		}
		var stderr strings.Builder
		if code := bench.Main(args, io.Discard, &stderr); code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		if got := children(); got != want {
			t.Errorf("keep %v: %s is left", keep, got)
		}
	}
}
