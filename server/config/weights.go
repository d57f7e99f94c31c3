package config

import (
	"fmt"
	"log/slog"
)

// sessionWeights are the keys of SessionWeights with what Java takes for them when they are not set, or not above 0.
var sessionWeights = []struct {
	key, kind string
	standard  int
	of        func(*SessionWeights) *int
}{
	{"connection_throttle_global_session_weight", "global", 3, func(w *SessionWeights) *int { return &w.Global }},
	{"connection_throttle_renew_session_weight", "renew", 2, func(w *SessionWeights) *int { return &w.Renew }},
	{"connection_throttle_local_session_weight", "local", 1, func(w *SessionWeights) *int { return &w.Local }},
}

// checkWeight refuses what is no number.
func checkWeight(b *builder, k *Key, s Setting) *Error {
	_, err := b.int(k, s, 32, "give a number of tokens above 0")
	return err
}

// checkWeights fills the weights in if they are to count. The bucket is then that of global sessions: its size and what flows
// into it are multiplied by the weight of one.
func checkWeights(b *builder, k *Key, s Setting) *Error {
	if !b.lenientBool(s) {
		return nil
	}
	b.late = append(b.late, func() *Error {
		w := &SessionWeights{}
		for _, sw := range sessionWeights {
			n := int64(sw.standard)
			if given, ok := b.cfg.settings[sw.key]; ok {
				var err *Error
				if n, err = b.int(k, given, 32, "give a number of tokens above 0"); err != nil {
					return err
				}
			}
			if n <= 0 {
				b.warn(slog.LevelWarn, sw.key, fmt.Sprintf("Invalid %s session weight %d. It should be larger than 0", sw.kind, n))
				n = int64(sw.standard)
			}
			*sw.of(w) = int(n)
		}
		for _, sw := range sessionWeights {
			if n := sw.of(w); *n < w.Local {
				b.warn(slog.LevelWarn, sw.key, fmt.Sprintf("The %s session weight %d is less than the local session weight %d. Use the local session weight.", sw.kind, *n, w.Local))
				*n = w.Local
			}
		}
		t := &b.cfg.Throttle
		t.Weights = w
		t.ConnectionTokens *= w.Global
		t.ConnectionFillCount *= w.Global
		return nil
	})
	return nil
}
