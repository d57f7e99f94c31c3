package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestEveryKeyIsKnown checks the table against the list of all keys, properties and misleading names of
// spec/operations.md chapter 1: none may be reported as unknown.
func TestEveryKeyIsKnown(t *testing.T) {
	text, err := os.ReadFile("testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(text))
	if len(names) < 200 {
		t.Fatalf("%d names in the list", len(names))
	}
	for _, name := range names {
		if FindKey(name) == nil {
			t.Errorf("key %s is not in the table", name)
		}
	}
}

// TestTable checks what every row must have.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys() {
		if seen[k.Name] {
			t.Errorf("%s: two rows", k.Name)
		}
		seen[k.Name] = true
		if (k.Treatment == Kept || k.Treatment == NoEffect) != (k.Reason != "") {
			t.Errorf("%s: %s, reason %q", k.Name, k.Treatment, k.Reason)
		}
		if (k.Treatment == Honoured || k.Treatment == Kept) && k.target == nil && k.check == nil && k.Kind != KindMember {
			t.Errorf("%s: %s, but no field takes it", k.Name, k.Treatment)
		}
		if k.Fixed() == (k.Property != "") && !strings.HasPrefix(k.Name, "multiAddress.") {
			t.Errorf("%s: fixed %v, property %q", k.Name, k.Fixed(), k.Property)
		}
		if (k.Kind == KindDuration || k.Kind == KindSize) && units[k.Unit] == 0 {
			t.Errorf("%s: %s in %q", k.Name, k.Kind, k.Unit)
		}
		if k.Kind == KindYesNo && k.Default == "" {
			t.Errorf("%s: no default", k.Name)
		}
		if k.Kind.String() == "" || k.Treatment.String() == "" {
			t.Errorf("%s: kind or treatment without a name", k.Name)
		}
	}
}

// TestFieldsAreDistinct checks that no two rows write the same field, by their addresses in one Config.
func TestFieldsAreDistinct(t *testing.T) {
	c := &Config{}
	owner := map[uintptr]string{}
	for _, k := range Keys() {
		if k.target == nil {
			continue
		}
		v := reflect.ValueOf(k.target(c))
		if v.Type() == reflect.TypeFor[*Listener]() {
			continue
		}
		if other := owner[v.Pointer()]; other != "" {
			t.Errorf("%s and %s share a field", other, k.Name)
		}
		owner[v.Pointer()] = k.Name
	}
}
