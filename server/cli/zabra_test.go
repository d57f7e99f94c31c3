package cli

import (
	"fmt"
	"testing"

	"zabra.dev/zabra/server/client/clienttest"
)

func TestGolden(t *testing.T) {
	testGolden(t, clienttest.StartZabra(t))
}

func TestCases(t *testing.T) {
	testCases(t, clienttest.StartZabra(t, "enforceQuota=true"))
}

// Hard quotas that are enforced (recorded transcript quota-enforced).
func TestQuotaEnforced(t *testing.T) {
	addr := clienttest.StartZabra(t, "enforceQuota=true")
	f := func(wantErr string, wantExit int, args ...string) {
		t.Helper()
		_, errOut, exit := run(addr, args...)
		check(t, fmt.Sprint(args), errOut, wantErr)
		if exit != wantExit {
			t.Errorf("%v: exit code %d", args, exit)
		}
	}
	f("Created /q\n", 0, "create", "/q", "x")
	f("", 0, "setquota", "-N", "2", "/q")
	f("Created /q/a\n", 0, "create", "/q/a", "x")
	f("Quota has exceeded : /q/b\n", 1, "create", "/q/b", "x")
	f("", 0, "setquota", "-B", "4", "/q")
	f("Quota has exceeded : /q/a\n", 1, "set", "/q/a", "xxxxxxxxxx")
	f("/q/a has a parent /q which has a quota\n", 1, "setquota", "-n", "1", "/q/a")
	f("Created /eph\n", 0, "create", "-e", "/eph", "x")
	f("Node does not exist: /nope\n", 1, "delete", "/nope")
}
