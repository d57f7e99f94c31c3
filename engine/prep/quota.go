package prep

import (
	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// checkQuota refuses with ErrQuotaExceeded what would exceed a hard limit of the quota that
// applies to path, if that is wanted: count more nodes, bytes more data. It compares with the
// usage of the committed tree, as Java does, so that requests in flight at the same time, and
// the operations of one multi, can together exceed a limit (client protocol, section 5.8).
func (p *Preparer) checkQuota(path []byte, bytes, count int64) proto.ErrCode {
	if !p.opts.EnforceQuota {
		return proto.OK
	}
	q, ok := p.tree.Quota(treePath(path))
	if !ok || q.Stats == 0 {
		return proto.OK
	}
	if !engine.ValidQuota(p.tree.Data(q.Limits)) || !engine.ValidQuota(p.tree.Data(q.Stats)) {
		return proto.ErrMarshalling
	}
	limits := engine.ParseQuota(p.tree.Data(q.Limits))
	usage := engine.ParseQuota(p.tree.Data(q.Stats))
	exceeded := func(limit, have, more int64) bool { return limit > -1 && more != 0 && have+more > limit }
	if exceeded(limits.CountHard, usage.Count, count) || exceeded(limits.BytesHard, usage.Bytes, bytes) {
		return proto.ErrQuotaExceeded
	}
	return proto.OK
}
