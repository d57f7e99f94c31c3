package main

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
)

// TestAuditOfTheServer: start and stop of the server are in the audit log, and a start that fails.
func TestAuditOfTheServer(t *testing.T) {
	events := regexp.MustCompile(`Slf4jAuditLogger@\d+\] - user=\S+\t(operation=server\S+\tresult=\S+)`)
	find := func(log string) (list []string) {
		for _, m := range events.FindAllStringSubmatch(log, -1) {
			list = append(list, strings.ReplaceAll(m[1], "\t", " "))
		}
		return list
	}
	dir := t.TempDir()
	cfg, port := writeConfig(t, dir, "audit.enable=true")
	if got := find(serveOnce(t, dir, cfg, fmt.Sprintf("127.0.0.1:%d", port))); fmt.Sprint(got) != "[operation=serverStart result=success operation=serverStop result=invoked]" {
		t.Errorf("%q", got)
	}
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, log, code := zabra(t, dir, "server", cfg)
	if got := find(log); code != 1 || fmt.Sprint(got) != "[operation=serverStart result=failure]" {
		t.Errorf("exit %d, %q", code, got)
	}
}
