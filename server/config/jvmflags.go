package config

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// jvmVariables hold words for the Java virtual machine, weakest first.
var jvmVariables = []string{"SERVER_JVMFLAGS", "JVMFLAGS"}

// SplitWords splits a variable such as JVMFLAGS at blanks and line breaks. Single and double quotes group,
// and are removed; an unclosed quote reaches to the end. The slice is given.
func SplitWords(s string) []string {
	var words []string
	var word strings.Builder
	started := false
	var quote rune
	for _, r := range s {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, started = r, true
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if started {
				words = append(words, word.String())
				word.Reset()
			}
			started = false
		default:
			word.WriteRune(r)
			started = true
		}
	}
	if started {
		words = append(words, word.String())
	}
	return words
}

func getenv(env []string, name string) (value string, ok bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if v, found := strings.CutPrefix(env[i], name+"="); found {
			return v, true
		}
	}
	return "", false
}

// properties reads the words of SERVER_JVMFLAGS and JVMFLAGS: -D properties become settings, -Xmx the heap
// limit, a JMX exporter agent a metrics port; the rest concerns a Java process and gets one warning.
func (b *builder) properties() {
	var ignored []string
	if text, ok := getenv(b.src.Env, "ZK_SERVER_HEAP"); ok {
		if mb, err := strconv.ParseInt(trim(text), 10, 32); err == nil && mb > 0 {
			b.cfg.Process.HeapMaxBytes = mb << 20
		}
	}
	for _, variable := range jvmVariables {
		text, _ := getenv(b.src.Env, variable)
		for _, word := range SplitWords(text) {
			definition, ok := strings.CutPrefix(word, "-D")
			switch {
			case ok:
				name, value, _ := strings.Cut(definition, "=")
				if !b.property(variable, trim(name), trim(value)) {
					ignored = append(ignored, word)
				}
			case strings.HasPrefix(word, "-Xmx"):
				n, ok := parseHeap(word[len("-Xmx"):])
				if !ok {
					ignored = append(ignored, word)
					continue
				}
				b.cfg.Process.HeapMaxBytes = n
			case strings.HasPrefix(word, "-javaagent:"):
				b.javaAgent(word)
			default:
				ignored = append(ignored, word)
			}
		}
	}
	if len(ignored) > 0 {
		b.warn(slog.LevelWarn, "JVMFLAGS", "options for a Java process have no effect: "+strings.Join(ignored, " "))
	}
}

// property files one -D property and reports whether it concerns ZooKeeper.
func (b *builder) property(variable, name, value string) bool {
	k := lookup(byProperty, name)
	if k == nil {
		short, ours := strings.CutPrefix(name, prefix)
		if !ours {
			return false
		}
		if f := FindKey(short); f != nil && f.fixed {
			b.warn(slog.LevelWarn, name, fmt.Sprintf("-D%s has no effect, the server takes %s from zoo.cfg only", name, short))
		} else {
			b.warn(slog.LevelWarn, name, "unknown property "+name+" has no effect"+suggestion(short))
		}
		return true
	}
	key := name
	if name != k.Name {
		key = k.canonical(strings.TrimPrefix(name, prefix))
	}
	b.put(Setting{Key: key, Value: value, Origin: FromProperty, Source: variable})
	return true
}

// javaAgent recognises the JMX exporter, -javaagent:PATH=[HOST:]PORT:FILE, that images use for metrics.
func (b *builder) javaAgent(word string) {
	_, args, _ := strings.Cut(word, "=")
	fields := strings.Split(args, ":")
	if strings.Contains(word, "jmx_prometheus") && len(fields) >= 2 {
		for _, f := range fields[:len(fields)-1] {
			if port, err := strconv.ParseUint(f, 10, 16); err == nil && port > 0 {
				b.cfg.Metrics.JavaAgentPort = int(port)
				b.warn(slog.LevelWarn, "JVMFLAGS", fmt.Sprintf("a JMX exporter was asked for: its port %d serves this server's own /metrics", port))
				return
			}
		}
	}
	b.warn(slog.LevelWarn, "JVMFLAGS", word+" has no effect: there is no Java process to load an agent into")
}

// parseHeap reads the size of -Xmx: a number with an optional suffix k, m, g or t.
func parseHeap(s string) (bytes int64, ok bool) {
	shift := 0
	if s != "" {
		if i := strings.IndexByte("kmgt", s[len(s)-1]|0x20); i >= 0 {
			shift, s = 10*(i+1), s[:len(s)-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || n > (1<<62)>>shift {
		return 0, false
	}
	return n << shift, true
}
