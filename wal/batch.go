package wal

import "fmt"

// RecordRef is one record of a batch.
type RecordRef struct {
	Off  int   // of the header room in Batch.Buf; a multiple of 8
	Len  int   // payload bytes, which begin at Off+HeaderSize
	Zxid int64 // above that of the record before
}

// Batch is what one turn appends: records one behind the other in one buffer, each
// with room for its header in front and zeroes up to a multiple of 8 behind. The
// builder encodes payloads straight into place:
//
//	b.BeginRecord()
//	b.Buf = appendProposal(b.Buf, …)
//	b.EndRecord(zxid)
//
// The zero Batch is ready. A batch is built by one goroutine; [WAL.Append] takes
// it, and its Release gives it back.
type Batch struct {
	Buf     []byte
	Records []RecordRef

	// Release is called exactly once for every batch that Append accepted, when the
	// log needs it no more: after its last record was written and synced, after a
	// failure, or from Close. It does not say that the batch is durable; OnDurable
	// does. It may be nil. It runs on the log's goroutine and must not block. A
	// function that is the same for all batches costs no allocation.
	Release func(*Batch)

	begun int // 1 + offset of the record that is being built, or 0
}

var headerRoom [HeaderSize]byte

// BeginRecord appends room for a header to b.Buf. What is appended to b.Buf up to
// EndRecord is the payload.
func (b *Batch) BeginRecord() {
	if b.begun != 0 {
		panic("wal: BeginRecord inside a record")
	}
	b.begun = 1 + len(b.Buf)
	b.Buf = append(b.Buf, headerRoom[:]...)
}

// EndRecord finishes the record: it pads b.Buf and adds to b.Records. The payload
// must not be empty nor above MaxPayloadBytes, and zxid must be positive.
func (b *Batch) EndRecord(zxid int64) {
	off := b.begun - 1
	if off < 0 {
		panic("wal: EndRecord without BeginRecord")
	}
	b.begun = 0
	n := len(b.Buf) - off - HeaderSize
	if n <= 0 || n > MaxPayloadBytes {
		panic(fmt.Sprintf("wal: record of %d bytes for zxid 0x%x", n, zxid))
	}
	for len(b.Buf)%recordAlign != 0 {
		b.Buf = append(b.Buf, 0)
	}
	b.Records = append(b.Records, RecordRef{Off: off, Len: n, Zxid: zxid})
}

// AbortRecord takes back what was appended since BeginRecord.
func (b *Batch) AbortRecord() {
	if b.begun == 0 {
		panic("wal: AbortRecord without BeginRecord")
	}
	b.Buf = b.Buf[:b.begun-1]
	b.begun = 0
}

// AddRecord adds a record with a copy of payload, which it borrows until return.
func (b *Batch) AddRecord(zxid int64, payload []byte) {
	b.BeginRecord()
	b.Buf = append(b.Buf, payload...)
	b.EndRecord(zxid)
}

// Payload lends the payload of record i until the batch is reset. It may be read
// by any goroutine, also while the log has the batch; nobody may write to it.
func (b *Batch) Payload(i int) []byte {
	r := b.Records[i]
	end := r.Off + HeaderSize + r.Len
	return b.Buf[r.Off+HeaderSize : end : end]
}

// Reset empties the batch for reuse. It keeps the memory and Release.
func (b *Batch) Reset() {
	b.Buf = b.Buf[:0]
	b.Records = b.Records[:0]
	b.begun = 0
}

// check verifies the layout that Append relies on; a batch that the methods above
// built passes. It returns ErrZxidOrder if zxids do not increase.
func (b *Batch) check() (order error) {
	if b.begun != 0 || len(b.Records) == 0 {
		panic("wal: batch is empty or has an unfinished record")
	}
	next := 0
	last := int64(0)
	for i := range b.Records {
		r := &b.Records[i]
		if r.Off != next || r.Len <= 0 || r.Len > MaxPayloadBytes {
			panic(fmt.Sprintf("wal: record %d of a batch at %d+%d, want it at %d", i, r.Off, r.Len, next))
		}
		next += int(recordSize(r.Len))
		if r.Zxid <= last && order == nil {
			order = zxidOrder(last, r.Zxid)
		}
		last = r.Zxid
	}
	if next != len(b.Buf) {
		panic(fmt.Sprintf("wal: batch of %d bytes has records for %d", len(b.Buf), next))
	}
	return order
}

func zxidOrder(last, zxid int64) error {
	return fmt.Errorf("%w: 0x%x after 0x%x", ErrZxidOrder, zxid, last)
}

func (b *Batch) lastZxid() int64 { return b.Records[len(b.Records)-1].Zxid }

func (b *Batch) release() {
	if b.Release != nil {
		b.Release(b)
	}
}
