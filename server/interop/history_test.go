//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

const (
	registerRound = 2 * time.Second // after which clients go on to fresh registers: short histories are quick to check
	registers     = 4               // in use at a time
	judgeTimeout  = 60 * time.Second
)

// A registerOp is what a client asks of a register, a node that comes and goes.
type registerOp struct {
	Kind   string // get, create, delete, set
	Path   string
	Data   string
	Expect int32 // version, -1: any
}

// A registerAnswer is what it was told.
type registerAnswer struct {
	Unknown bool // nothing
	Err     proto.ErrCode
	Exists  bool
	Version int32
	Data    string
}

// A regState is the state of one.
type regState struct {
	exists  bool
	version int32
	data    string
}

func (r regState) judge(expect int32) proto.ErrCode {
	switch {
	case !r.exists:
		return proto.ErrNoNode
	case expect != -1 && expect != r.version:
		return proto.ErrBadVersion
	}
	return proto.OK
}

// registerModel says what answers a register may give.
var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, o := range history {
			path := o.Input.(registerOp).Path
			i, ok := at[path]
			if !ok {
				i = len(parts)
				at[path] = i
				parts = append(parts, nil)
			}
			parts[i] = append(parts[i], o)
		}
		return parts
	},
	Init: func() any { return regState{} },
	Step: func(state, input, output any) (bool, any) {
		r, o, a := state.(regState), input.(registerOp), output.(registerAnswer)
		want := proto.OK
		switch o.Kind {
		case "get":
			return a.Exists == r.exists && a.Data == r.data && a.Version == r.version, r
		case "create":
			if r.exists {
				want = proto.ErrNodeExists
				break
			}
			r = regState{exists: true, data: o.Data}
		case "delete":
			if want = r.judge(o.Expect); want == proto.OK {
				r = regState{}
			}
		case "set":
			if want = r.judge(o.Expect); want == proto.OK {
				r.data = o.Data
				r.version++
				if !a.Unknown && a.Version != r.version {
					return false, r
				}
			}
		}
		return a.Unknown || a.Err == want, r
	},
	DescribeOperation: func(input, output any) string {
		o, a := input.(registerOp), output.(registerAnswer)
		switch {
		case o.Kind == "get":
			return fmt.Sprintf("get -> %v %q v%d", a.Exists, a.Data, a.Version)
		case a.Unknown:
			return fmt.Sprintf("%s %q v%d -> ?", o.Kind, o.Data, o.Expect)
		}
		return fmt.Sprintf("%s %q v%d -> %v v%d", o.Kind, o.Data, o.Expect, a.Err, a.Version)
	},
}

// A history is what clients did to registers and when, by one clock.
type history struct {
	began time.Time

	mu  sync.Mutex // guards ops
	ops []porcupine.Operation
}

func newHistory() *history { return &history{began: time.Now()} }

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(who int, o registerOp, a registerAnswer, call int64) {
	p := porcupine.Operation{ClientId: who, Input: o, Output: a, Call: call, Return: h.now()}
	if a.Unknown {
		p.Return = math.MaxInt64 // it may take effect at any time, or never
	}
	h.mu.Lock()
	h.ops = append(h.ops, p)
	h.mu.Unlock()
}

// path names a register of now.
func (h *history) path(rng *rand.Rand) string {
	return fmt.Sprintf("/r/%d-%d", time.Since(h.began)/registerRound, rng.IntN(registers))
}

// unknown tells whether an error leaves open what came of a write.
func unknown(err error) bool {
	return errors.Is(err, client.ErrConnectionLoss) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, client.ErrClosed)
}

// refused tells whether the session was to blame: the write has not taken place.
func refused(err error) bool {
	return errors.Is(err, proto.ErrSessionExpired) || errors.Is(err, proto.ErrSessionMoved)
}

// get reads a register behind a sync, which makes the read linearizable.
func (h *history) get(ctx context.Context, who int, c *client.Client, path string) (version int32, err error) {
	call := h.now()
	sync := c.Submit(ctx, proto.OpSync, path, jute.AppendBuffer(nil, []byte(path)))
	data, st, err := c.GetData(ctx, path)
	if _, err := sync.Wait(ctx); err != nil {
		return -1, err
	}
	a := registerAnswer{Exists: err == nil, Data: string(data), Version: st.Version}
	if errors.Is(err, proto.ErrNoNode) {
		a, err = registerAnswer{}, nil
	}
	if err == nil {
		h.add(who, registerOp{Kind: "get", Path: path}, a, call)
	}
	return a.Version, err
}

// write does o; the error is one that a register cannot give.
func (h *history) write(ctx context.Context, who int, c *client.Client, o registerOp) (err error) {
	call := h.now()
	var st proto.Stat
	switch o.Kind {
	case "create":
		_, err = c.Create(ctx, o.Path, []byte(o.Data), proto.WorldAnyone, client.Persistent)
	case "delete":
		err = c.Delete(ctx, o.Path, o.Expect)
	case "set":
		st, err = c.SetData(ctx, o.Path, []byte(o.Data), o.Expect)
	}
	if refused(err) {
		return err
	}
	code, ok := client.Code(err)
	switch {
	case unknown(err):
		h.add(who, o, registerAnswer{Unknown: true}, call)
		return err
	case !ok:
		return err
	}
	h.add(who, o, registerAnswer{Err: code, Version: st.Version}, call)
	switch code {
	case proto.OK, proto.ErrNoNode, proto.ErrNodeExists, proto.ErrBadVersion:
		return nil
	}
	return err
}

