package engine

import (
	"bytes"
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// ErrTxn reports a transaction that cannot be decoded or that no server can have written. It
// was not applied, and a server that meets one in its log or from its leader cannot go on.
var ErrTxn = errors.New("engine: bad transaction")

// txn is a decoded transaction; its memory is used again for the next one.
type txn struct {
	header proto.TxnHeader
	op     op   // unless multi or closeSession
	ops    []op // multi
	failed bool // multi: one of ops is an error
	paths  [][]byte
	digest uint64
	// hasDigest tells whether a digest of version 2 follows the body.
	hasDigest bool
}

// op is a single operation. Its byte fields are lent by the transaction.
type op struct {
	typ   proto.OpCode
	owner int64 // create*: of the node
	body  proto.TxnBody
}

// decode reads all of a transaction and checks everything that could make applying it fail
// half-way.
func (t *txn) decode(b []byte, o *Options) error {
	d := jute.NewDecoder(b, 0)
	t.header.Decode(&d)
	t.ops, t.paths = t.ops[:0], t.paths[:0]
	t.failed, t.hasDigest, t.digest = false, false, 0
	if d.Err() != nil {
		return fmt.Errorf("%w: header: %w", ErrTxn, d.Err())
	}
	var err error
	switch t.header.Type {
	case proto.OpMulti:
		err = t.decodeMulti(&d, o)
	case proto.OpCloseSession:
		t.decodeCloseSession(&d)
	case proto.OpCheck:
		err = errors.New("check outside a multi") // quorum protocol, section 6.2
	default:
		t.op.typ = t.header.Type
		err = t.op.decode(&d, t.header.SessionID, o)
	}
	if err != nil {
		return fmt.Errorf("%w: zxid %#x, type %d: %w", ErrTxn, t.header.Zxid, t.header.Type, err)
	}
	if t.header.Type != proto.OpError {
		t.digest, t.hasDigest = proto.DecodeTxnDigest(&d)
	}
	return nil
}

// decode reads the body for p.typ.
func (p *op) decode(d *jute.Decoder, session proto.SessionID, o *Options) error {
	if err := p.body.Decode(d, p.typ); err != nil {
		return err
	}
	p.owner = 0
	switch p.typ {
	case proto.OpCreate, proto.OpCreate2:
		if p.body.Ephemeral {
			p.owner = session
		}
	case proto.OpCreateContainer:
		p.owner = proto.OwnerContainer
	case proto.OpCreateTTL:
		var ok bool
		if p.owner, ok = ttlOwner(p.body.TTLms); !ok {
			return fmt.Errorf("ttl of %d ms", p.body.TTLms)
		}
	case proto.OpError, proto.OpCreateSession:
		return nil
	case proto.OpCheck:
		if p.body.Path == nil {
			return errors.New("null path")
		}
		return nil
	}
	if _, ok := o.ownerKind(p.owner); !ok {
		return fmt.Errorf("owner %#x has an unknown feature code", uint64(p.owner))
	}
	return checkPath(p.body.Path, p.typ)
}

// checkPath accepts the paths that can name a node: those that begin with one slash and do not
// end in one, and for the root "/" or the empty path. Paths with an empty component further
// inside are no error but lead to no node.
func checkPath(path []byte, typ proto.OpCode) error {
	switch {
	case path == nil:
		return errors.New("null path")
	case len(path) == 1 && path[0] == '/':
		return nil
	case len(path) == 0 && (typ == proto.OpSetData || typ == proto.OpReconfig || typ == proto.OpSetACL):
		return nil
	case len(path) == 0 || path[0] != '/' || path[1] == '/' || path[len(path)-1] == '/':
		return fmt.Errorf("path %q", path)
	case len(path)-bytes.LastIndexByte(path, '/') > nameLenMask:
		return errors.New("name too long")
	}
	return nil
}

// decodeMulti reads a multi (quorum protocol, section 6.4).
func (t *txn) decodeMulti(d *jute.Decoder, o *Options) error {
	n := d.VectorLen()
	for i := 0; i < n; i++ {
		typ := proto.OpCode(d.Int32())
		body := d.Buffer()
		if d.Err() != nil {
			return fmt.Errorf("operation %d: %w", i, d.Err())
		}
		switch typ {
		case proto.OpCreate, proto.OpCreate2, proto.OpCreateTTL, proto.OpCreateContainer, proto.OpDelete,
			proto.OpDeleteContainer, proto.OpSetData, proto.OpCheck:
		case proto.OpError:
			t.failed = true
		default:
			return fmt.Errorf("operation %d: type %d in a multi", i, typ)
		}
		t.ops = append(t.ops, op{typ: typ})
		sub := jute.NewDecoder(body, 0)
		if err := t.ops[i].decode(&sub, t.header.SessionID, o); err != nil {
			return fmt.Errorf("operation %d, type %d: %w", i, typ, err)
		}
	}
	return d.Err()
}

// decodeCloseSession reads the list of paths, if there is one. Servers before 3.6, and later
// ones that are told so, write none, perhaps with a digest behind it; what does not read as
// a list of absolute paths is taken for none, and for a digest if it has the length of one
// (quorum protocol, section 6.3).
func (t *txn) decodeCloseSession(d *jute.Decoder) {
	if list := *d; len(d.Rest()) > 0 && t.decodePaths(&list) {
		*d = list
		return
	}
	t.paths = t.paths[:0]
	if rest := d.Rest(); len(rest) != proto.TxnDigestBytes {
		d.Bytes(len(rest))
	}
}

func (t *txn) decodePaths(d *jute.Decoder) bool {
	n := d.VectorLen()
	for i := 0; i < n; i++ {
		path := d.Buffer()
		if d.Err() != nil || checkPath(path, proto.OpDelete) != nil {
			return false
		}
		t.paths = append(t.paths, path)
	}
	return d.Err() == nil
}
