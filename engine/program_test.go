package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// append encodes the transaction, with the digest if it is not 0.
func (t *mtxn) append(dst []byte, digest uint64) []byte {
	dst = t.header.Append(dst)
	switch t.header.Type {
	case proto.OpMulti:
		dst = jute.AppendInt32(dst, int32(len(t.ops)))
		for i := range t.ops {
			dst = jute.AppendInt32(dst, int32(t.ops[i].typ))
			dst = jute.AppendBuffer(dst, t.ops[i].body.Append([]byte{}, t.ops[i].typ))
		}
	case proto.OpCloseSession:
		if t.hasPaths {
			dst = jute.AppendInt32(dst, int32(len(t.paths)))
			for _, p := range t.paths {
				dst = jute.AppendString(dst, p)
			}
		}
	default:
		dst = t.body.Append(dst, t.header.Type)
	}
	if digest != 0 {
		dst = proto.AppendTxnDigest(dst, digest)
	}
	return dst
}

// generator makes random transactions over few names, so that they meet: many of them could
// not come from a leader, but all may occur in a replay over a fuzzy snapshot.
type generator struct {
	*rand.Rand
	m     *model
	zxid  int64
	ids   []int64
	acls  []proto.RawACLs
	names []string
}

func newGenerator(rng *rand.Rand, m *model) *generator {
	g := &generator{Rand: rng, m: m}
	g.ids = []int64{1, 2, 0x1000_0000_0000_0001, -0x7000_0000_0000_0000, -5 << 40}
	if m.opts.ExtendedTypes {
		g.ids = g.ids[:4] // the last one has the high byte of TTL owners
	}
	g.acls = []proto.RawACLs{nil}
	g.acls[0] = proto.AppendACLs(nil, nil) // null
	for i := range 5 {
		g.acls = append(g.acls, proto.AppendACLs(nil, append([]proto.ACL{{Perms: int32(i), Scheme: "digest", ID: fmt.Sprint("u", i)}}, proto.WorldAnyone[:i%2]...)))
	}
	g.acls = append(g.acls, proto.AppendACLs(nil, proto.WorldAnyone), proto.AppendACLs(nil, []proto.ACL{}))
	g.names = []string{"a", "b", "cc", "a-long-name-that-takes-more-than-one-granule", "é中", strings.Repeat("no-compact-node-has-such-a-name-", 2), QuotaLimitsName, QuotaStatsName}
	return g
}

func pick[T any](g *generator, s []T) T { return s[g.IntN(len(s))] }

// existing returns the path of some node.
func (g *generator) existing() string {
	return pick(g, slices.Sorted(maps.Keys(g.m.nodes)))
}

// path returns a path that may or may not exist.
func (g *generator) path() string {
	if g.IntN(8) == 0 {
		return PathQuota + pick(g, []string{"/a", "/a", "/b", "/a/b"}) + pick(g, []string{"", "", "/" + QuotaLimitsName, "/" + QuotaStatsName})
	}
	base := ""
	switch g.IntN(10) {
	case 0, 1, 2, 3:
		return orRoot(g.existing())
	case 4, 5, 6:
		base = g.existing()
	case 7:
		base = PathQuota + g.existing()
	}
	if g.IntN(4) == 0 {
		return base + "/" + strconv.Itoa(g.IntN(50))
	}
	return base + "/" + pick(g, g.names)
}

func (g *generator) data() []byte {
	switch g.IntN(12) {
	case 0:
		return nil
	case 1:
		return []byte{}
	case 2:
		return bytes.Repeat([]byte{byte(g.IntN(256))}, g.IntN(6000))
	case 3:
		return []byte("count=5,bytes=7=;byteHardLimit=9;countHardLimit=8;zz=1")
	case 4:
		return []byte(",;count=;bytes,x==4;x=5,x=q")
	case 5:
		return bytes.Repeat([]byte{byte(g.IntN(256))}, compactDataMax-2+g.IntN(5))
	}
	return bytes.Repeat([]byte{byte(g.IntN(256))}, g.IntN(100))
}

