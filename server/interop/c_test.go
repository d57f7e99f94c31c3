//go:build interop

package interop

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func init() {
	register(tour{
		name:  "c-client",
		needs: []tool{toolC},
		run: func(t *testing.T, s *server, tr *transcript) {
			bin, err := cTour()
			must(t, err)
			p := startProxy(t, s.addr)
			runProgram(t, tr, s, bin, s.addr, p.addr, p.control)
		},
	})
}

var cTour = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(scratch, "ctour")
	out, err := exec.Command("cc", "-std=gnu11", "-Wall", "-DTHREADED", "-o", bin, filepath.Join("testdata", "c", "tour.c"), "-lzookeeper_mt", "-lpthread").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("interop: cc: %w\n%s", err, out)
	}
	return bin, nil
})
