//go:build interop

package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// programTimeout bounds one run of a client program.
const programTimeout = 100 * time.Second

// runProgram runs a client program and records the steps that it prints. The program must
// end with status 0 when it has seen everything, whatever it has seen.
func runProgram(t *testing.T, tr *transcript, s *server, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	errs, err := os.Create(filepath.Join(s.dir, "client.err"))
	must(t, err)
	defer errs.Close()
	out, err := os.Create(filepath.Join(s.dir, "client.out"))
	must(t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.WaitDelay = 5 * time.Second
	err = startProcess(cmd, nil)
	if err == nil {
		err = cmd.Wait()
	}
	b, _ := os.ReadFile(out.Name())
	tr.addLines(string(b))
	e, _ := os.ReadFile(errs.Name())
	if err != nil {
		t.Errorf("%s: client program: %v\n%s", s.kind, err, tail(string(e), 4000))
	} else if *showFlag {
		t.Logf("%s: client program said\n%s", s.kind, tail(string(e), 4000))
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

// compileJava compiles the sources under testdata/java against Debian's client once.
func compileJava(t *testing.T) string {
	t.Helper()
	dir, err := javaClasses()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var javaClasses = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "classes")
	srcs := []string{"Tour.java", "ClientTour.java", "SaslTour.java", "SessionTour.java"}
	cp := clientClasspath(java38)
	if have(toolCurator) {
		srcs = append(srcs, "CuratorTour.java")
		cp += ":" + curatorJars()
	}
	args := []string{"-nowarn", "-d", dir, "-cp", cp}
	for _, s := range srcs {
		if p := filepath.Join("testdata", "java", s); exists(p) {
			args = append(args, p)
		}
	}
	if out, err := exec.Command("javac", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("interop: javac: %w\n%s", err, out)
	}
	return dir, nil
})

func clientClasspath(k kind) string { return classpath(k) }

func curatorJars() string {
	return strings.Join([]string{jar("curator-client"), jar("curator-framework"), jar("curator-recipes"), jar("guava"), jar("failureaccess")}, ":")
}

// javaProgram makes a tour of a class of testdata/java, run on a client's jars.
func javaProgram(name string, client kind, class string, extra func() string, needs ...tool) tour {
	return tour{
		name:  name,
		needs: append([]tool{toolJavac, toolJava38}, needs...),
		run: func(t *testing.T, s *server, tr *transcript) {
			cp := compileJava(t) + ":" + clientClasspath(client)
			if extra != nil {
				cp += ":" + extra()
			}
			args := append([]string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dzookeeper.fips-mode=false"}, quickJVM...)
			p := startProxy(t, s.addr)
			runProgram(t, tr, s, "java", append(args, "-cp", cp, class, s.addr, p.addr, p.control)...)
		},
	}
}

func init() {
	register(
		javaProgram("java-client-3.8", java38, "ClientTour", nil),
		javaProgram("java-client-3.9", java39, "ClientTour", nil, toolJava39),
		javaProgram("curator", java38, "CuratorTour", curatorJars, toolCurator),
	)
}
