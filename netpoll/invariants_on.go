//go:build race || invariants

package netpoll

// poisonOn tells that poison works.
const poisonOn = true

// poison overwrites bytes nobody may read any more.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}
