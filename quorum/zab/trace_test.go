package zab

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zabra.dev/zabra/quorum"
)

// tracePacket is one packet of a recorded connection.
type tracePacket struct {
	quorum.Packet
	fromLeader bool
	tree       []byte // what follows SNAP, with the signature
}

// loadTrace reads a recorded connection, packets in the order in which they were complete.
func loadTrace(t *testing.T, name string) []tracePacket {
	t.Helper()
	read := func(suffix string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "traces", name+suffix))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var index struct{ Segments [][]any }
	if err := json.Unmarshal(read(".seg.json"), &index); err != nil {
		t.Fatal(err)
	}
	sides := map[string][]byte{"c": read(".c2s.bin"), "s": read(".s2c.bin")}
	done := map[string]int{}
	var trace []tracePacket
	for _, seg := range index.Segments {
		side := seg[1].(string)
		end := int(seg[2].(float64) + seg[3].(float64))
		for done[side] < end {
			rest := sides[side][done[side]:end]
			p, n, err := quorum.DecodePacket(rest)
			if errors.Is(err, quorum.ErrNeedMore) {
				break // goes on in a later piece
			}
			if err != nil {
				t.Fatalf("%s: byte %d of %q: %v", name, done[side], side, err)
			}
			tp := tracePacket{Packet: p, fromLeader: side == "s"}
			if p.Type == quorum.PacketSnap {
				var scan quorum.SnapScanner
				size, err := scan.Scan(rest[n:])
				if err != nil {
					t.Fatal(err)
				}
				if size += 4 + len(quorum.SnapSignature); !scan.Done() || len(rest) < n+size {
					break
				}
				tp.tree = rest[n : n+size]
				n += size
			}
			trace = append(trace, tp)
			done[side] += n
		}
	}
	return trace
}

// traceNames returns the names of all recorded connections.
func traceNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "traces", "*.seg.json"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d traces, %v", len(files), err)
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(filepath.Base(f), ".seg.json")
	}
	return names
}

// first returns the first packet of a type.
func first(trace []tracePacket, types ...quorum.PacketType) *tracePacket {
	for i := range trace {
		for _, typ := range types {
			if trace[i].Type == typ {
				return &trace[i]
			}
		}
	}
	return nil
}

// format shows a packet in failures.
func format(p *quorum.Packet) string {
	const most = 40
	data := p.Data
	if len(data) > most {
		data = data[:most]
	}
	s := quorum.PacketName(p.Type)
	if p.Data == nil {
		return s + " " + hex(p.Zxid) + " null"
	}
	return s + " " + hex(p.Zxid) + " " + strings.ToValidUTF8(string(data), "?")
}
