package logging

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
)

// Levels of log4j and logback that log/slog lacks.
const (
	LevelTrace = slog.LevelDebug - 4
	LevelOff   = slog.Level(math.MaxInt32)
)

// ParseLevel reads a level by its log4j name, in any case.
func ParseLevel(name string) (level slog.Level, ok bool) {
	switch strings.ToUpper(strings.TrimSpace(name)) {
	case "ALL", "TRACE":
		return LevelTrace, true
	case "DEBUG":
		return slog.LevelDebug, true
	case "INFO":
		return slog.LevelInfo, true
	case "WARN", "WARNING":
		return slog.LevelWarn, true
	case "ERROR", "FATAL":
		return slog.LevelError, true
	case "OFF":
		return LevelOff, true
	}
	return slog.LevelInfo, false
}

// LevelSources are the places where operators and images set the level. Empty ones count as unset.
type LevelSources struct {
	RootLogger       string // zookeeper.root.logger: LEVEL[,APPENDER...]
	ConsoleThreshold string // zookeeper.console.threshold: LEVEL
	Log4jProp        string // environment ZOO_LOG4J_PROP: LEVEL[,APPENDER...]
	LogLevel         string // environment ZOO_LOG_LEVEL of some images: LEVEL
}

// Level returns the level in force: that of RootLogger, else Log4jProp, else LogLevel, else INFO, but no
// lower than ConsoleThreshold. complaints has one sentence for each value that is no level.
func (s LevelSources) Level() (level slog.Level, complaints []string) {
	level = slog.LevelInfo
	parse := func(name, value string) (slog.Level, bool) {
		word, _, _ := strings.Cut(value, ",")
		l, ok := ParseLevel(word)
		if !ok && strings.TrimSpace(word) != "" {
			complaints = append(complaints, fmt.Sprintf("%s=%s names no log level; write TRACE, DEBUG, INFO, WARN, ERROR or OFF", name, value))
		}
		return l, ok
	}
	for _, source := range []struct{ name, value string }{
		{"zookeeper.root.logger", s.RootLogger}, {"ZOO_LOG4J_PROP", s.Log4jProp}, {"ZOO_LOG_LEVEL", s.LogLevel},
	} {
		if l, ok := parse(source.name, source.value); ok {
			level = l
			break
		}
	}
	if threshold, ok := parse("zookeeper.console.threshold", s.ConsoleThreshold); ok {
		level = max(level, threshold)
	}
	return level, complaints
}
