package script

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"zabra.dev/zabra/server/config"
)

// environment is an ordered set of variables.
type environment struct {
	names  []string
	values map[string]string
}

func newEnvironment(pairs []string) *environment {
	e := &environment{values: map[string]string{}}
	for _, pair := range pairs {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			e.set(name, value)
		}
	}
	return e
}

func (e *environment) get(name string) string { return e.values[name] }

func (e *environment) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) pairs() []string {
	pairs := make([]string, len(e.names))
	for i, n := range e.names {
		pairs[i] = n + "=" + e.values[n]
	}
	return pairs
}

// configure does the work of zkEnv.sh: it finds the configuration directory, sources the two files in it,
// and returns the arguments without --config.
func (p *program) configure(args []string) []string {
	if len(args) > 1 && args[0] == "--config" {
		p.confDir, args = args[1], args[2:]
		p.named = true
	} else if p.confDir = p.env.get("ZOOCFGDIR"); p.confDir == "" {
		p.confDir = p.binDir + "/../conf"
		if _, err := os.Stat(p.confDir); err != nil {
			p.confDir = p.binDir + "/../etc/zookeeper"
		}
	} else {
		p.named = true
	}
	p.env.set("ZOOCFGDIR", p.confDir)
	p.source(p.confDir + "/zookeeper-env.sh")
	p.confDir = p.env.get("ZOOCFGDIR")
	name := p.env.get("ZOOCFG")
	switch {
	case name == "":
		p.cfg = p.confDir + "/zoo.cfg"
	case strings.HasPrefix(name, "/"):
		p.cfg, p.named = name, true
	default:
		p.cfg, p.named = p.confDir+"/"+name, true
	}
	p.source(p.confDir + "/java.env")
	return args
}

// chooseConfig makes file, the second argument of the script, the configuration: a name in the
// configuration directory, or a path.
func (p *program) chooseConfig(file string) {
	if file == "" {
		return
	}
	p.named = true
	if p.cfg = file; !strings.Contains(file, "/") {
		p.cfg = p.confDir + "/" + file
	}
}

// source runs a shell file and takes over the variables it leaves, exported or not. Without a shell, plain
// assignments are understood.
func (p *program) source(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		if !os.IsNotExist(err) {
			p.hint("%v", err)
		}
		return
	}
	for _, shell := range []string{"bash", "sh"} {
		found, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		cmd := exec.Command(found, "-c", `set -a; . "$1" 1>&2; exec env -0`, ServerName, path)
		cmd.Env, cmd.Stderr = p.env.pairs(), p.Stderr
		out, err := cmd.Output()
		if err != nil {
			p.hint("%s: %v", path, err)
			return
		}
		for _, pair := range bytes.Split(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
			name, value, ok := strings.Cut(string(pair), "=")
			switch name {
			case "_", "SHLVL", "PWD", "OLDPWD", "BASH_FUNC_which%%":
				continue
			}
			if ok {
				p.env.set(name, value)
			}
		}
		return
	}
	for _, line := range strings.Split(string(text), "\n") {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		if name, value, ok := strings.Cut(line, "="); ok && plainName(name) {
			p.env.set(name, strings.Join(config.SplitWords(value), " "))
		}
	}
}

func plainName(s string) bool {
	for i, r := range s {
		if !(r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || i > 0 && r >= '0' && r <= '9') {
			return false
		}
	}
	return s != ""
}

// missing reports whether there is no zoo.cfg.
func (p *program) missing() bool {
	_, err := os.Stat(p.cfg)
	return os.IsNotExist(err)
}

// properties reads zoo.cfg. Without one, and none asked for, it is config.DefaultText. A file that cannot
// be read is complained of and taken for empty, as by the grep of the original.
func (p *program) properties() *config.Properties {
	text, err := os.ReadFile(p.cfg)
	if err != nil {
		if os.IsNotExist(err) && !p.named {
			text = []byte(config.DefaultText)
		} else {
			p.hint("%v", err)
		}
	}
	props, err := config.ParseProperties(text)
	if err != nil {
		p.hint("%s: %v", p.cfg, err)
		return &config.Properties{}
	}
	return props
}

func value(props *config.Properties, key string) string {
	v, _ := props.Get(key)
	return v
}

// logDir is where the output of a started server goes.
func (p *program) logDir() string {
	if dir := p.env.get("ZOO_LOG_DIR"); dir != "" {
		return dir
	}
	return p.binDir + "/../logs"
}

// outputPath is the file of that output.
func (p *program) outputPath() string {
	host := p.env.get("HOSTNAME")
	if host == "" {
		host, _ = os.Hostname() // without a name the file has none in it either
	}
	return fmt.Sprintf("%s/zookeeper-%s-server-%s.out", p.logDir(), p.env.get("USER"), host)
}

// pidPath is the file that holds the process id of a started server.
func (p *program) pidPath(props *config.Properties) string {
	if path := p.env.get("ZOOPIDFILE"); path != "" {
		return path
	}
	return value(props, "dataDir") + "/" + config.PIDFile
}

func exists(parts ...string) bool {
	_, err := os.Stat(filepath.Join(parts...))
	return err == nil
}

// initialized reports whether dir was made a data directory, by a server or by zkServer-initialize.sh.
func initialized(dir string) bool {
	return dir != "" && (exists(dir, config.JavaDir) || exists(dir, config.ZabraDir))
}
