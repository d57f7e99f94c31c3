package bench

import (
	"bufio"
	"strconv"
	"strings"
	"sync"

	"zabra.dev/zabra/server/client"
)

// words are what a server tells of itself in answer to mntr and conf. Source: operations, sections on the four-letter words.
type words map[string]string

// ask asks the server for its counters with mntr. One that does not allow that word is asked for version and
// role with srvr, which servers allow unless told otherwise. nil: it answers neither.
func ask(addr string) words {
	if text, err := client.FourLetter(addr, "mntr"); err == nil {
		if w := parseWords(text, "\t"); w["zk_version"] != "" {
			return w
		}
	}
	text, err := client.FourLetter(addr, "srvr")
	if err != nil {
		return nil
	}
	s := parseWords(text, ": ")
	if s["Mode"] == "" {
		return nil
	}
	return words{"zk_version": s["Zookeeper version"], "zk_server_state": s["Mode"]}
}

// counters tells whether w is of mntr.
func (w words) counters() bool { return w["zk_packets_received"] != "" }

func parseWords(text, separator string) words {
	w := words{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if k, v, ok := strings.Cut(lines.Text(), separator); ok {
			w[k] = strings.TrimSpace(v)
		}
	}
	return w
}

// number returns the first of the names that is there, 0 when none is.
func (w words) number(names ...string) float64 {
	for _, n := range names {
		if v, err := strconv.ParseFloat(w[n], 64); err == nil {
			return v
		}
	}
	return 0
}

// fsyncs are the count and the milliseconds of the log's syncs: the first name is that of the default metrics provider, the
// second of Prometheus'.
func (w words) fsyncs() (count, milliseconds float64) {
	return w.number("zk_cnt_fsynctime", "zk_fsynctime_count"), w.number("zk_sum_fsynctime", "zk_fsynctime_sum")
}

// askAll asks all servers at once; those that do not answer are nil.
func askAll(addrs []string) []words {
	all := make([]words, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() {
			all[i] = ask(a)
		})
	}
	wg.Wait()
	return all
}

// defaultSessionLimit is maxClientCnxns of a server whose configuration does not name it.
const defaultSessionLimit = 60

// sessionLimit returns how many sessions this machine may have with the server, 0 for any number, and whether the
// server told. One that does not allow conf may well have the default.
func sessionLimit(addr string) (limit int, told bool) {
	text, err := client.FourLetter(addr, "conf")
	if err != nil {
		return defaultSessionLimit, false
	}
	w := parseWords(text, "=")
	if w["maxClientCnxns"] == "" {
		return defaultSessionLimit, false
	}
	return int(w.number("maxClientCnxns")), true
}