func (g *generator) op(typ proto.OpCode) proto.TxnBody {
	b := proto.TxnBody{Path: []byte(g.path())}
	switch typ {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		b.Data, b.ACL = g.data(), pick(g, g.acls)
		b.Ephemeral = g.IntN(3) == 0
		b.ParentCversion = -1
		if string(b.Path) != "/" {
			if parent := g.m.nodes[parentOf(string(b.Path))]; parent != nil && g.IntN(4) > 0 {
				b.ParentCversion = parent.stat.Cversion + int32(g.IntN(4)) - 1
			}
		}
		b.TTLms = 1 + g.Int64N(proto.MaxTTLMs)
	case proto.OpSetData, proto.OpReconfig:
		b.Data, b.Version = g.data(), int32(g.IntN(5)-1)
	case proto.OpSetACL:
		b.ACL, b.Version = pick(g, g.acls), int32(g.IntN(5))
	case proto.OpCheck:
		b.Version = 1
	case proto.OpError:
		b = proto.TxnBody{Err: pick(g, []proto.ErrCode{proto.ErrNoNode, proto.ErrBadVersion, proto.ErrRuntimeInconsistency})}
	case proto.OpCreateSession:
		b = proto.TxnBody{TimeoutMs: int32(g.IntN(3)) * 1000}
	}
	return b
}

var (
	soloTypes  = []proto.OpCode{1, 1, 1, 1, 15, 15, 19, 21, 2, 2, 2, 20, 5, 5, 5, 5, 16, 7, 7, -1, -10, -10, -11, 14, 14}
	multiTypes = []proto.OpCode{1, 1, 1, 15, 19, 21, 2, 20, 5, 5, 13}
)

func (g *generator) txn() *mtxn {
	g.zxid += int64(g.IntN(3)) // equal ones, too: a replay repeats
	t := &mtxn{header: proto.TxnHeader{SessionID: pick(g, g.ids), Cxid: g.Int32(), Zxid: g.zxid, TimeMs: g.Int64N(1 << 41), Type: pick(g, soloTypes)}}
	if g.IntN(20) == 0 {
		t.header.Zxid -= int64(g.IntN(20))
	}
	if g.IntN(20) == 0 {
		t.header.TimeMs = pick(g, []int64{-1, 1<<compactTimeBits - 1, 1 << compactTimeBits, math.MinInt64})
	}
	switch t.header.Type {
	case proto.OpMulti:
		for range g.IntN(6) {
			typ := pick(g, multiTypes)
			t.ops = append(t.ops, mop{typ, g.op(typ)})
		}
		if len(t.ops) > 0 && g.IntN(4) == 0 {
			for i := g.IntN(len(t.ops)); i < len(t.ops); i += 1 + g.IntN(2) {
				t.ops[i] = mop{proto.OpError, g.op(proto.OpError)}
			}
		}
	case proto.OpCloseSession:
		if t.hasPaths = g.IntN(3) > 0; !t.hasPaths {
			break
		}
		t.paths = g.m.owned(t.header.SessionID)
		g.Shuffle(len(t.paths), func(i, j int) { t.paths[i], t.paths[j] = t.paths[j], t.paths[i] })
		if len(t.paths) > 0 && g.IntN(3) == 0 {
			t.paths = t.paths[1:]
		}
		if p := g.path(); g.IntN(4) == 0 && p != "/" {
			t.paths = append(t.paths, p)
		}
	default:
		t.body = g.op(t.header.Type)
	}
	return t
}

// world is an engine and its model, and perhaps a running checkpoint of it.
type world struct {
	t    testing.TB
	rng  *rand.Rand
	opts Options
	e    *Engine
	m    *model

	image map[string]string // what the store has, by key
	// A checkpoint that runs, the state that it must bring, and the image as it will be.
	checkpoint *Checkpoint
	want       *model
	next       map[string]string
	lastKey    string
	log        bytes.Buffer // everything that came out, for comparing two runs

	forms formTally
}

