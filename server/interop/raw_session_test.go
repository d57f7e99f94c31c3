//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// handshakes sends connect requests of all shapes.
func handshakes(r *raw) {
	step := func(name string, q connectReq) {
		c := r.dial()
		r.put(name, "%s", c.connect(q))
		if c.closed != "" {
			return
		}
		if c.session != 0 {
			r.put(name+" then", "%s", c.do(opPing, nil))
			c.close()
		} else {
			r.put(name+" then", "%s", c.event())
		}
	}
	no, yes := ptr(false), ptr(true)
	for _, ms := range []int32{-1, 0, 1, 3999, 4000, 4001, 10000, 59999, 60000, 60001, 1 << 30, -1 << 31} {
		step(fmt.Sprintf("timeout %d", ms), connectReq{timeout: ms, readOnly: no})
	}
	step("44 bytes", connectReq{timeout: 10000})
	step("read only", connectReq{timeout: 10000, readOnly: yes})
	step("trailing", connectReq{timeout: 10000, readOnly: no, trailing: []byte{1, 2, 3}})
	step("version 1", connectReq{version: 1, timeout: 10000, readOnly: no})
	step("version -1", connectReq{version: -1, timeout: 10000, readOnly: no})
	step("null password", connectReq{timeout: 10000, nullPw: true, readOnly: no})
	step("null password 44", connectReq{timeout: 10000, nullPw: true})
	step("empty password", connectReq{timeout: 10000, passwd: []byte{}, readOnly: no})
	step("long password", connectReq{timeout: 10000, passwd: bytes.Repeat([]byte{7}, 100), readOnly: no})
	step("last zxid negative", connectReq{timeout: 10000, lastZxid: -5, readOnly: no})
	step("last zxid future", connectReq{timeout: 10000, lastZxid: 1 << 40, readOnly: no})
	step("unknown session", connectReq{timeout: 10000, session: 0x123456, readOnly: no})
	step("unknown session 44", connectReq{timeout: 10000, session: 0x123456})
	step("negative session", connectReq{timeout: 10000, session: -5, readOnly: no})
	pw := proto.SessionPassword(0x0100000000000777)
	step("unknown session, right password", connectReq{timeout: 10000, session: 0x0100000000000777, passwd: pw[:], readOnly: no})

	c := r.open()
	live := r.zxid
	step("last zxid equal", connectReq{timeout: 10000, lastZxid: live, readOnly: no})
	step("last zxid one ahead", connectReq{timeout: 10000, lastZxid: r.zxid + 1, readOnly: no})
	c.close()

	// Frames that are no connect requests.
	good := connectReq{timeout: 10000, readOnly: no}.encode()
	for _, n := range []int{0, 1, 8, 20, 27, 28, 43, 45} {
		c := r.dial()
		c.sendFrame(good[:n])
		r.put(fmt.Sprintf("cut to %d", n), "%s", c.connectReply())
	}
	for _, n := range []int32{-1, -100, 0, 1 << 20, 1<<20 - 1, 0x7fffffff, -1 << 31} {
		c := r.dial()
		c.write(jute.AppendInt32(nil, n))
		if n == 1<<20-1 {
			// The greatest frame: its content is read before it is judged.
			c.write(append(append(body{}, good...), make([]byte, int(n)-len(good))...))
		}
		r.put(fmt.Sprintf("frame of %d", n), "%s", c.connectReply())
	}
	for _, n := range []int32{-2, 1 << 22, 0x7fffffff} {
		c := r.dial()
		c.sendFrame(rec().i(0).l(0).i(10000).l(0).i(n).flag(false))
		r.put(fmt.Sprintf("password length %d", n), "%s", c.connectReply())
	}

	// In pieces, and with the first request in the same segment.
	c = r.dial()
	f := append(jute.AppendInt32(nil, int32(len(good))), good...)
	for i := range f {
		c.write(f[i : i+1])
	}
	r.put("byte by byte", "%s", c.connectReply())
	q := c.append(nil, c.next(opExists, pathWatch("/", false)))
	for i := range q {
		c.write(q[i : i+1])
	}
	r.put("request byte by byte", "%s", c.reply())
	c.close()
	c = r.dial()
	c.write(c.append(c.append(append([]byte{}, f...), c.next(opCreate, createReq("/early", "", 1))), c.next(opGetData, pathWatch("/early", false))))
	r.put("early request", "%s", c.connectReply())
	r.put("early request reply 1", "%s", c.reply())
	r.put("early request reply 2", "%s", c.reply())
	// A second connect frame is a request of type 0.
	c.sendFrame(good)
	c.pending = append(c.pending, request{xid: 0})
	r.put("second connect", "%s", c.event())
	r.put("second connect then", "%s", c.event())
	// A four-letter word on an established connection is a length.
	c = r.open()
	c.write([]byte("ruok"))
	r.put("word after handshake", "%s", c.event())
}

