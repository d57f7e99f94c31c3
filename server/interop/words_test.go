//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
)

func init() {
	register(
		rawTour("words", map[string]string{"tickTime": "3000", "minSessionTimeout": "5000", "clientPortListenBacklog": "64"}, nil,
			section{"empty", emptyWords}, section{"word", allWords}),
		rawTour("words-whitelist", map[string]string{"4lw.commands.whitelist": "ruok, mntr"}, nil, section{"white", whiteWords}),
		rawTour("words-default-whitelist", map[string]string{"4lw.commands.whitelist": "-"}, nil, section{"white", whiteWords}),
		rawTour("words-mntr-after", nil, nil, section{"mntr", mntrAfterUse}),
	)
}

var everyWord = []string{"conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs"}

var (
	hexNumber = regexp.MustCompile(`\b0x[0-9a-f]+`)
	number    = regexp.MustCompile(`\d+(\.\d+)?`)
	clientEnd = regexp.MustCompile(`/127\.0\.0\.1:\d+`)
	version   = regexp.MustCompile(`^(Zookeeper version: |zk_version\t)\S+?(-\S+)?, built on .*`)
	clock     = regexp.MustCompile(`(\w{3} \w{3} \d\d \d\d:\d\d:\d\d \S+ \d{4})`)
	// exactKeys are the keys and line starts whose numbers are compared as they are.
	exactKeys = regexp.MustCompile(`^(Connections|Outstanding|Node count|Total watches|\d+ connections watching|zk_znode_count|zk_watch_count|zk_ephemerals_count|` +
		`zk_approximate_data_size|zk_num_alive_connections|zk_outstanding_requests|zk_global_sessions|zk_local_sessions|zk_non_mtls.*|` +
		`zk_last_client_response_size|zk_max_client_response_size|zk_min_client_response_size|` +
		`tickTime|maxClientCnxns|minSessionTimeout|maxSessionTimeout|clientPortListenBacklog|serverId|secureClientPort|There are|Sessions with)`)
)

// wordLine takes out of a line what may differ from run to run.
func (r *raw) wordLine(l string) string {
	l = clientEnd.ReplaceAllString(l, "/CLIENT")
	l = strings.ReplaceAll(l, r.s.dir, "DIR")
	l = strings.ReplaceAll(l, fmt.Sprintf("clientPort=%d", r.s.port), "clientPort=PORT")
	l = clock.ReplaceAllString(l, "TIME")
	if version.MatchString(l) {
		return version.ReplaceAllString(l, "${1}VERSION, built on DATE")
	}
	l = hexNumber.ReplaceAllStringFunc(l, func(h string) string {
		n, _ := strconv.ParseUint(h[2:], 16, 64)
		for i, s := range r.sessions {
			if int64(n) == s {
				return "SESSION" + string(rune('A'+i))
			}
		}
		return "HEX"
	})
	if strings.Contains(l, "/CLIENT[") {
		return consNumber.ReplaceAllString(l, "$1=N")
	}
	if exactKeys.MatchString(l) {
		return l
	}
	return number.ReplaceAllString(l, "N")
}

// consNumber are the fields of a cons line that depend on time and history.
var consNumber = regexp.MustCompile(`\b(recved|sent|est|lcxid|lzxid|lresp|llat|minlat|avglat|maxlat)=[^,)]*`)

// lines records the lines of an answer one by one; the order counts.
func (r *raw) lines(name string, answer []byte) {
	ls := strings.Split(string(answer), "\n")
	for i, l := range ls {
		r.put(fmt.Sprintf("%s %d", name, i), "%s", r.wordLine(l))
	}
}

// sortedLines is for answers in hash order.
func (r *raw) sortedLines(name string, answer []byte) {
	ls := strings.Split(string(answer), "\n")
	for i := range ls {
		ls[i] = r.wordLine(ls[i])
	}
	sort.Strings(ls)
	r.put(name, "%s", strings.Join(ls, "\\n"))
}

