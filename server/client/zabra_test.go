package client_test

import (
	"testing"

	"zabra.dev/zabra/server/client/clienttest"
)

func TestZabra(t *testing.T) { testServer(t, clienttest.StartZabra(t)) }
