package cli

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestFlags(t *testing.T) {
	fs := plainFlags("s", "w", "v value", "file value")
	f := func(line string, values map[string]string, args ...string) {
		t.Helper()
		p, err := fs.parse(strings.Fields(line))
		if err != nil {
			t.Errorf("%q: %v", line, err)
			return
		}
		if !maps.Equal(p.values, values) || !slices.Equal(p.args, args) {
			t.Errorf("%q: %v %q", line, p.values, p.args)
		}
	}
	f("", nil)
	f("/a", nil, "/a")
	f("/a -s b", map[string]string{"s": ""}, "/a", "b")
	f("-sw /a", map[string]string{"s": "", "w": ""}, "/a")
	f("-v 5 /a", map[string]string{"v": "5"}, "/a")
	f("-v5 /a", map[string]string{"v": "5"}, "/a")
	f("-v=5 /a", map[string]string{"v": "5"}, "/a")
	f("-sv5 /a", map[string]string{"s": "", "v": "5"}, "/a")
	f("-v -1 /a", map[string]string{"v": "-1"}, "/a")
	f("-v 1 -v 2", map[string]string{"v": "1"})
	f("-file x -s", map[string]string{"file": "x", "s": ""})
	f("-s -- -w -x", map[string]string{"s": ""}, "-w", "-x")
	f("- /a", nil, "-", "/a")
	f("-v /a", map[string]string{"v": "/a"})
	f("-v -x", map[string]string{"v": "-x"}) // no option of that name: a value

	bad := func(line, want string) {
		t.Helper()
		if _, err := fs.parse(strings.Fields(line)); err == nil || err.Error() != "org.apache.commons.cli."+want {
			t.Errorf("%q: got %v, want %s", line, err, want)
		}
	}
	bad("-x", "UnrecognizedOptionException: Unrecognized option: -x")
	bad("-sx", "UnrecognizedOptionException: Unrecognized option: -sx")
	bad("--stat", "UnrecognizedOptionException: Unrecognized option: --stat")
	bad("-x=1", "UnrecognizedOptionException: Unrecognized option: -x=1")
	bad("/a -v", "MissingArgumentException: Missing argument for option: v")
	bad("-v -s", "MissingArgumentException: Missing argument for option: v")
	bad("-v --", "MissingArgumentException: Missing argument for option: v")

	fs = quotaFlags(true)
	bad("/a", "MissingOptionException: Missing required option: [-n num soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]")
	bad("-n 1 -b 2 /a", "AlreadySelectedException: The option 'b' was specified but an option from this group has already been selected: 'n'")
	f("-n 1 /a", map[string]string{"n": "1"}, "/a")
	fs = quotaFlags(false)
	f("/a", nil, "/a")
}

// Whatever the words are, the arguments are some of them, in their order.
func FuzzFlags(f *testing.F) {
	f.Add("-s /a -v 5 -sw -- -x")
	f.Add("-v=-- - -file")
	f.Fuzz(func(t *testing.T, line string) {
		words := splitLine(line)
		for _, cmd := range commands() {
			p, err := cmd.flags.parse(words)
			if err != nil {
				continue
			}
			left := words
			for _, arg := range p.args {
				i := slices.Index(left, arg)
				if i < 0 {
					t.Fatalf("%s %q: %q is none of the words, or out of order", cmd.name, line, arg)
				}
				left = left[i+1:]
			}
		}
	})
}

func TestFlagTable(t *testing.T) {
	want := "set path data [-s] [-v version] [-b]\n" +
		" -b         Supply data in base64 format\n" +
		" -s         Print znode stats additionally\n" +
		" -v <arg>   Set with an expected version\n"
	if got := findCommand("set").usageText(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParseOptions(t *testing.T) {
	o, complaint := parseOptions(strings.Fields("-r -server h:1,i:2/c -x -timeout 5 -waitforconnection -client-configuration f ls -s /"))
	if complaint != "" || o.server != "h:1,i:2/c" || !o.readOnly || o.timeoutText != "5" || !o.waitForConnection || o.clientConfig != "f" ||
		!slices.Equal(o.command, []string{"ls", "-s", "/"}) {
		t.Errorf("%+v, %q", o, complaint)
	}
	o, complaint = parseOptions([]string{"-server"})
	if complaint != "Error: no argument found for option -server" || o.server != "localhost:2181" || o.command != nil {
		t.Errorf("%+v, %q", o, complaint)
	}
}

func TestSplitLine(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		if got := splitLine(line); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	f("")
	f("  \t ")
	f("ls /", "ls", "/")
	f("  ls   /  ", "ls", "/")
	f(`create "/i/with space" 'a "b" c'`, "create", "/i/with space", `a "b" c`)
	f(`set /a ""`, "set", "/a", "")
	f(`get "/open`, "get", "/open")
	f(`a"b c"`, `a"b`, `c"`)
}

func TestLastWord(t *testing.T) {
	f := func(line, word, quote string) {
		t.Helper()
		if w, q := lastWord(line); w != word || q != quote {
			t.Errorf("%q: got %q, %q", line, w, q)
		}
	}
	f("", "", "")
	f("l", "l", "")
	f("ls /a", "/a", "")
	f("ls ", "", "")
	f(`get "/a b`, "/a b", `"`)
	f(`get '/a b' x`, "x", "")
}