func (w *world) apply(mt *mtxn) {
	w.m.events = nil
	want, wantMulti := w.m.apply(mt)
	digest, mismatch := uint64(0), false
	if w.opts.Digest && mt.header.Type != proto.OpError && (mt.header.Type != proto.OpCloseSession || mt.hasPaths) {
		digest = w.m.digest()
		if w.rng.IntN(10) == 0 {
			digest, mismatch = digest^1|2, true
			mismatch = digest != w.m.digest()
		}
	}
	txn := mt.append(nil, digest)
	var rec recorder
	count := w.forms.watch(w, mt)
	r, err := w.e.Apply(txn, &rec)
	if err != nil {
		w.t.Fatalf("%+v: %v", mt, err)
	}
	count()
	got := func(o *OpResult) mresult { return mresult{o.Type, o.Err, string(o.Path), o.Stat} }
	if got(&r.OpResult) != want || r.Header != mt.header {
		w.t.Fatalf("%+v:\n got %+v\nwant %+v", mt, r.OpResult, want)
	}
	if len(r.Multi) != len(wantMulti) {
		w.t.Fatalf("%+v: %d results, want %d", mt, len(r.Multi), len(wantMulti))
	}
	for i := range wantMulti {
		if got(&r.Multi[i]) != wantMulti[i] {
			w.t.Fatalf("%+v: operation %d:\n got %+v\nwant %+v", mt, i, r.Multi[i], wantMulti[i])
		}
	}
	if r.HasDigest != (digest != 0) || r.HasDigest && r.TxnDigest != digest || r.DigestMismatch != mismatch {
		w.t.Fatalf("%+v: digest %v %#x %v, want %#x %v", mt, r.HasDigest, r.TxnDigest, r.DigestMismatch, digest, mismatch)
	}
	if !slices.Equal(rec.events, w.m.events) {
		w.t.Fatalf("%+v: events\n got %q\nwant %q", mt, rec.events, w.m.events)
	}
}

func (w *world) start() {
	c, err := w.e.StartCheckpoint()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.e.StartCheckpoint(); !errors.Is(err, ErrCheckpointRunning) {
		w.t.Fatalf("second checkpoint: %v", err)
	}
	w.checkpoint, w.want, w.next, w.lastKey = c, w.m.clone(), maps.Clone(w.image), ""
	if c.Zxid() != w.m.lastZxid || c.Digest() != w.m.digest() || c.NodeCount() != len(w.m.nodes) {
		w.t.Fatalf("checkpoint of %#x, digest %#x, %d nodes", c.Zxid(), c.Digest(), c.NodeCount())
	}
}

func (w *world) step(max int) (done bool) {
	n := 0
	done, err := w.checkpoint.Next(max, func(key, value []byte) error {
		if string(key) <= w.lastKey {
			w.t.Fatalf("key %x after %x", key, w.lastKey)
		}
		w.lastKey = string(key)
		fmt.Fprintf(&w.log, "%x %x %v\n", key, value, value == nil)
		if value == nil {
			delete(w.next, string(key))
		} else {
			w.next[string(key)] = string(value)
		}
		n++
		return nil
	})
	if err != nil || n > max {
		w.t.Fatalf("%d records, want at most %d: %v", n, max, err)
	}
	return done
}

// finish ends the checkpoint as durable and loads the image, which must be the state as of
// the start.
func (w *world) finish() *Engine {
	w.checkpoint.Finish()
	w.checkpoint, w.image = nil, w.next
	e, err := loadImage(Load(w.opts), w.image)
	if err != nil {
		w.t.Fatal(err)
	}
	w.want.compare(w.t, e)
	if w.rng.IntN(4) == 0 {
		w.foreign()
	}
	if e.DirtyCount() != 0 {
		w.t.Fatalf("%d records are dirty after a load", e.DirtyCount())
	}
	return e
}

