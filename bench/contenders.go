package bench

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"zabra.dev/zabra/bench/rig"
)

// contenders are the flags that say which servers are measured side by side.
type contenders struct {
	zabra, javaClassPath, javaFlags string
	java                            bool
	dir                             string
}

func (c *contenders) add(fs *flag.FlagSet) {
	fs.StringVar(&c.zabra, "zabra", "", "`BINARY` of Zabra (default: this one)")
	fs.BoolVar(&c.java, "java", false, "measure Java's server beside it")
	fs.StringVar(&c.javaClassPath, "java-classpath", "", "class `PATH` of the Java server (default: Debian's package zookeeper)")
	fs.StringVar(&c.javaFlags, "java-flags", "-Xmx1000m", "`FLAGS` of the virtual machine; upstream's zkServer.sh gives -Xmx1000m")
	fs.StringVar(&c.dir, "dir", "", "`FOLDER` for the servers' data (default: a temporary one, removed at the end)")
}

// kinds returns them in the order of a round.
func (c *contenders) kinds() ([]rig.Kind, error) {
	var all []rig.Kind
	if c.java {
		k, err := rig.Java(c.javaClassPath, strings.Fields(c.javaFlags))
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	if c.zabra == "" {
		var err error
		if c.zabra, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
	}
	return append(all, rig.Zabra(c.zabra)), nil
}

// makeDir returns the folder for data, and what removes it if it is a temporary one.
func (c *contenders) makeDir() (dir string, remove func(), err error) {
	if c.dir != "" {
		return c.dir, func() {}, nil
	}
	dir, err = os.MkdirTemp("", "zabra-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("bench: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil // a temporary folder that stays is no failure
}

// A Setting is under what a result came about.
type Setting struct {
	Started   time.Time `json:"started"`
	Machine   Machine   `json:"machine"`
	JavaFlags string    `json:"java_flags,omitempty"`
	Servers   int       `json:"servers"` // in each ensemble
}

// begin notes the setting of a measurement that starts now, and gives what it needs. remove is called at its end.
func (c *contenders) begin(servers int) (s Setting, kinds []rig.Kind, dir string, remove func(), err error) {
	if kinds, err = c.kinds(); err != nil {
		return s, nil, "", nil, err
	}
	if dir, remove, err = c.makeDir(); err != nil {
		return s, nil, "", nil, err
	}
	s = Setting{Started: time.Now(), Machine: machine(), Servers: servers}
	if c.java {
		s.JavaFlags = c.javaFlags
	}
	return s, kinds, dir, remove, nil
}

// end notes what else went on meanwhile.
func (s *Setting) end() { s.Machine.LoadAverage = machine().LoadAverage }