// frames sends frames of odd sizes on an established connection.
func frames(r *raw) {
	for _, n := range []int{0, 1, 4, 7} {
		c := r.open()
		c.sendFrame(make([]byte, n))
		r.put(fmt.Sprintf("payload of %d", n), "%s", c.event())
	}
	c := r.open()
	c.sendFrame(rec().i(1).i(int32(opPing)))
	r.put("ping with xid 1", "%s", c.event())
	for _, xid := range []int32{0, -1, -2, -3, -4, -8, -100, 0x7fffffff, -1 << 31, 5, 5} {
		r.put(fmt.Sprintf("xid %d #%d", xid, len(r.tr.steps)), "%s", c.doXid(request{xid, opExists, pathWatch("/", false)}))
	}
	r.put("write with xid 0", "%s", c.doXid(request{0, opCreate, createReq("/xid0", "", 1)}))
	r.put("write with xid -2", "%s", c.doXid(request{-2, opSetData, setReq("/xid0", "", -1)}))
	c.close()
	for _, n := range []int32{-1, -5, 0x100000, 0x7fffffff} {
		c := r.open()
		c.write(jute.AppendInt32(nil, n))
		r.put(fmt.Sprintf("length %d", n), "%s", c.event())
	}
	// The greatest request, and one byte more.
	const header = 8 + 4 + 4 + 4 + 4 // header, path "/big", data length, version
	c = r.open()
	c.step("node", opCreate, createReq("/big", "", 0))
	most := 0xfffff - header
	c.step("greatest", opSetData, rec().s("/big").buf(make([]byte, most)).i(-1))
	c.step("greatest read", opGetData, pathWatch("/big", false))
	c.write(c.append(nil, c.next(opSetData, rec().s("/big").buf(make([]byte, most+1)).i(-1))))
	r.put("too great", "%s", c.event())
	c = r.open()
	c.step("greatest is kept", opExists, pathWatch("/big", false))
	c.step("delete big", opDelete, pathInt("/big", -1))
	c.close()
}

// sessions covers re-attachment, closing and what survives.
func sessions(r *raw) {
	no := ptr(false)
	c := r.open()
	c.step("node", opCreate, createReq("/se", "", 0))
	c.step("ephemeral", opCreate, createReq("/se/e", "", 1))
	c.step("watch", opGetData, pathWatch("/se", true))
	c.step("auth", opAuth, rec().i(0).s("digest").s("bob:pw"))
	again := func(timeout int32) connectReq {
		return connectReq{timeout: timeout, session: c.session, passwd: c.passwd, readOnly: no}
	}

	wrong := again(10000)
	wrong.passwd = bytes.Repeat([]byte{9}, 16)
	d := r.dial()
	r.put("wrong password", "%s", d.connect(wrong))
	r.put("wrong password then", "%s", d.event())
	d = r.dial()
	short := again(10000)
	short.passwd = c.passwd[:15]
	r.put("short password", "%s", d.connect(short))
	d = r.dial()
	null := again(10000)
	null.nullPw = true
	r.put("null password", "%s", d.connect(null))

	d = r.dial()
	r.put("re-attach", "%s", d.connect(again(20000)))
	r.put("re-attach consumes nothing", "%s", d.do(opPing, nil))
	r.put("old connection", "%s", c.event())
	d.step("ephemeral still there", opGetData, pathWatch("/se/e", false))
	d.step("watch is gone", opSetData, setReq("/se", "", -1))
	d.step("identity is gone", proto.OpWhoAmI, nil)
	d.step("ephemerals", proto.OpGetEphemerals, justPath(""))
	d.drop()
	d = r.dial()
	r.put("re-attach 44", "%s", d.connect(connectReq{timeout: 4000, session: c.session, passwd: c.passwd}))
	r.put("re-attach 44 ping", "%s", d.do(opPing, nil))
	d.step("close", opClose, nil)
	r.put("closed", "%s", d.event())
	d = r.dial()
	r.put("re-attach after close", "%s", d.connect(again(10000)))
	d = r.open()
	d.step("ephemeral is gone", opExists, pathWatch("/se/e", false))
	d.step("parent", opExists, pathWatch("/se", false))

	// Two connections that know the same session: closing on one ends the other.
	e := r.open()
	e.step("second session", opCreate, createReq("/se/e2", "", 1))
	d.step("seen", opExists, pathWatch("/se/e2", true))
	e.pipeline("close is the last",
		request{op: opCreate, body: createReq("/se/e3", "", 1)},
		request{op: opClose})
	d.step("deleted by close", opGetChildren, pathWatch("/se", false))
	// Ephemerals of one session in one close: one zxid.
	e = r.open()
	for i := range 3 {
		e.step(fmt.Sprintf("several %d", i), opCreate, createReq(fmt.Sprintf("/se/s%d", i), "", 1))
	}
	r.put("several close", "%s", e.close())
	d.step("several gone", opExists, pathWatch("/se", false))
	d.close()
}

