package javadata

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"zabra.dev/zabra/engine"
)

func isVector(kind string) func(string) bool {
	return func(n string) bool { return strings.Contains(n, "/version-2/"+kind+".") }
}

// FuzzSnapshot reads any bytes as a snapshot, plain and compressed. The export of what is taken must load to
// an equal state.
func FuzzSnapshot(f *testing.F) {
	for _, name := range vectorNames(f, isVector("snapshot")) {
		f.Add(vectorFiles(f)[name], byte(CompressionOf(name)))
	}
	f.Fuzz(func(t *testing.T, b []byte, method byte) {
		var c collected
		r, err := Decompress(bytes.NewReader(b), Compression(method%3))
		if err == nil {
			// A few bytes can unfold to many; no more than this is looked at.
			_, err = ReadSnapshot(io.LimitReader(r, 4<<20), "fuzz", Options{}, &c)
		}
		if err != nil {
			if !isDamage(err) {
				t.Fatalf("another kind of error: %v", err)
			}
			return
		}
		e, _, err := LoadStream(bytes.NewReader(c.write(t, Trailer{})), "fuzz", 5, withDigest)
		if err != nil {
			if !errors.Is(err, engine.ErrSnapshot) {
				t.Fatalf("no tree, but %v", err)
			}
			return
		}
		defer e.Close()
		back, _, err := LoadStream(bytes.NewReader(exportBytes(t, e, ExportOptions{Parts: PartsDigest})), "fuzz", 5, withDigest)
		if err != nil {
			t.Fatal(err)
		}
		defer back.Close()
		if back.Digest() != e.Digest() || back.NodeCount() != e.NodeCount() || back.SessionCount() != e.SessionCount() {
			t.Fatal("another state")
		}
	})
}

// FuzzLog reads any bytes as a log and applies what it holds; the dump must cope with all of it.
func FuzzLog(f *testing.F) {
	for _, name := range vectorNames(f, isVector("log")) {
		b := bytes.TrimRight(vectorFiles(f)[name], "\x00")
		f.Add(append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := DumpLog(io.Discard, bytes.NewReader(b), "fuzz", Options{}); err != nil && !isDamage(err) {
			t.Fatalf("dump: %v", err)
		}
		e, err := engine.New(withDigest.Engine)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		l, err := NewLogReader(bytes.NewReader(b), "fuzz", Options{})
		for err == nil {
			var rec *LogRecord
			if rec, err = l.Next(); rec != nil {
				if _, applyErr := e.Apply(rec.Txn, nil); applyErr != nil && !errors.Is(applyErr, engine.ErrTxn) {
					t.Fatalf("apply: %v", applyErr)
				}
			}
			if errors.Is(err, ErrChecksum) {
				err = nil
			}
		}
		if err != io.EOF && !isDamage(err) {
			t.Fatalf("another kind of error: %v", err)
		}
	})
}
