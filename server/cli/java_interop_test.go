//go:build interop

package cli

import (
	"testing"

	"zabra.dev/zabra/server/client/clienttest"
)

func TestGoldenAgainstJava(t *testing.T) {
	testGolden(t, clienttest.StartJava(t).Addr)
}
