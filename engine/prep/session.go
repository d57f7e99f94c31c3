package prep

import (
	"bytes"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
)

// closeSession prepares closeSession: nothing is checked, and every ephemeral that the session
// will have by then is listed, outstanding creates and deletes considered (client protocol,
// section 4.2; quorum protocol, section 6.3). The order is that of their
// creation.
func (p *Preparer) closeSession(dst []byte) []byte {
	p.closing, p.closingEnds = p.closing[:0], p.closingEnds[:0]
	p.tree.EachEphemeral(p.req.Session, p.eachClosing)
	for r := p.overlay.ephemeralHead; r != nil; r = r.ephemeralNext {
		if r.EphemeralOwner == p.req.Session && r.created > p.applied {
			p.closing = append(p.closing, r.path...)
			p.closingEnds = append(p.closingEnds, len(p.closing))
		}
	}
	if p.opts.CloseSessionTxn {
		dst = jute.AppendInt32(dst, int32(len(p.closingEnds)))
	}
	start := 0
	for _, end := range p.closingEnds {
		path := p.closing[start:end]
		start = end
		if p.opts.CloseSessionTxn {
			dst = jute.AppendBuffer(dst, path)
		}
		if !p.find(&p.parent, path[:bytes.LastIndexByte(path, '/')]) || !p.find(&p.node, path) {
			panic("prep: ephemeral " + string(path) + " or its parent is in neither overlay nor tree")
		}
		p.removeNode()
	}
	p.sessions.SetClosing(p.req.Session)
	return dst
}

// collectClosing notes the path of an ephemeral of the tree, unless an outstanding transaction
// deletes it. If one also creates it anew, the overlay's own list has it, in case it is still
// of this session.
func (p *Preparer) collectClosing(n engine.NodeRef) bool {
	start := len(p.closing)
	p.closing = p.tree.AppendPath(p.closing, n)
	if p.overlay.count > 0 {
		path := p.closing[start:]
		if r := p.overlay.get(path, pathHash(path)); r != nil && (!r.live || r.created > p.applied) {
			p.closing = p.closing[:start]
			return true
		}
	}
	p.closingEnds = append(p.closingEnds, len(p.closing))
	return true
}
