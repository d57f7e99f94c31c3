package quorum

import (
	"zabra.dev/zabra/engine/jute"
)

// Features are what a server can do beyond Java's protocol. They stand behind the fields that
// Java reads of LearnerInfo and of the data of LEADERINFO, and Java ignores what is behind:
//
//	[magic "Zabr"][features i64]
//
// The magic keeps bytes that a future Java release may put there from being taken for features.
type Features uint64

const (
	// FeatureCumulativeAck: an ACK with zxid z acknowledges every proposal up to z.
	FeatureCumulativeAck Features = 1 << iota
	// FeatureCumulativeCommit: a COMMIT with zxid z commits every proposal up to z.
	FeatureCumulativeCommit
	// FeatureImage: a SNAP may carry the records of an image in blocks (ImageScanner), in place of
	// Java's tree.
	FeatureImage
	// FeatureLooseSync: a COMMIT may come before the SYNC of an earlier request. A follower that serves
	// observers does not say so, because they may be Java's, whose answers must come in the order of the requests.
	FeatureLooseSync
	// FeatureMark: DIFF, TRUNC and SNAP may carry a Mark.
	FeatureMark
	// FeatureResume: ACKEPOCH and a SNAP with an image may carry an ImagePlace.
	FeatureResume
)

// AllFeatures is what this code can do.
const AllFeatures = FeatureCumulativeAck | FeatureCumulativeCommit | FeatureImage | FeatureLooseSync | FeatureMark | FeatureResume

// Has reports whether all of want are in f.
func (f Features) Has(want Features) bool { return f&want == want }

const featuresMagic int32 = 0x5a616272 // "Zabr"

const featuresBytes = 4 + 8

// appendFeatures appends f; nothing when there is none, which leaves exactly Java's bytes.
func appendFeatures(dst []byte, f Features) []byte {
	if f == 0 {
		return dst
	}
	dst = jute.AppendInt32(dst, featuresMagic)
	return jute.AppendInt64(dst, int64(f))
}

// decodeFeatures reads what stands behind Java's fields; anything else than features is none.
func decodeFeatures(b []byte) Features {
	if len(b) < featuresBytes || jute.Int32(b) != featuresMagic {
		return 0
	}
	return Features(jute.Int64(b[4:]))
}
