package bench_test

import (
	"context"
	"errors"
	"testing"

	"zabra.dev/zabra/bench/load"
)

// Every kind of request succeeds against a real server, watches fire, and the keys of an earlier run are taken over.
func TestEveryKindAgainstServer(t *testing.T) {
	ctx := context.Background()
	mix, err := load.ParseMix("get:20,exists:5,children:2,set:20,create:5,createdelete:5,ephemeral:5,multi:2,sync:2,watch:5,session:1")
	if err != nil {
		t.Fatal(err)
	}
	cfg := load.Config{Addrs: []string{startStandalone(t, "")}, Mix: mix, Sessions: 6, Outstanding: 5, Keys: 250, KeysPerDir: 100,
		Payload: load.FixedSize(50), MultiOps: 3, WatchesPerSession: 20, Root: "/some/root", Requests: 20_000, Loops: 2}
	if res, err := load.Run(ctx, cfg); !errors.Is(err, load.ErrNotFilled) || res != nil {
		t.Fatalf("without keys: %+v, %v", res, err)
	}
	for range 2 { // the second finds everything there
		if err := load.Fill(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		res, err := load.Run(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		// Rewatches come on top of the requests that were asked for.
		if got := res.Total.Count - res.Op(load.Rewatch).Count; got != cfg.Requests || res.Total.Errors > 0 || res.Disconnects > 0 {
			t.Errorf("%d of %d requests, errors %v, %d disconnects", got, cfg.Requests, res.Total.ErrorsBy, res.Disconnects)
		}
		for _, k := range append(mix.Kinds(), load.Rewatch) {
			if res.Op(k).Count == 0 {
				t.Errorf("no %s", k)
			}
		}
	}
}
