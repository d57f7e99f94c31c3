package quorum

import (
	"zabra.dev/zabra/engine/jute"
)

// An ImagePlace is how far the records of an image have come that a leader sends in blocks. On a link that has
// FeatureResume it stands in the data of SNAP, behind what else is there, and says from where on the blocks follow; and
// in the data of ACKEPOCH, where Java reads 4 bytes, and says what a learner has of an image whose sending broke off. A
// leader that still has that image goes on from there.
//
//	[magic "Plac"][image u64][blocks u64][key: length i32, bytes]
type ImagePlace struct {
	// Image is the leader's number of the image, chosen at random, so that another leader, or this one after a restart,
	// does not take it for its own.
	Image uint64
	// Blocks is how many blocks, from the first on, have come whole, and Key that of the last record in them; nil in SNAP.
	Blocks uint64
	Key    []byte
}

const placeMagic int32 = 0x506c6163 // "Plac"

// placeKeyMaxBytes bounds the key of a record.
const placeKeyMaxBytes = 64

// Append encodes the place.
func (p *ImagePlace) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, placeMagic)
	dst = jute.AppendInt64(jute.AppendInt64(dst, int64(p.Image)), int64(p.Blocks))
	return jute.AppendBuffer(dst, p.Key)
}

// DecodeImagePlace reads the place that b begins with and lends its Key; ok is false if there is none.
func DecodeImagePlace(b []byte) (p ImagePlace, ok bool) {
	d := jute.NewDecoder(b, placeKeyMaxBytes)
	if d.Int32() != placeMagic || d.Err() != nil {
		return ImagePlace{}, false
	}
	p.Image, p.Blocks, p.Key = uint64(d.Int64()), uint64(d.Int64()), d.Buffer()
	if d.Err() != nil || len(p.Key) > placeKeyMaxBytes {
		return ImagePlace{}, false
	}
	return p, true
}

// AckEpochPlace reads the place out of the data of ACKEPOCH.
func AckEpochPlace(data []byte) (p ImagePlace, ok bool) {
	if len(data) < 4 {
		return ImagePlace{}, false
	}
	return DecodeImagePlace(data[4:])
}

// SnapPlace reads the place out of the data of SNAP.
func SnapPlace(data []byte) (p ImagePlace, ok bool) {
	if !IsImage(data) {
		return ImagePlace{}, false
	}
	data = data[len(ImageMarker):]
	if m, ok := DecodeMark(data); ok {
		data = data[len(m.Append(nil)):]
	}
	return DecodeImagePlace(data)
}
