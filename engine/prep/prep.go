package prep

import (
	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// A Request is a write as it comes from a client, from a learner (a REQUEST packet) or from
// the server itself.
type Request struct {
	Session proto.SessionID // 0 for what the server does by itself
	Xid     int32           // the client's; 0 for createSession, for an expired session's closeSession and the server's own
	Op      proto.OpCode
	// Body is the request record behind the 8-byte header. It is borrowed until Prepare returns.
	// Empty for createSession and closeSession; for deleteContainer a buffer that holds the path.
	Body []byte
	// Identities of the connection when the request was read.
	Identities []proto.Identity
	// Owner is the connection source that the session check compares, and that createSession sets.
	Owner any
	// TimeoutMs is the negotiated timeout, for createSession.
	TimeoutMs int32
}

// Sessions is the session tracker of the server that prepares. Preparing calls it in request
// order, so that it knows a session from its createSession on and refuses it from its
// closeSession on, long before these are applied.
type Sessions interface {
	// Check gives OK, ErrSessionExpired for an unknown or closing session, or ErrSessionMoved if
	// the session belongs to another owner; a session without an owner gets this one.
	Check(id proto.SessionID, owner any) proto.ErrCode
	// CheckGlobal is Check for the creation of an ephemeral: a session that is not global is
	// refused with ErrEphemeralOnLocal or ErrSessionExpired (client protocol, section 9.9).
	CheckGlobal(id proto.SessionID, owner any) proto.ErrCode
	// Track starts tracking a session whose createSession is being prepared, with this owner. It
	// gives OK, or ErrSessionExpired if the session is known as closing.
	Track(id proto.SessionID, timeoutMs int32, owner any) proto.ErrCode
	// SetClosing marks a session whose closeSession is being prepared; unknown ones are ignored.
	SetClosing(id proto.SessionID)
}

// A Reconfigurer judges reconfig requests for a server in an ensemble.
type Reconfigurer interface {
	// Reconfig makes the new configuration that gets version zxid: its text is lent until the
	// next call. The codes are those of section 8.2 of the quorum protocol from
	// ErrReconfigInProgress to ErrNewConfigNoQuorum. The request is borrowed until return.
	Reconfig(req *proto.ReconfigRequest, zxid proto.Zxid) (config []byte, code proto.ErrCode)
}

// Options are the settings of a Preparer; names in parentheses are Java's properties. Whether
// digests are written and TTL nodes allowed are settings of the tree.
type Options struct {
	EnforceQuota    bool // refuse what exceeds a hard limit (zookeeper.enforceQuota)
	CloseSessionTxn bool // list the ephemerals in closeSession (zookeeper.closeSessionTxn.enabled, default true)
	// LogCreate2InMultiAsCreate writes a create2 inside a multi as type 1, for ensembles with
	// members up to 3.8.1 that know no other (quorum protocol, section 6.4). MultiReader tells
	// what the client asked for.
	LogCreate2InMultiAsCreate bool
	ReconfigEnabled           bool         // (reconfigEnabled)
	Reconfigurer              Reconfigurer // nil on a standalone server
	// BufferMaxBytes is jute.maxbuffer plus its extra size. It bounds every buffer and string of
	// a request, and what lists that "auth" entries make longer may add up to in a transaction:
	// Java's learners take no longer one (quorum protocol, section 4.1). 0 is no bound.
	BufferMaxBytes int
}

// A view is a node as the last prepared transaction leaves it, found for the request at hand.
type view struct {
	*engine.Node               // in the overlay's record or in own
	acl          proto.RawACLs // lent until the record or the tree changes
	rec          *record       // nil if the overlay has none
	path         []byte        // tree path
	hash         uint64        // of path
	own          engine.Node
}

// A Preparer makes transactions of requests; see the package comment. It is not safe for use
// by several goroutines.
type Preparer struct {
	tree     Tree
	treeOpts engine.Options
	auth     *auth.Registry
	sessions Sessions
	opts     Options

	last    proto.Zxid // the last zxid given out
	applied proto.Zxid
	digest  uint64 // of the tree after the last prepared transaction

	overlay overlay

	// The request at hand.
	req     *Request
	zxid    proto.Zxid
	nowMs   int64
	inMulti bool
	body    int // where the body starts in dst

	// Kept between requests so that none allocates.
	node, parent view
	pathBuf      []byte
	aclBuf       []byte
	closing      []byte // paths of closeSession, one behind the other
	closingEnds  []int  // where each ends
	eachClosing  func(engine.NodeRef) bool
}

// New makes a Preparer that continues behind the tree's last zxid. It keeps all arguments.
func New(t Tree, a *auth.Registry, s Sessions, o Options) *Preparer {
	p := &Preparer{auth: a, sessions: s, opts: o}
	p.eachClosing = p.collectClosing
	p.SetTree(t)
	p.Reset(t.LastZxid())
	return p
}

// SetTree replaces the tree, after a sync with a leader has brought a new one. Reset must follow.
func (p *Preparer) SetTree(t Tree) { p.tree, p.treeOpts = t, t.Options() }

// Reset forgets everything outstanding and continues with the zxid after last: on becoming
// leader last is the start of the epoch, epoch<<32. The tree must have applied all there is.
func (p *Preparer) Reset(last proto.Zxid) {
	p.overlay = overlay{}
	p.last, p.applied = last, last
	p.digest = p.tree.Digest()
}

// Trim gives back what is kept for reuse, if nothing is outstanding. It is for quiet times: what comes next
// allocates again.
func (p *Preparer) Trim() {
	if p.overlay.count == 0 {
		p.overlay = overlay{}
	}
}

// LastZxid is the last zxid given out.
func (p *Preparer) LastZxid() proto.Zxid { return p.last }

// Outstanding is the number of transactions prepared and not yet applied.
func (p *Preparer) Outstanding() int { return int(p.last - p.applied) }

// Exhausted tells that the epoch has no zxid left. A leader must not prepare then but give up
// leading, so that the next epoch starts (quorum protocol, section 7.2).
func (p *Preparer) Exhausted() bool { return uint32(p.last+1) == 0xFFFFFFFF }

// Applied drops what is outstanding up to and with zxid, which the tree has applied.
func (p *Preparer) Applied(zxid proto.Zxid) {
	p.overlay.applied(zxid)
	p.applied = max(p.applied, min(zxid, p.last))
}

// Prepare judges req, gives it the next zxid and appends its proposal packet to dst, whatever
// the verdict. code is OK for a transaction that changes the tree or a session; else the code
// of the error transaction, or that of the failing operation in a multi that is logged as
// failed, whose reply has err 0 in its header all the same (client protocol, section 6.3).
//
// The packet is that of proto.BeginProposal around header, body and, unless it is an error
// transaction or digests are off, the digest of the tree after it. nowMs is the wall clock in
// milliseconds. req and its fields are borrowed until return.
//
// It does not allocate, except for growing dst and its own buffers to what they are used for.
func (p *Preparer) Prepare(dst []byte, req *Request, nowMs int64) (out []byte, zxid proto.Zxid, code proto.ErrCode) {
	if p.last == p.applied {
		// Nothing is outstanding: start from what the tree itself has counted.
		p.digest = p.tree.Digest()
	}
	p.last++
	p.req, p.zxid, p.nowMs = req, p.last, nowMs

	dst, start := proto.BeginProposal(dst, p.zxid)
	h := proto.TxnHeader{SessionID: req.Session, Cxid: req.Xid, Zxid: p.zxid, TimeMs: nowMs, Type: req.Op}
	dst = h.Append(dst)
	p.body = len(dst)
	dst, code = p.prepareOp(dst)
	if code != proto.OK && (req.Op != proto.OpMulti || len(dst) == p.body) {
		dst = appendError(dst[:p.body], code)
	} else if p.treeOpts.Digest {
		dst = proto.AppendTxnDigest(dst, p.digest)
	}
	p.req = nil
	return proto.EndProposal(dst, start), p.zxid, code
}

// appendError turns the header at the end of dst into that of an error transaction and appends its body.
func appendError(dst []byte, code proto.ErrCode) []byte {
	jute.PutInt32(dst[len(dst)-4:], int32(proto.OpError))
	return jute.AppendInt32(dst, int32(code))
}

// prepareOp appends the body of the transaction. With a code other than OK nothing has been
// changed and what it has appended is worthless, except for a multi that is logged as failed.
func (p *Preparer) prepareOp(dst []byte) ([]byte, proto.ErrCode) {
	d := jute.NewDecoder(p.req.Body, p.opts.BufferMaxBytes)
	switch op := p.req.Op; op {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		var r proto.CreateRequest
		r.Decode(&d, op)
		if d.Err() != nil {
			return dst, proto.ErrMarshalling
		}
		return p.create(dst, op, &r)
	case proto.OpDelete:
		var r proto.PathVersion
		r.Decode(&d)
		if d.Err() != nil {
			return dst, proto.ErrMarshalling
		}
		return p.delete(dst, &r)
	case proto.OpSetData:
		var r proto.SetDataRequest
		r.Decode(&d)
		if d.Err() != nil {
			return dst, proto.ErrMarshalling
		}
		return p.setData(dst, &r)
	case proto.OpSetACL:
		var r proto.SetACLRequest
		r.Decode(&d)
		if d.Err() != nil {
			return dst, proto.ErrMarshalling
		}
		return p.setACL(dst, &r)
	case proto.OpReconfig:
		var r proto.ReconfigRequest
		r.Decode(&d)
		if d.Err() != nil {
			return dst, proto.ErrMarshalling
		}
		return p.reconfig(dst, &r)
	case proto.OpMulti:
		return p.multi(dst)
	case proto.OpCreateSession:
		if code := p.sessions.Track(p.req.Session, p.req.TimeoutMs, p.req.Owner); code != proto.OK {
			return dst, code
		}
		return jute.AppendInt32(dst, p.req.TimeoutMs), proto.OK
	case proto.OpCloseSession:
		return p.closeSession(dst), proto.OK
	case proto.OpDeleteContainer:
		path := d.Buffer()
		if d.Err() != nil || path == nil {
			return dst, proto.ErrMarshalling
		}
		return p.deleteContainer(dst, path)
	}
	// A top-level check ends here, too: its transaction could not be read back
	// (client protocol, section 14).
	return dst, proto.ErrUnimplemented
}

// fits tells whether the transaction can take an operation with a list, of this many bytes in
// path, data and list; see Options.BufferMaxBytes. Other operations are never much longer than
// in their request.
func (p *Preparer) fits(dst []byte, bytes int) bool {
	const otherBytes = proto.TxnHeaderBytes + 64 // headers, lengths, versions, digest
	return p.opts.BufferMaxBytes <= 0 || len(dst)-p.body+bytes+otherBytes <= p.opts.BufferMaxBytes
}

// find looks a path up in the overlay and, failing that, in the tree. If it tells of no node,
// v still knows where one would go.
func (p *Preparer) find(v *view, path []byte) bool {
	v.path, v.rec = treePath(path), nil
	v.hash = pathHash(v.path)
	if p.overlay.count > 0 {
		if r := p.overlay.get(v.path, v.hash); r != nil {
			v.rec, v.Node = r, &r.Node
			if v.acl = r.acl; r.live && !r.ownACL {
				v.acl = p.tree.ACLByID(r.ACLID)
			}
			return r.live
		}
	}
	n := p.tree.Lookup(v.path)
	if n == 0 {
		return false
	}
	v.Node = &v.own
	p.tree.Node(n, v.Node)
	v.acl = p.tree.ACLByID(v.ACLID)
	return true
}

// change gives the record of a node that find has found, to be changed by the transaction at
// hand; settle must follow.
func (p *Preparer) change(v *view) *record {
	r := v.rec
	if r != nil {
		p.overlay.touched(r, p.zxid, false, p.inMulti)
		return r
	}
	r = p.overlay.insert(v.path, v.hash)
	p.overlay.touched(r, p.zxid, true, p.inMulti)
	r.Node, r.live = *v.Node, true
	if p.treeOpts.Digest && inDigest(r.path) {
		r.digest = r.Node.Digest()
	}
	v.rec = r
	return r
}

// add gives the record of a node that find has not found, empty and live; settle must follow.
func (p *Preparer) add(v *view) *record {
	r := v.rec
	if r != nil {
		p.overlay.touched(r, p.zxid, false, p.inMulti)
	} else {
		r = p.overlay.insert(v.path, v.hash)
		p.overlay.touched(r, p.zxid, true, p.inMulti)
		v.rec = r
	}
	r.Node, r.live, r.created = engine.Node{}, true, p.zxid
	return r
}

// settle moves the tree's digest to the new state of a record.
func (p *Preparer) settle(r *record) {
	if !p.treeOpts.Digest || !inDigest(r.path) {
		return
	}
	now := uint64(0)
	if r.live {
		now = r.Node.Digest()
	}
	p.digest += now - r.digest
	r.digest = now
}

// setRecordData makes a record know of new data, which it does not keep.
func (p *Preparer) setRecordData(r *record, data []byte) {
	r.DataLength = int32(len(data))
	if p.treeOpts.Digest && inDigest(r.path) {
		r.PathDataCRC = engine.PathDataCRC(r.path, data)
	}
}

// nextVersion checks an expected version and gives the one after current. It skips -1, which
// no client could ask for (client protocol, section 13).
func nextVersion(current, expected int32) (int32, proto.ErrCode) {
	if expected != -1 && expected != current {
		return 0, proto.ErrBadVersion
	}
	if current == -2 {
		return 0, proto.OK
	}
	return current + 1, proto.OK
}
