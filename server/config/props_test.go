package config

import (
	"bufio"
	"encoding/hex"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestPropertiesAgainstJava compares the parser with java.util.Properties.load (JDK 17) on inputs written
// by hand and drawn at random. Each line of the golden file holds the input, then the pairs, all in
// hexadecimal, or the word error.
func TestPropertiesAgainstJava(t *testing.T) {
	f, err := os.Open("testdata/properties.golden")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unhex := func(s string) string {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	lines := 0
	for scanner := bufio.NewScanner(f); scanner.Scan(); lines++ {
		fields := strings.Split(scanner.Text(), " ")
		text := unhex(fields[0])
		pairs, err := rawPairs([]byte(text))
		if slices.Equal(fields[1:], []string{"error"}) {
			if err == nil {
				t.Errorf("%q: accepted, Java refuses it", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		want := map[string]string{}
		for _, field := range fields[1:] {
			k, v, _ := strings.Cut(field, "=")
			want[unhex(k)] = unhex(v)
		}
		if !maps.Equal(pairs, want) {
			t.Errorf("%q:\n got %q\nwant %q", text, pairs, want)
		}
	}
	if lines < 1000 {
		t.Errorf("%d lines in the golden file", lines)
	}
}

// rawPairs does what ParseProperties does, without the trimming, which Java leaves to the server.
func rawPairs(text []byte) (map[string]string, error) {
	pairs := map[string]string{}
	s := lineScanner{text: text}
	for s.next() {
		kv, err := splitPair(s.logical)
		if err != nil {
			return nil, err
		}
		pairs[kv.Key] = kv.Value
	}
	return pairs, nil
}
