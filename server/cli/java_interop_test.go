//go:build interop

package cli

import (
	"testing"

	"zabra.dev/zabra/server/client/clienttest"
)

func TestGoldenAgainstJava(t *testing.T) {
	testGolden(t, clienttest.StartJava(t).Addr)
}

func TestCasesAgainstJava(t *testing.T) {
	testCases(t, clienttest.StartJava(t, "enforceQuota=true").Addr)
}
