package server

import (
	"fmt"
	"strings"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/audit"
	"zabra.dev/zabra/server/logging"
)

// auditor gathers the lines of the audit log while transactions are applied, and writes them when no gate is
// held. It belongs to the replica goroutine; a server without audit log has none.
//
// A write of a local client that came as far as a transaction, be it one that says why the write was refused,
// gives a line on this server; each member of an ensemble tells of the ephemerals that went with a session.
// What was refused before (the throttler, a full disk) gives none, as in Java. Source: operations, section 6.9.
type auditor struct {
	srv    *Server
	log    *audit.Log
	events []audit.Event
}

// newAuditor returns nil when the audit log is off.
func newAuditor(s *Server) *auditor {
	if !s.opts.AuditLog {
		return nil
	}
	return &auditor{srv: s, log: audit.New(logging.Thread(s.log, "SyncThread:0"))}
}

// auditRecord is what the lines of a request need of it once its transaction is applied.
type auditRecord struct {
	operation string
	user, ip  string
	path      string // as asked for: for failures
	znodeType string
	acl       string
	// znodeTypes are those of the creates of a multi, by the paths that were asked for.
	znodeTypes map[string]string
}

// note takes down what a request of a client is. It gives nil for one that is not audited. What does not decode
// stays empty: the transaction will say that the request was refused.
func (a *auditor) note(q *request, body []byte) *auditRecord {
	rec := &auditRecord{}
	d := jute.NewDecoder(body, a.srv.opts.FieldMaxBytes)
	switch q.op {
	case proto.OpMulti:
		rec.operation, rec.znodeTypes = audit.Multi, createsOf(&d)
	case proto.OpReconfig:
		rec.operation = audit.Reconfig
	default:
		if !rec.decode(&d, q.op) {
			return nil
		}
	}
	rec.user = a.users(q.identities)
	rec.ip = q.conn.np.RemoteAddr().Addr().Unmap().String()
	return rec
}

// decode reads the body of a single operation. It returns false for operations that are not audited.
func (rec *auditRecord) decode(d *jute.Decoder, op proto.OpCode) bool {
	switch op {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		var r proto.CreateRequest
		r.Decode(d, op)
		rec.operation, rec.path, rec.znodeType = audit.Create, string(r.Path), znodeType(r.Flags)
	case proto.OpDelete:
		var r proto.PathVersion
		r.Decode(d)
		rec.operation, rec.path = audit.Delete, string(r.Path)
	case proto.OpSetData:
		var r proto.SetDataRequest
		r.Decode(d)
		rec.operation, rec.path = audit.SetData, string(r.Path)
	case proto.OpSetACL:
		var r proto.SetACLRequest
		r.Decode(d)
		rec.operation, rec.path, rec.acl = audit.SetACL, string(r.Path), aclText(r.ACL)
	default:
		return false
	}
	return true
}

// createsOf lists the node types of a multi's creates. As in Java those with a TTL are not among them, and a
// sequential node, which ends up under another path, is not found.
func createsOf(d *jute.Decoder) map[string]string {
	types := map[string]string{}
	for d.Err() == nil {
		var h proto.MultiHeader
		h.Decode(d)
		if h.Done {
			break
		}
		switch h.Type {
		case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
			var r proto.CreateRequest
			r.Decode(d, h.Type)
			if h.Type != proto.OpCreateTTL {
				types[string(r.Path)] = znodeType(r.Flags)
			}
		case proto.OpDelete, proto.OpCheck:
			var r proto.PathVersion
			r.Decode(d)
		case proto.OpSetData:
			var r proto.SetDataRequest
			r.Decode(d)
		default:
			return types // the request is refused as a whole
		}
	}
	return types
}

// znodeType names the kind of node that create flags ask for; flags that name none are refused.
func znodeType(flags int32) string {
	switch flags {
	case proto.FlagPersistent:
		return "persistent"
	case proto.FlagEphemeral:
		return "ephemeral"
	case proto.FlagSequential:
		return "persistent_sequential"
	case proto.FlagEphemeralSequential:
		return "ephemeral_sequential"
	case proto.FlagContainer:
		return "container"
	case proto.FlagTTL:
		return "persistent_with_ttl"
	case proto.FlagPersistentSequentialTTL:
		return "persistent_sequential_with_ttl"
	}
	return ""
}

// aclText writes a list as scheme:id:permissions, one entry right behind the other.
func aclText(acl proto.RawACLs) string {
	if acl == nil {
		return ""
	}
	var b strings.Builder
	acl.Each(func(e proto.RawACL) bool {
		fmt.Fprintf(&b, "%s:%s:", e.Scheme, e.ID)
		for _, p := range [...]struct {
			bit    int32
			letter byte
		}{{proto.PermCreate, 'c'}, {proto.PermDelete, 'd'}, {proto.PermRead, 'r'}, {proto.PermWrite, 'w'}, {proto.PermAdmin, 'a'}} {
			if e.Perms&p.bit != 0 {
				b.WriteByte(p.letter)
			}
		}
		return true
	})
	return b.String()
}

// users names who ids are, with commas between; super has no name.
func (a *auditor) users(ids []proto.Identity) string {
	var names []string
	for _, id := range ids {
		if name := a.srv.auth.UserName(id); strings.TrimSpace(name) != "" {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// applied notes what became of the request of p. The caller holds all gates.
func (a *auditor) applied(p *proposal, res *engine.Result) {
	rec := p.audit
	e := audit.Event{Session: hexID(p.session), User: rec.user, IP: rec.ip, Operation: rec.operation, Result: audit.Success}
	if res.Header.Type == proto.OpMulti {
		a.appliedMulti(rec, e, res)
		return
	}
	e.Znode, e.ZnodeType, e.ACL = string(res.Path), rec.znodeType, rec.acl
	if res.Err != proto.OK {
		e.Result = audit.Failure
	}
	if res.Header.Type == proto.OpError {
		e.Znode = rec.path
	}
	a.events = append(a.events, e)
}

// appliedMulti gives one line to each operation of a multi, or one to a multi that failed.
func (a *auditor) appliedMulti(rec *auditRecord, e audit.Event, res *engine.Result) {
	failed := false
	for i := range res.Multi {
		sub := e
		switch o := &res.Multi[i]; o.Type {
		case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
			sub.Operation, sub.Znode = audit.Create, string(o.Path)
			sub.ZnodeType = rec.znodeTypes[sub.Znode]
		case proto.OpDelete:
			sub.Operation, sub.Znode = audit.Delete, string(o.Path)
		case proto.OpSetData:
			sub.Operation, sub.Znode = audit.SetData, string(o.Path)
		case proto.OpError:
			failed = true
			continue
		default:
			continue
		}
		a.events = append(a.events, sub)
	}
	if failed {
		e.Result = audit.Failure
		a.events = append(a.events, e)
	}
}

// closingSink is the sink while a session's close is applied: it notes the ephemerals that go with it.
type closingSink struct {
	*eventSink
	auditor *auditor
	session proto.SessionID
}

// Deleted implements engine.Sink.
func (k *closingSink) Deleted(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid) {
	k.eventSink.Deleted(path, parent, acl, parentACL, zxid)
	k.auditor.events = append(k.auditor.events, audit.Event{
		Session: hexID(k.session), User: k.auditor.log.Owner(), Operation: audit.EphemeralsOfClosed, Znode: string(path), Result: audit.Success,
	})
}

// write writes what was noted. The caller holds no gate: a log that is slow to take lines keeps no reader out.
func (a *auditor) write() {
	for i := range a.events {
		a.log.Write(&a.events[i])
	}
	clear(a.events)
	a.events = a.events[:0]
}