// keys records one step per key, so that a key more or less shows by its name.
func (r *raw) keys(name string, answer []byte, sep string) {
	for l := range strings.SplitSeq(strings.TrimRight(string(answer), "\n"), "\n") {
		k, _, ok := strings.Cut(l, sep)
		if !ok {
			k = l
		}
		r.put(name+" "+k, "%s", r.wordLine(l))
	}
	r.put(name+" last byte", "%q", string(answer[max(0, len(answer)-1):]))
}

// settle waits until the server counts n connections, the asking one included: a closed
// connection may be counted for a moment.
func (r *raw) settle(n int) {
	for range 200 {
		if strings.Contains(string(r.s.word("srvr")), fmt.Sprintf("Connections: %d\n", n)) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func emptyWords(r *raw) {
	r.settle(1)
	for _, w := range everyWord {
		switch w {
		case "envi", "mntr", "conf", "stmk":
		default:
			r.lines(w, r.s.word(w))
		}
	}
	for _, w := range []string{"RUOK", "quit", "help", "kill", "ruok\n", "ruokxyz", "req ", "reqs", "\xff\xf4\xff\xfd\x06"} {
		r.put(fmt.Sprintf("%q", w), "%q", r.s.word(w))
	}
}

func allWords(r *raw) {
	a, b := r.open(), r.open()
	a.do(opCreate, createReq("/wo", "12345", 0))
	a.do(opCreate, createReq("/wo/e1", "", 1))
	a.do(opCreate, createReq("/wo/e2", "", 1))
	b.do(opCreate, createReq("/wo/e3", "", 1))
	a.do(opGetData, pathWatch("/wo", true))
	a.do(opGetChildren, pathWatch("/wo", true))
	b.do(opExists, pathWatch("/wo", true))
	b.do(opExists, pathWatch("/wo/none", true))
	b.do(opAddWatch, pathInt("/wo", 0))
	b.do(opAddWatch, pathInt("/", 1))
	b.do(opPing, nil)
	a.do(opGetData, pathWatch("/wo", false))
	r.settle(3)
	for _, w := range []string{"ruok", "isro", "gtmk", "crst", "srst", "wchs", "dirs", "srvr", "hash"} {
		r.lines(w, r.s.word(w))
	}
	for _, w := range []string{"cons", "stat", "wchc", "wchp"} {
		r.settle(3)
		r.sortedLines(w, r.s.word(w))
	}
	// The session sets are at times that depend on the start of the server: the shape counts.
	dump := regexp.MustCompile(`(?m)^(\d+ expire at|\d+ \(\d+\) expire|.*expire at).*$`).ReplaceAllString(string(r.s.word("dump")), "SET")
	r.sortedLines("dump", []byte(regexp.MustCompile(`(Session Sets|Connections Sets|Connection Sets) \(\d+\)/\(\d+\)`).ReplaceAllString(dump, "$1")))
	r.keys("conf", r.s.word("conf"), "=")
	r.keys("envi", envKeys(r.s.word("envi")), "=")
	r.keys("mntr", r.s.word("mntr"), "\t")
	r.put("stmk", "%q", number.ReplaceAllString(string(r.s.word("stmk\x00\x00\x00\x00\x00\x00\x00\x02")), "N"))
	r.put("gtmk after", "%q", r.s.word("gtmk"))
	r.put("stmk back", "%q", number.ReplaceAllString(string(r.s.word("stmk\x00\x00\x00\x00\x00\x00\x00\x00")), "N"))
	r.put("gtmk back", "%q", r.s.word("gtmk"))
	a.close()
	b.close()
	r.settle(1)
	r.sortedLines("cons after", r.s.word("cons"))
	r.lines("wchs after", r.s.word("wchs"))
	r.sortedLines("wchc after", r.s.word("wchc"))
	r.sortedLines("wchp after", r.s.word("wchp"))
	// More digests than fit are dropped; what is listed is one per 128 transactions.
	c := r.open()
	for range 300 {
		c.do(opSetData, setReq("/wo", "", -1))
	}
	r.lines("hash after", hashZxids(r.s.word("hash")))
	r.sortedLines("stat after", r.statAtRest())
	c.close()
}

// statAtRest asks for stat until the last answer of each connection but the one that asks is over. Java counts it as queued, the
// connection as one that it does not read from ([0]), and the request as outstanding, or as one too few, until its threads
// have come around.
func (r *raw) statAtRest() []byte {
	for i := 0; ; i++ {
		answer := r.s.word("stat")
		if i == 200 || !bytes.Contains(answer, []byte("queued=1")) && bytes.Count(answer, []byte("[0](")) == 1 &&
			bytes.Contains(answer, []byte("Outstanding: 0\n")) {
			return answer
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// hashZxids leaves the zxids of the lines, without the digests, which carry times.
func hashZxids(answer []byte) []byte {
	return regexp.MustCompile(`(?m)^([0-9a-f]+): -?\d+$`).ReplaceAll(answer, []byte("z-$1: DIGEST"))
}

// envKeys drops the values of envi: they are the machine's.
func envKeys(answer []byte) []byte {
	out := regexp.MustCompile(`(?m)^([a-z.]+)=.*$`).ReplaceAll(answer, []byte("$1=VALUE"))
	// The only value that clients parse.
	if m := regexp.MustCompile(`zookeeper\.version=\d+\.\d+\.\d+`).Find(answer); m == nil {
		out = append([]byte("zookeeper.version is not parsable\n"), out...)
	}
	return out
}

func whiteWords(r *raw) {
	for _, w := range everyWord {
		if w == "stmk" {
			w += "\x00\x00\x00\x00\x00\x00\x00\x01"
		}
		a := string(r.s.word(w))
		if !strings.Contains(a, "is not executed because") {
			a = strings.SplitN(number.ReplaceAllString(a, "N"), "\n", 2)[0]
		}
		if version.MatchString(a) || strings.HasPrefix(a, "Zookeeper version") || strings.HasPrefix(a, "zk_version") {
			a = "a version line"
		}
		r.put(w[:4], "%q", a)
	}
}

// mntrAfterUse compares the figures that are the same whenever the same was done.
func mntrAfterUse(r *raw) {
	c := r.open()
	for i := range 20 {
		c.do(opCreate, createReq(fmt.Sprintf("/mn%d", i), "0123456789", int32(i%2)))
	}
	c.do(opExists, pathWatch("/mn0", true))
	c.do(proto.OpGetEphemerals, justPath(""))
	r.settle(2)
	want := regexp.MustCompile(`^(zk_znode_count|zk_watch_count|zk_ephemerals_count|zk_approximate_data_size|zk_num_alive_connections|zk_server_state|zk_global_sessions|zk_outstanding_requests|zk_packets_(received|sent))\t`)
	for l := range strings.SplitSeq(string(r.s.word("mntr")), "\n") {
		if m := want.FindStringSubmatch(l); m != nil {
			if strings.HasPrefix(m[1], "zk_packets") {
				l = m[1] + "\tN" // the words that waited for the start count as well
			}
			r.put(m[1], "%s", l)
		}
	}
	c.close()
}

// TestWordLine checks the normalisation on lines of every kind.
func TestWordLine(t *testing.T) {
	r := &raw{t: t, s: &server{dir: "/x/y", port: 1234}, sessions: []int64{0x100002b}}
	for in, want := range map[string]string{
		"Zookeeper version: 3.8.0-abc, built on 2024-12-29 17:54 UTC": "Zookeeper version: VERSION, built on DATE",
		"Connections: 3":                   "Connections: 3",
		"Latency min/avg/max: 0/1.8922/13": "Latency min/avg/max: N/N/N",
		" /127.0.0.1:37558[1](queued=0,recved=647,sent=647,sid=0x100002b,lop=PING,est=179,to=10000,lcxid=0x26f,lzxid=0x10000013a,lresp=960894,llat=1,minlat=0,avglat=1,maxlat=13)": " /CLIENT[1](queued=0,recved=N,sent=N,sid=SESSIONA,lop=PING,est=N,to=10000,lcxid=N,lzxid=N,lresp=N,llat=N,minlat=N,avglat=N,maxlat=N)",
		"dataDir=/x/y/data/version-2": "dataDir=DIR/data/version-N",
		"clientPort=1234":             "clientPort=PORT",
	} {
		if got := r.wordLine(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
