//go:build race || invariants

package arena

// Checked tells whether this build poisons freed memory and checks handles.
const Checked = true

// Small chunks make the growth paths run in small tests.
const (
	slabChunkRecords  = 1 << slabChunkBits
	slabChunkBits     = 6
	vecChunkBits      = 6
	blobChunkBytes    = 1 << 14
	blobSmallMaxBytes = 2 << 10
	hugePageBytes     = 1 << 12
)

// mapMemory returns n zeroed bytes of Go's heap, aligned for any record.
func mapMemory(n, small int) []byte { return make([]byte, n) }

// unmapMemory poisons b: whoever still holds a handle sees it.
func unmapMemory(b []byte) { poison(b) }

// adviseUnused zeroes b, as the kernel would.
func adviseUnused(b []byte) { clear(b) }

// adviseNeeded does nothing: Go's memory is there.
func adviseNeeded([]byte) {}