// expiry needs a short tick: sessions end by themselves.
func expiry(r *raw) {
	w := r.openTimeout(60000)
	w.step("node", opCreate, createReq("/x", "", 0))
	step := func(name string, end func(c *conn)) {
		c := r.dial()
		r.put(name+" connect", "%s", c.connect(connectReq{timeout: 1, readOnly: ptr(false)}))
		c.step(name+" ephemeral", opCreate, createReq("/x/e", "", 1))
		c.step(name+" own watch", opGetData, pathWatch("/x/e", true))
		w.step(name+" watch", opExists, pathWatch("/x/e", true))
		w.step(name+" parent watch", opGetChildren, pathWatch("/x", true))
		begin := time.Now()
		end(c)
		for i := range 2 {
			r.put(fmt.Sprintf("%s event %d", name, i), "%s", w.event())
		}
		early := ""
		if d := time.Since(begin); d < 300*time.Millisecond { // timeout 400 less the age of its last request
			early = fmt.Sprintf(" too early, after %v", d)
		}
		w.step(name+" after", opExists, pathWatch("/x", false))
		r.put(name+" time", "not early%s", early)
		d := r.dial()
		r.put(name+" re-attach", "%s", d.connect(connectReq{timeout: 1, session: c.session, passwd: c.passwd, readOnly: ptr(false)}))
	}
	step("dropped", func(c *conn) { c.drop() })
	step("silent", func(c *conn) {})
	// Pings keep it alive, a request does too.
	c := r.dial()
	c.connect(connectReq{timeout: 1, readOnly: ptr(false)})
	c.step("kept create", opCreate, createReq("/x/k", "", 1))
	for i := range 12 {
		time.Sleep(100 * time.Millisecond) // the passing of time is what is tested
		if i%2 == 0 {
			c.do(opPing, nil)
		} else {
			c.do(opExists, pathWatch("/x", false))
		}
	}
	c.step("kept", opExists, pathWatch("/x/k", false))
	c.step("kept close", opClose, nil)
	w.close()
}

// neverUsed closes connections that send nothing for too long.
func neverUsed(r *raw) {
	c := r.dial()
	r.put("no handshake", "%s", c.event())
	c = r.dial()
	c.write([]byte{0, 0})
	r.put("half a length", "%s", c.event())
}

// perClientLimit runs with maxClientCnxns=3.
func perClientLimit(r *raw) {
	// The connections that waited for the start may not have been counted out yet.
	patiently := func() (c *conn, got string) {
		for range 200 {
			c = r.dial()
			if got = c.connect(connectReq{timeout: 10000, readOnly: ptr(false)}); c.closed == "" {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		return c, got
	}
	var cs []*conn
	for i := range 3 {
		c, got := patiently()
		r.put(fmt.Sprintf("session %d", i), "%s", got)
		r.put(fmt.Sprintf("session %d ping", i), "%s", c.do(opPing, nil))
		cs = append(cs, c)
	}
	over := r.dial()
	r.put("one too many", "%s", over.connect(connectReq{timeout: 10000, readOnly: ptr(false)}))
	r.put("word too", "%q", r.s.word("ruok"))
	cs[0].step("others live", opExists, pathWatch("/", false))
	cs[2].close()
	_, again := patiently()
	r.put("room again", "%s", again)
}

// smallFrames runs with jute.maxbuffer=5000.
func smallFrames(r *raw) {
	c := r.open()
	c.step("node", opCreate, createReq("/s", "", 0))
	const header = 8 + 4 + 2 + 4 + 4
	c.step("greatest", opSetData, rec().s("/s").buf(make([]byte, 5000-header)).i(-1))
	c.write(c.append(nil, c.next(opSetData, rec().s("/s").buf(make([]byte, 5001-header)).i(-1))))
	r.put("too great", "%s", c.event())
	c = r.open()
	c.step("kept", opExists, pathWatch("/s", false))
	// Replies have no limit.
	for i := range 10 {
		c.do(opCreate, createReq(fmt.Sprintf("/s/%0900d", i), "", 0))
	}
	c.step("long list", opGetChildren, pathWatch("/s", false))
	c.close()
}
