package cli

import (
	"sort"
	"strconv"
	"strings"
)

// A flag is an option of a command: "-s", or "-v VALUE".
type flag struct {
	name     string
	hasValue bool
	help     string
}

// A flagSet is a command's options. They may stand anywhere among its arguments, short ones
// may be joined ("-sw", "-v5"), "--" ends them: the rules of Apache commons-cli, which the
// original uses and whose messages scripts may know.
type flagSet struct {
	flags []flag
	// exclusive: at most one of the flags may be given.
	exclusive bool
	// required: one of them must be given; only with exclusive.
	required bool
}

// parsed is a command line taken apart.
type parsed struct {
	values map[string]string // first value of each flag given; empty for those without one
	args   []string          // the others, without the command
}

func (p *parsed) has(name string) bool {
	_, ok := p.values[name]
	return ok
}

func (fs *flagSet) find(name string) *flag {
	for i := range fs.flags {
		if fs.flags[i].name == name {
			return &fs.flags[i]
		}
	}
	return nil
}

// cliError makes an error in commons-cli's words: the original prints the exception's name, too.
func cliError(exception, message string) error {
	return &commandError{text: "org.apache.commons.cli." + exception + "Exception: " + message, exitCode: 1}
}

func unrecognized(token string) error {
	return cliError("UnrecognizedOption", "Unrecognized option: "+token)
}

// parse takes args, the words behind the command, apart.
func (fs *flagSet) parse(args []string) (*parsed, error) {
	p := &parsed{values: map[string]string{}}
	var open *flag // waits for its value
	selected := ""
	begin := func(f *flag) error {
		if open != nil {
			return cliError("MissingArgument", "Missing argument for option: "+open.name)
		}
		if fs.exclusive {
			if selected != "" && selected != f.name {
				return cliError("AlreadySelected", "The option '"+f.name+
					"' was specified but an option from this group has already been selected: '"+selected+"'")
			}
			selected = f.name
		}
		if f.hasValue {
			open = f
		} else {
			p.values[f.name] = ""
		}
		return nil
	}
	give := func(value string) {
		if !p.has(open.name) {
			p.values[open.name] = value
		}
		open = nil
	}
	for i, token := range args {
		switch {
		case token == "--":
			if open != nil {
				return nil, cliError("MissingArgument", "Missing argument for option: "+open.name)
			}
			p.args = append(p.args, args[i+1:]...)
			return p, fs.checkRequired(selected)
		case open != nil && !fs.isOption(token):
			give(token)
		case len(token) < 2 || token[0] != '-':
			p.args = append(p.args, token)
		default:
			name, value, assigned := strings.Cut(strings.TrimLeft(token, "-"), "=")
			f := fs.find(name)
			switch {
			case strings.HasPrefix(token, "--"):
				return nil, unrecognized(token) // there are no long options
			case f != nil && !assigned:
				if err := begin(f); err != nil {
					return nil, err
				}
			case f != nil && f.hasValue && len(name) == 1:
				if err := begin(f); err != nil {
					return nil, err
				}
				give(value)
			case assigned:
				return nil, unrecognized(token)
			default:
				if err := fs.joined(token, begin, give); err != nil {
					return nil, err
				}
			}
		}
	}
	if open != nil {
		return nil, cliError("MissingArgument", "Missing argument for option: "+open.name)
	}
	return p, fs.checkRequired(selected)
}

// joined takes "-sw" or "-v5" apart.
func (fs *flagSet) joined(token string, begin func(*flag) error, give func(string)) error {
	for i := 1; i < len(token); i++ {
		f := fs.find(token[i : i+1])
		if f == nil {
			return unrecognized(token)
		}
		if err := begin(f); err != nil {
			return err
		}
		if f.hasValue && i+1 < len(token) {
			give(token[i+1:])
			return nil
		}
	}
	return nil
}

// isOption tells whether token can be no value of the option before it.
func (fs *flagSet) isOption(token string) bool {
	if len(token) < 2 || token[0] != '-' {
		return false
	}
	if _, err := strconv.ParseFloat(token, 64); err == nil {
		return false
	}
	name, _, _ := strings.Cut(token[1:], "=")
	return fs.find(name) != nil || name != "" && fs.find(name[:1]) != nil
}

func (fs *flagSet) checkRequired(selected string) error {
	if !fs.required || selected != "" {
		return nil
	}
	var names []string
	for _, f := range fs.flags {
		names = append(names, "-"+f.name+" "+f.help)
	}
	return cliError("MissingOption", "Missing required option: ["+strings.Join(names, ", ")+"]")
}

// table returns the flags with their help, one a line, as the original prints them below the
// usage of get and set.
func (fs *flagSet) table() string {
	rows := make([]string, len(fs.flags))
	width := 0
	for i, f := range fs.flags {
		rows[i] = " -" + f.name
		if f.hasValue {
			rows[i] += " <arg>"
		}
		width = max(width, len(rows[i]))
	}
	for i, f := range fs.flags {
		rows[i] += strings.Repeat(" ", width-len(rows[i])+3) + f.help + "\n"
	}
	sort.Strings(rows)
	return strings.Join(rows, "")
}