// step does something to some register of now.
func (h *history) step(ctx context.Context, who int, c *client.Client, rng *rand.Rand, data string) error {
	o := registerOp{Path: h.path(rng), Data: data, Expect: -1}
	switch n := rng.IntN(10); {
	case n < 3:
		_, err := h.get(ctx, who, c, o.Path)
		return err
	case n < 5:
		o.Kind = "create"
	case n < 6:
		o.Kind, o.Data = "delete", ""
	case n < 8:
		o.Kind = "set"
	default:
		v, err := h.get(ctx, who, c, o.Path)
		if err != nil {
			return err
		}
		o.Kind, o.Expect = "set", v
	}
	return h.write(ctx, who, c, o)
}

// finish reads all registers once more and judges. On failure the history goes into files below dir.
func (h *history) finish(t *testing.T, c *client.Client, dir string) {
	t.Helper()
	paths := map[string]bool{}
	unknowns := 0
	for _, o := range h.ops {
		paths[o.Input.(registerOp).Path] = true
		if o.Output.(registerAnswer).Unknown {
			unknowns++
		}
	}
	for path := range paths {
		insist(t, c, func(ctx context.Context) error {
			_, err := h.get(ctx, len(paths), c, path)
			return err
		})
	}
	began := time.Now()
	failed := 0
	for _, part := range registerModel.Partition(h.ops) {
		path := part[0].Input.(registerOp).Path
		result, info := porcupine.CheckOperationsVerbose(registerModel, part, judgeTimeout)
		if result == porcupine.Ok {
			continue
		}
		if failed++; failed > 5 {
			break
		}
		t.Errorf("register %s: is the history of %d operations linearizable? %s", path, len(part), result)
		name := filepath.Join(dir, "history"+strings.ReplaceAll(path, "/", "-"))
		if err := porcupine.VisualizePath(registerModel, info, name+".html"); err != nil {
			t.Error(err)
		}
		f, err := os.Create(name + ".json")
		must(t, err)
		for _, o := range part {
			b, err := json.Marshal(o)
			must(t, err)
			fmt.Fprintf(f, "%s\n", b)
		}
		must(t, f.Close())
	}
	t.Logf("%d operations on %d registers, %d without an answer, judged in %v", len(h.ops), len(paths), unknowns, time.Since(began).Round(time.Millisecond))
}

// The judge must find fault with what no register does.
func TestRegisterModel(t *testing.T) {
	op := func(call, ret int64, o registerOp, a registerAnswer) porcupine.Operation {
		o.Path = "/r"
		return porcupine.Operation{ClientId: int(call), Call: call, Return: ret, Input: o, Output: a}
	}
	const later = math.MaxInt64
	create := op(1, 2, registerOp{Kind: "create", Data: "a", Expect: -1}, registerAnswer{})
	for name, c := range map[string]struct {
		ops  []porcupine.Operation
		want bool
	}{
		"read of what is there":       {[]porcupine.Operation{create, op(3, 4, registerOp{Kind: "get"}, registerAnswer{Exists: true, Data: "a"})}, true},
		"lost write":                  {[]porcupine.Operation{create, op(3, 4, registerOp{Kind: "get"}, registerAnswer{})}, false},
		"stale read":                  {[]porcupine.Operation{create, op(3, 4, registerOp{Kind: "set", Data: "b", Expect: 0}, registerAnswer{Version: 1}), op(5, 6, registerOp{Kind: "get"}, registerAnswer{Exists: true, Data: "a"})}, false},
		"overlapping read":            {[]porcupine.Operation{create, op(3, 6, registerOp{Kind: "set", Data: "b", Expect: 0}, registerAnswer{Version: 1}), op(4, 5, registerOp{Kind: "get"}, registerAnswer{Exists: true, Data: "a"})}, true},
		"two winners of one version":  {[]porcupine.Operation{create, op(3, 4, registerOp{Kind: "set", Data: "b", Expect: 0}, registerAnswer{Version: 1}), op(3, 4, registerOp{Kind: "set", Data: "c", Expect: 0}, registerAnswer{Version: 1})}, false},
		"unknown write that happened": {[]porcupine.Operation{create, op(3, later, registerOp{Kind: "set", Data: "b", Expect: -1}, registerAnswer{Unknown: true}), op(5, 6, registerOp{Kind: "get"}, registerAnswer{Exists: true, Data: "b", Version: 1})}, true},
		"unknown write that did not":  {[]porcupine.Operation{create, op(3, later, registerOp{Kind: "set", Data: "b", Expect: -1}, registerAnswer{Unknown: true}), op(5, 6, registerOp{Kind: "get"}, registerAnswer{Exists: true, Data: "a"})}, true},
		"write done twice":            {[]porcupine.Operation{create, op(3, later, registerOp{Kind: "set", Data: "b", Expect: -1}, registerAnswer{Unknown: true}), op(5, 6, registerOp{Kind: "get"}, registerAnswer{Exists: true, Data: "b", Version: 2})}, false},
		"node deleted twice":          {[]porcupine.Operation{create, op(3, 4, registerOp{Kind: "delete", Expect: -1}, registerAnswer{}), op(3, 4, registerOp{Kind: "delete", Expect: -1}, registerAnswer{})}, false},
	} {
		if got := porcupine.CheckOperations(registerModel, c.ops); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
