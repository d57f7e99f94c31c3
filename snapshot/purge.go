package snapshot

import "slices"

// MinSnapRetainCount is the least that autopurge.snapRetainCount may be; smaller values become this
// (storage formats, section 7).
const MinSnapRetainCount = 3

// PlanPurge says which of the zxids of retained images to remove so that the keep newest stay. It returns
// them oldest first and leaves its argument alone. keep below 0 counts as 0.
func PlanPurge(zxids []int64, keep int) []int64 {
	sorted := slices.Clone(zxids)
	slices.Sort(sorted)
	return sorted[:max(0, len(sorted)-max(0, keep))]
}

// LogNeededAfter returns the zxid after which the log must be kept so that the current image, and every
// retained one that stays, can be brought up to date: the lowest of them.
func LogNeededAfter(current int64, retained []int64) int64 {
	for _, z := range retained {
		current = min(current, z)
	}
	return current
}
