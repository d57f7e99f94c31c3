package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench/responder"
)

// helperEnv makes this test binary a server: "serve" answers at its first argument until it is killed, "fail" ends at once.
const helperEnv = "ZABRA_RIG_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "serve":
		r, err := responder.Start(responder.Options{Address: os.Args[1]})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer func() { _ = r.Stop(context.Background()) }()
		select {} // killed by the test, or with it
	case "fail":
		fmt.Fprintln(os.Stderr, "helper: no server today")
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func helper(t *testing.T, mode string) Kind {
	t.Setenv(helperEnv, mode)
	return Kind{Name: "helper", Command: []string{os.Args[0], "ADDR"}, Config: map[string]string{"own": "1"}}
}

func TestStartKillStart(t *testing.T) {
	dir := t.TempDir()
	e, err := New(helper(t, "serve"), 2, dir, map[string]string{"snapCount": "7", "tickTime": ""})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Start(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if len(e.Addrs()) != 2 || e.Addrs()[0] == e.Addrs()[1] {
		t.Errorf("addresses %v", e.Addrs())
	}
	s := e.Servers[1]
	pid := s.PID()
	s.Kill()
	if serving(s.Addr()) {
		t.Error("a killed server answers")
	}
	s.Kill() // of an ended process does nothing
	e.Set("snapCount", "8")
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitServing(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if s.PID() == pid {
		t.Error("the process is the old one")
	}
	s.Terminate(20 * time.Second)
	if serving(s.Addr()) {
		t.Error("a terminated server answers")
	}

	b, err := os.ReadFile(filepath.Join(s.DataDir(), "zoo.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if !slices.IsSorted(lines) {
		t.Errorf("zoo.cfg is not sorted: %q", lines)
	}
	for _, want := range []string{"snapCount=8", "own=1", "maxClientCnxns=0", "dataDir=" + filepath.Join(s.DataDir(), "data")} {
		if !slices.Contains(lines, want) {
			t.Errorf("zoo.cfg has no %q: %q", want, lines)
		}
	}
	if strings.Contains(string(b), "tickTime") || strings.Count(string(b), "server.") != 2 {
		t.Errorf("zoo.cfg:\n%s", b)
	}
	if id, err := os.ReadFile(filepath.Join(s.DataDir(), "data", "myid")); err != nil || string(id) != "2\n" {
		t.Errorf("myid %q, %v", id, err)
	}
}

func TestServerThatEnds(t *testing.T) {
	e, err := New(helper(t, "fail"), 1, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	err = e.Start(20 * time.Second)
	if !errors.Is(err, ErrNotServing) || !strings.Contains(err.Error(), "no server today") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
}

func TestBinaryThatIsMissing(t *testing.T) {
	e, err := New(Zabra(filepath.Join(t.TempDir(), "none")), 1, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(time.Second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestJava(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Java("", nil); !errors.Is(err, ErrNoJava) {
		t.Errorf("without java: %v", err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "java"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	k, err := Java("some.jar", []string{"-Xmx1000m"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(bin, "java"), "-Xmx1000m", "-cp", "some.jar", javaMain, "CFG"}
	if !slices.Equal(k.Command, want) {
		t.Errorf("command %q, want %q", k.Command, want)
	}
}
