package sim

import (
	"bytes"
	"fmt"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal"
)

// prehistory gives the members of the first member list a history of epoch 1 up to its very last zxid, of which each
// has an image, the same for all, and a part of the log of its own length. It does not touch what clients use.
func (w *world) prehistory() {
	rng := rngFor(w.opts.Seed, rngPast)
	e, err := engine.New(treeOptions)
	if err != nil {
		panic(err)
	}
	defer e.Close()
	last := quorum.EpochStart(1) + quorum.MaxCounter
	base := last - quorum.Zxid(3+rng.IntN(20))
	e.SetLastZxid(base)
	image := imageOf(e, nil, true).encode()

	const session = 0x77
	sessions := &tracker{}
	p := prep.New(e, allSchemes, sessions, prep.Options{CloseSessionTxn: true})
	p.Reset(base)
	var packets [][]byte
	for z := base + 1; z <= last; z++ {
		r := prep.Request{Session: session, Owner: zab.LinkID(0)}
		o := &op{kind: opSet, path: fmt.Sprintf("/old%d", rng.IntN(keys)), data: fmt.Sprint(z), expect: -1}
		switch {
		case z == base+1:
			r.Op, r.TimeoutMs, r.Body = proto.OpCreateSession, 500, jute.AppendInt32(nil, 500)
		default:
			if rng.IntN(2) == 0 {
				o.kind = opCreate
			}
			o.encode()
			r.Op, r.Body = o.opCode(), o.body
		}
		packet, _, _ := p.Prepare(nil, &r, 1_600_000_000_000)
		txn, err := proto.ProposalTxn(packet)
		if err != nil {
			panic(err)
		}
		if _, err := e.Apply(txn, nil); err != nil {
			panic(err)
		}
		p.Applied(z)
		w.check.proposed(bytes.Clone(packet))
		packets = append(packets, packet)
	}
	for _, s := range w.servers {
		if w.plan.config.Member(s.id) != nil {
			s.remember(image, base, packets[:rng.IntN(len(packets)+1)])
		}
	}
}

// remember writes a history to the disk of a server that has never run.
func (s *server) remember(image []byte, base quorum.Zxid, packets [][]byte) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(s.mem.MkdirAll(dataDir))
	must(s.writeFile("image", image))
	must(s.writeEpoch("acceptedEpoch", 1))
	must(s.writeEpoch("currentEpoch", 1))
	log, err := wal.OpenEmpty(s.mem, logDir, s.logOptions(), base)
	must(err)
	batch := &wal.Batch{}
	for i, packet := range packets {
		batch.AddRecord(base+1+quorum.Zxid(i), packet)
	}
	if len(packets) > 0 {
		must(log.Append(batch))
		log.Step()
		must(s.logErr)
	}
	s.mem.ReleaseLocks()
	s.disk = disk{}
}
