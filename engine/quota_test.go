package engine

import "testing"

// What Java's StatsTrack throws on, in its own words of java.lang.String.split.
func TestValidQuota(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "count=1,bytes=2": true, "count=1,bytes=2=;byteHardLimit=3;countHardLimit=4": true, "count=-1,,bytes=2,": true,
		"count==5": true, "count=a,bytes=1": false, "nonsense": false, "count=,bytes=": false, "=": false, ",count=1": false, "count==": false,
	} {
		if got := ValidQuota([]byte(text)); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
