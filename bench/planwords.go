package bench

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"zabra.dev/zabra/server/client"
)

// words are what a server tells of itself in answer to mntr and conf. Source: operations, sections on the four-letter words.
type words map[string]string

// askMntr asks the server for its counters. A server that does not allow the word, or is not ZooKeeper at all, is an error.
func askMntr(addr string) (words, error) {
	text, err := client.FourLetter(addr, "mntr")
	if err != nil {
		return nil, err
	}
	w := parseWords(text, "\t")
	if w["zk_version"] == "" {
		line, _, _ := strings.Cut(text, "\n")
		return nil, fmt.Errorf("bench: %s does not answer mntr (%q): allow it with 4lw.commands.whitelist", addr, line)
	}
	return w, nil
}

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
			if w, err := askMntr(a); err == nil { // an error leaves nil, which the figures show
				all[i] = w
			}
		})
	}
	wg.Wait()
	return all
}

// sessionLimit returns how many sessions this machine may have with the server, 0 when there is no limit or it does not tell.
func sessionLimit(addr string) int {
	text, err := client.FourLetter(addr, "conf")
	if err != nil {
		return 0
	}
	return int(parseWords(text, "=").number("maxClientCnxns"))
}
