//go:build interop

package interop

import "fmt"

// order checks that replies come in the order of the requests whatever they are.
func order(r *raw) {
	c := r.open()
	c.pipeline("mixed",
		request{op: opCreate, body: createReq("/o", "0", 0)},
		request{op: opPing},
		request{op: opGetData, body: pathWatch("/o", false)},
		request{op: opSetData, body: setReq("/o", "1", 0)},
		request{op: opPing},
		request{op: opSetData, body: setReq("/o", "2", 0)},
		request{op: opGetData, body: pathWatch("/o", false)},
		request{op: opSync, body: justPath("/o")},
		request{op: opCreate, body: createReq("/o/c", "", 1)},
		request{op: opGetChildren, body: pathWatch("/o", false)},
		request{op: opDelete, body: pathInt("/o/c", -1)},
		request{op: opDelete, body: pathInt("/o/c", -1)},
		request{op: opExists, body: pathWatch("/o/c", false)},
		request{op: opGetData, body: rec().null().flag(false)},
		request{op: opMulti, body: multi(mop{opSetData, setReq("/o", "3", 1)}, mop{opSetData, setReq("/o", "4", 2)})},
		request{op: opMultiRead, body: multi(mop{opGetData, pathWatch("/o", false)})},
		request{op: opAddWatch, body: pathInt("/o", 0)},
		request{op: opSetData, body: setReq("/o", "5", -1)},
		request{op: opRemoveWatches, body: pathInt("/o", 3)},
		request{op: opSetData, body: setReq("/o", "6", -1)},
		request{op: opPing})
	// A long pipeline: far more than the limit of requests in process.
	var qs []request
	for i := range 3000 {
		switch i % 3 {
		case 0:
			qs = append(qs, request{op: opSetData, body: setReq("/o", fmt.Sprint(i), -1)})
		case 1:
			qs = append(qs, request{op: opGetData, body: pathWatch("/o", false)})
		case 2:
			qs = append(qs, request{op: opExists, body: pathWatch("/none", false)})
		}
	}
	c.pipeline("long", qs...)
	c.close()
}
