package rig

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zabra.dev/zabra/server/local"
)

// The settings of a kind are in zoo.cfg, those of a measurement come before them, and each kind has its own folder.
func TestNew(t *testing.T) {
	dir := t.TempDir()
	k := Kind{Name: "some", Command: []string{"none", local.CFG}, Config: map[string]string{"snapCount": "5", "globalOutstandingLimit": "6"}}
	e, err := New(k, 1, dir, map[string]string{"snapCount": "7"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	text, err := os.ReadFile(e.Servers[0].Config())
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); !strings.Contains(s, "snapCount=7\n") || !strings.Contains(s, "globalOutstandingLimit=6\n") || strings.Contains(s, "server.") {
		t.Errorf("zoo.cfg:\n%s", s)
	}
	if k.Config["snapCount"] != "5" {
		t.Error("the kind was changed")
	}
	if rel, err := filepath.Rel(dir, e.Dir()); err != nil || rel != "some" {
		t.Errorf("directory %s, %v", e.Dir(), err)
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
	want := []string{filepath.Join(bin, "java"), "-Xmx1000m", "-cp", "some.jar", javaMain, local.CFG}
	if !slices.Equal(k.Command, want) {
		t.Errorf("command %q, want %q", k.Command, want)
	}
}
