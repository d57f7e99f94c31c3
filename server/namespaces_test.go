package server

import (
	"strings"
	"testing"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/fourlw"
)

func TestNamespaces(t *testing.T) {
	s := stillServer(t)
	c := stillClient(s)
	c.write(proto.OpCreate, createBody("/app", []byte("12345")), createBody("/app/b", nil))
	c.write(proto.OpSetData, setBody("/app/b", []byte("123")))
	c.write(proto.OpDelete, (&proto.PathVersion{Path: []byte("/app/b"), Version: -1}).Append(nil))
	get := (&proto.PathWatch{Path: []byte("/app")}).Append(nil)
	c.serveRead(1, proto.OpGetData, get, 0)
	c.serveRead(2, proto.OpExists, get, 0)
	c.serveRead(3, proto.OpExists, (&proto.PathWatch{Path: []byte("/")}).Append(nil), 0)
	c.serveRead(4, proto.OpGetData, (&proto.PathWatch{Path: []byte("/none/x")}).Append(nil), 0)
	text := string(fourlw.AppendMntr(nil, s.namespacePairs()))
	want := `zk_avg_app_read_per_namespace	74.5
zk_min_app_read_per_namespace	72
zk_max_app_read_per_namespace	77
zk_cnt_app_read_per_namespace	2
zk_sum_app_read_per_namespace	149
zk_avg_app_write_per_namespace	7.5
zk_min_app_write_per_namespace	6
zk_max_app_write_per_namespace	9
zk_cnt_app_write_per_namespace	4
zk_sum_app_write_per_namespace	30
`
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if strings.Contains(text, "none") {
		t.Error("a read of a missing node counts")
	}
	for _, l := range s.loops {
		l.namespaces.reset()
	}
	text = string(fourlw.AppendMntr(nil, s.namespacePairs()))
	if strings.Count(text, "\n") != 10 || !strings.Contains(text, "zk_avg_app_read_per_namespace\t0.0\n") ||
		!strings.Contains(text, "zk_cnt_app_write_per_namespace\t0\n") {
		t.Errorf("after a reset: got\n%s", text)
	}
}
