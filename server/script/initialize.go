package script

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"zabra.dev/zabra/server/config"
)

// initialize is zkServer-initialize.sh: it makes empty data directories, myid, and the file that lets an
// empty server vote.
func (p *program) initialize(args []string) int {
	id, force := "", false
	for len(args) > 0 {
		name, text, joined := strings.Cut(args[0], "=")
		switch {
		case args[0] == "-h" || args[0] == "--help":
			return p.initializeUsage()
		case args[0] == "--force":
			force, args = true, args[1:]
			continue
		case name != "--configfile" && name != "--myid" || joined && text == "" || !joined && len(args) < 2:
			p.say("Unknown option: %s", args[0])
			return p.initializeUsage()
		case !joined:
			text, args = args[1], args[1:]
		}
		args = args[1:]
		if name == "--configfile" {
			p.cfg = text
		} else {
			id = text
		}
	}
	if p.missing() {
		p.say("Unable to find config file at %s", p.cfg)
		return 1
	}
	p.named = true
	props := p.properties()
	dirs := []struct{ what, path string }{{"data", value(props, "dataDir")}}
	if dirs[0].path == "" {
		p.say("Unable to determine dataDir from %s", p.cfg)
		return 1
	}
	if log := value(props, "dataLogDir"); log != "" && filepath.Clean(log) != filepath.Clean(dirs[0].path) {
		dirs = append(dirs, struct{ what, path string }{"txnlog", log})
	}
	if _, err := strconv.ParseInt(id, 10, 64); err != nil && id != "" {
		p.say("myid %s is not a number", id)
		return 1
	}
	if proc, err := readPID(p.pidPath(props)); err == nil && proc.running && proc.foreign == "" {
		p.say("ZooKeeper is running as process %d, stop it first", proc.pid)
		return 1
	}
	if force {
		p.say("Force enabled, data/txnlog directories will be re-initialized")
	} else {
		for _, d := range dirs {
			if initialized(d.path) {
				p.say("ZooKeeper %s directory already exists at %s (or use --force to force re-initialization)", d.what, d.path)
				return 1
			}
		}
	}
	for _, d := range dirs {
		if err := emptyDir(d.path); err != nil {
			p.complain("%s: %v", InitializeName, err)
			return 1
		}
	}
	data := dirs[0].path
	if id != "" {
		p.say("Using myid of %s", id)
		if err := config.WriteFileAtomic(filepath.Join(data, config.MyIDFile), []byte(id+"\n"), 0o644); err != nil {
			p.complain("%s: %v", InitializeName, err)
			return 1
		}
	} else {
		p.say("No myid provided, be sure to specify it in %s/myid if using non-standalone", data)
	}
	if err := config.WriteFileAtomic(filepath.Join(data, config.InitializeFile), nil, 0o644); err != nil {
		p.complain("%s: %v", InitializeName, err)
		return 1
	}
	return 0
}

// emptyDir removes what servers keep in dir, the data of a Java server included, and leaves the sign of an
// initialised directory. Other files stay.
func emptyDir(dir string) error {
	var errs []error
	for _, name := range []string{config.MyIDFile, config.JavaDir, config.ZabraDir} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	errs = append(errs, os.MkdirAll(filepath.Join(dir, config.ZabraDir), 0o755))
	return errors.Join(errs...)
}

func (p *program) initializeUsage() int {
	p.say("usage: %s <parameters>", p.Args[0])
	p.say("  Optional parameters:")
	p.say("     -h                                                    Display this message")
	p.say("     --help                                                Display this message")
	p.say("     --configfile=%-40s ZooKeeper config file", p.cfg)
	p.say("     --myid=#                                              Set the myid to be used, if any (1-255)")
	p.say("     --force                                               Force creation of the data/txnlog dirs")
	return 1
}