// foreign loads the image as that of another server: the next checkpoint is all of it.
func (w *world) foreign() {
	e, err := loadImage(LoadForeign(w.opts), w.image)
	if err != nil {
		w.t.Fatal(err)
	}
	defer e.Close()
	c, err := e.StartCheckpoint()
	if err != nil {
		w.t.Fatal(err)
	}
	image := map[string]string{}
	for done := false; !done; {
		if done, err = c.Next(100, func(key, value []byte) error {
			if value != nil {
				image[string(key)] = string(value)
			}
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	c.Finish()
	if !maps.Equal(image, w.image) {
		w.t.Fatalf("a checkpoint of the image of another server has %d records, the image %d", len(image), len(w.image))
	}
}

func loadImage(l *Loader, image map[string]string) (*Engine, error) {
	for _, key := range slices.Sorted(maps.Keys(image)) {
		if err := l.Put([]byte(key), []byte(image[key])); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l.Finish()
}

// program runs one random program.
func program(t testing.TB, seed uint64, steps int) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{t: t, rng: rng, image: map[string]string{}, forms: formTally{}}
	w.opts = Options{Digest: rng.IntN(4) > 0, ExtendedTypes: rng.IntN(4) > 0, Emulate353TTL: false}
	if rng.IntN(8) == 0 {
		w.opts.ExtendedTypes, w.opts.Emulate353TTL = true, true
	}
	e, err := New(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	w.e, w.m = e, newModel(w.opts)
	defer func() { w.e.Close() }()
	g := newGenerator(rng, w.m)
	if w.opts.Emulate353TTL {
		g.ids = g.ids[:3]
	}
	for range steps {
		switch k := rng.IntN(40); {
		case k == 0 && w.checkpoint == nil:
			w.start()
		case k < 8 && w.checkpoint != nil:
			if rng.IntN(12) == 0 {
				w.checkpoint.Abort()
				w.checkpoint = nil
				break
			}
			if !w.step(1 + rng.IntN(20)) {
				break
			}
			loaded := w.finish()
			if rng.IntN(3) == 0 { // a restart that forgets what came later
				w.e.Close()
				w.e, w.m = loaded, w.want
				g.m = w.m
			} else {
				loaded.Close()
			}
		case k == 8:
			w.m.compare(t, w.e)
		case k == 9 && rng.IntN(10) == 0:
			w.orphans()
		case k == 10 && rng.IntN(10) == 0:
			w.epoch(g)
		default:
			w.apply(g.txn())
		}
	}
	if w.checkpoint != nil {
		w.checkpoint.Abort()
	}
	w.m.compare(t, w.e)
	w.start()
	for !w.step(1000) {
	}
	w.finish().Close()
	if w.e.DirtyCount() != 0 {
		t.Fatalf("%d records are dirty after a checkpoint", w.e.DirtyCount())
	}
	return w
}

func (w *world) orphans() {
	w.m.events = nil
	count := func() (n int, ids []int64) {
		for _, node := range w.m.nodes {
			if id := node.stat.EphemeralOwner; w.m.isSession(id) {
				n++
				if !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
		return n, ids
	}
	before, ids := count()
	slices.Sort(ids)
	for _, id := range ids {
		if _, open := w.m.sessions[id]; open {
			continue
		}
		for _, p := range w.m.owned(id) {
			w.m.delete(p, w.m.lastZxid)
		}
	}
	after, _ := count()
	n := before - after
	var rec recorder
	if got := w.e.RemoveOrphans(&rec); got != n || !slices.Equal(rec.events, w.m.events) {
		w.t.Fatalf("%d orphans removed, want %d; events\n got %q\nwant %q", got, n, rec.events, w.m.events)
	}
}

// epoch does what the start of an epoch does: a zxid without a transaction, and a new config.
func (w *world) epoch(g *generator) {
	g.zxid = (g.zxid>>32 + 1) << 32
	w.e.SetLastZxid(g.zxid)
	w.m.lastZxid = g.zxid
	text := fmt.Appendf(nil, "server.1=h:1:2\nversion=%x", g.zxid)
	w.e.SetConfigNode(text, g.zxid, 77)
	n := w.m.nodes[PathConfig]
	n.data, n.stat.Version, n.stat.Mzxid, n.stat.Mtime = text, -1, g.zxid, 77
}

// TestPrograms runs random programs against the model: results, events, digests and whole
// trees must be equal, and checkpoints taken while the programs go on must load to the state
// at their start.
func TestPrograms(t *testing.T) {
	seeds := programSeeds
	if testing.Short() {
		seeds = 100
	}
	first := uint64(0)
	if s := os.Getenv("ENGINE_SEED"); s != "" {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, seeds = v, 1
	}
	forms := formTally{}
	for i := range seeds {
		seed := first + uint64(i)
		ok := t.Run(fmt.Sprint("ENGINE_SEED=", seed), func(t *testing.T) {
			for what, n := range program(t, seed, 200).forms {
				forms[what] += n
			}
		})
		if !ok {
			return
		}
	}
	if seeds > 1 {
		forms.check(t)
	}
}

// TestDeterminism runs programs twice: every record that every checkpoint emits must be the
// same to the byte.
func TestDeterminism(t *testing.T) {
	for seed := range uint64(20) {
		a, b := program(t, 1<<32+seed, 300), program(t, 1<<32+seed, 300)
		if !bytes.Equal(a.log.Bytes(), b.log.Bytes()) {
			t.Fatalf("seed %d: checkpoints of two runs differ", seed)
		}
	}
}
