package client

import (
	"context"
	"fmt"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// An Op is one operation of a Multi or a MultiRead, made by the functions whose names end in Op.
type Op struct {
	Type    proto.OpCode
	Path    string
	data    []byte
	acl     []proto.ACL
	mode    CreateMode
	ttl     time.Duration
	version int32
}

// CreateOp creates a znode; its result has the path. Container mode is included, for TTL
// modes there is CreateTTLOp. data is borrowed until Multi returns, as in the other Ops.
func CreateOp(path string, data []byte, acl []proto.ACL, mode CreateMode) Op {
	return Op{Type: createOpCode(mode, false), Path: path, data: data, acl: acl, mode: mode}
}

// Create2Op is CreateOp whose result has the Stat, too.
func Create2Op(path string, data []byte, acl []proto.ACL, mode CreateMode) Op {
	return Op{Type: createOpCode(mode, true), Path: path, data: data, acl: acl, mode: mode}
}

// CreateTTLOp creates a znode with one of the TTL modes; its result has path and Stat.
func CreateTTLOp(path string, data []byte, acl []proto.ACL, mode CreateMode, ttl time.Duration) Op {
	return Op{Type: proto.OpCreateTTL, Path: path, data: data, acl: acl, mode: mode, ttl: ttl}
}

// DeleteOp deletes a znode.
func DeleteOp(path string, version int32) Op {
	return Op{Type: proto.OpDelete, Path: path, version: version}
}

// SetDataOp replaces a znode's data; its result has the Stat.
func SetDataOp(path string, data []byte, version int32) Op {
	return Op{Type: proto.OpSetData, Path: path, data: data, version: version}
}

// CheckOp succeeds if the znode has the version.
func CheckOp(path string, version int32) Op {
	return Op{Type: proto.OpCheck, Path: path, version: version}
}

// GetDataOp is for MultiRead; its result has data and Stat.
func GetDataOp(path string) Op { return Op{Type: proto.OpGetData, Path: path} }

// GetChildrenOp is for MultiRead; its result has the children.
func GetChildrenOp(path string) Op { return Op{Type: proto.OpGetChildren, Path: path} }

func (c *Client) appendOp(dst []byte, op *Op) []byte {
	path := []byte(c.toServer(op.Path))
	dst = proto.MultiHeader{Type: op.Type, Err: -1}.Append(dst)
	switch op.Type {
	case proto.OpDelete, proto.OpCheck:
		return (&proto.PathVersion{Path: path, Version: op.version}).Append(dst)
	case proto.OpSetData:
		return (&proto.SetDataRequest{Path: path, Data: op.data, Version: op.version}).Append(dst)
	case proto.OpGetData, proto.OpGetChildren:
		return (&proto.PathWatch{Path: path}).Append(dst)
	default:
		r := createRequest(string(path), op.data, op.acl, op.mode, op.ttl)
		return r.Append(dst, op.Type)
	}
}

// An OpResult is the result of one Op. Type is the one in the reply, proto.OpError for a
// failed operation; which of the other fields are set follows from it.
type OpResult struct {
	Type     proto.OpCode
	Err      proto.ErrCode // OK, the operation's error, or what a failed multi says of the others
	Path     string
	Stat     proto.Stat
	Data     []byte
	Children []string
}

// Multi executes all ops or none. If one fails the error is an *Error of that operation and
// its path, and the results tell OK for those before it and proto.ErrRuntimeInconsistency
// for those behind it (client protocol, section 6.3).
func (c *Client) Multi(ctx context.Context, ops ...Op) ([]OpResult, error) {
	results, err := c.multi(ctx, proto.OpMulti, ops)
	if err != nil {
		return results, err
	}
	for i, r := range results {
		if r.Err != proto.OK && r.Err != proto.ErrRuntimeInconsistency && i < len(ops) {
			return results, &Error{Op: ops[i].Type, Path: ops[i].Path, Err: r.Err}
		}
	}
	return results, nil
}

// MultiRead executes reads on one server; each result has an error of its own.
func (c *Client) MultiRead(ctx context.Context, ops ...Op) ([]OpResult, error) {
	return c.multi(ctx, proto.OpMultiRead, ops)
}

func (c *Client) multi(ctx context.Context, code proto.OpCode, ops []Op) (results []OpResult, err error) {
	call := newCall(code, "", func(dst []byte) []byte {
		for i := range ops {
			dst = c.appendOp(dst, &ops[i])
		}
		return proto.MultiDone.Append(dst)
	})
	r, err := c.submit(ctx, call).Wait(ctx)
	if err != nil {
		return nil, err
	}
	results, err = DecodeMulti(r.Body)
	if err != nil {
		return nil, &Error{Op: code, Err: err}
	}
	for i := range results {
		if results[i].Path != "" {
			results[i].Path = c.fromServer(results[i].Path)
		}
	}
	return results, nil
}

// DecodeMulti decodes the body of a multi or multiRead reply, whose bytes the results alias.
func DecodeMulti(body []byte) ([]OpResult, error) {
	var results []OpResult
	d := jute.NewDecoder(body, 0)
	for {
		var h proto.MultiHeader
		h.Decode(&d)
		if d.Err() == nil && h.Done {
			return results, nil
		}
		r := OpResult{Type: h.Type, Err: h.Err}
		switch h.Type {
		case proto.OpCreate:
			r.Path = string(d.Buffer())
		case proto.OpCreate2:
			r.Path = string(d.Buffer())
			r.Stat.Decode(&d)
		case proto.OpSetData:
			r.Stat.Decode(&d)
		case proto.OpGetData:
			r.Data = d.Buffer()
			r.Stat.Decode(&d)
		case proto.OpGetChildren:
			r.Children = decodeStrings(&d)
		case proto.OpDelete, proto.OpCheck:
		case proto.OpError:
			r.Err = proto.ErrCode(d.Int32())
		default:
			return nil, fmt.Errorf("%w: result of type %v in a multi", ErrProtocol, h.Type)
		}
		if d.Err() != nil {
			return nil, fmt.Errorf("%w: multi: %w", ErrProtocol, d.Err())
		}
		results = append(results, r)
	}
}
