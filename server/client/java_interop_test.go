//go:build interop

package client_test

import (
	"testing"

	"zabra.dev/zabra/server/client/clienttest"
)

func TestJava(t *testing.T) { testServer(t, clienttest.StartJava(t).Addr) }
