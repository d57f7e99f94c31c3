//go:build interop

package interop

import (
	"path/filepath"
	"testing"
)

func init() {
	register(tour{
		name:  "kazoo",
		needs: []tool{toolKazoo},
		run: func(t *testing.T, s *server, tr *transcript) {
			src, err := filepath.Abs(filepath.Join("testdata", "py", "kazoo_tour.py"))
			must(t, err)
			p := startProxy(t, s.addr)
			runProgram(t, tr, s, "/usr/bin/python3", src, s.addr, p.addr, p.control)
		},
	})
}
