package sim

import (
	"testing"

	"github.com/anishathalye/porcupine"

	"zabra.dev/zabra/engine/proto"
)

// TestRegisters: the model that porcupine is given accepts what could have been, and refuses a read of what was
// overwritten before it was asked for, a write that is lost, and a write with the wrong verdict.
func TestRegisters(t *testing.T) {
	done := func(o op) *op { o.answered = true; return &o }
	first := porcupine.Operation{ClientId: 1, Input: done(op{kind: opCreate, path: "/k1", data: "a"}), Output: answer{}, Call: 1, Return: 2}
	second := porcupine.Operation{ClientId: 2, Input: done(op{kind: opSet, path: "/k1", data: "b", expect: 0}), Output: answer{version: 1}, Call: 3, Return: 6}
	read := func(call, ret int64, version int32, data string) porcupine.Operation {
		return porcupine.Operation{ClientId: 3, Input: done(op{kind: opGet, path: "/k1", sync: &op{}}), Output: answer{exists: true, version: version, data: data}, Call: call, Return: ret}
	}
	wrong := porcupine.Operation{ClientId: 1, Input: done(op{kind: opSet, path: "/k1", data: "c", expect: 0}), Output: answer{version: 1}, Call: 8, Return: 9}
	refused := wrong
	refused.Output = answer{err: proto.ErrBadVersion}
	for name, tc := range map[string]struct {
		more []porcupine.Operation
		want bool
	}{
		"after":         {[]porcupine.Operation{read(7, 8, 1, "b")}, true},
		"meanwhile old": {[]porcupine.Operation{read(4, 5, 0, "a")}, true},
		"meanwhile new": {[]porcupine.Operation{read(4, 5, 1, "b")}, true},
		"stale":         {[]porcupine.Operation{read(7, 8, 0, "a")}, false},
		"back":          {[]porcupine.Operation{read(3, 4, 1, "b"), read(5, 6, 0, "a")}, false},
		"wrong verdict": {[]porcupine.Operation{wrong}, false},
		"right verdict": {[]porcupine.Operation{refused}, true},
	} {
		if got := porcupine.CheckOperations(registers, append([]porcupine.Operation{first, second}, tc.more...)); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
