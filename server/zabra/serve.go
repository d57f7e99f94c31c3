package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/local"
	"zabra.dev/zabra/server/logging"
	"zabra.dev/zabra/server/script"
)

// stopTimeout bounds how long a stopping server waits for its connections, once it has answered what it could.
const stopTimeout = 10 * time.Second

// loadConfig reads the configuration that args name: a file, Java's standalone arguments, or none.
func loadConfig(args []string) (*config.Config, []config.Warning, error) {
	switch len(args) {
	case 0:
		return config.Default(os.Environ())
	case 1:
		return config.Load(args[0], os.Environ())
	}
	return config.FromArgs(args, os.Environ())
}

// exitWith tells err the way a Java server does (the headline on standard error, the reason in the log)
// and returns the exit code.
func exitWith(log *slog.Logger, err error) int {
	code := config.ExitCodeOf(err)
	if line := config.Headline(code); line != "" {
		log.Error(line, "err", err)
		fmt.Fprintln(os.Stderr, line)
	}
	fmt.Fprintln(os.Stderr, err)
	log.Error(fmt.Sprintf("Exiting JVM with code %d", code))
	return code
}

// runServer runs one server until a signal or an error that it cannot go on after.
func runServer(args []string) int {
	relaxTimers()
	local.WatchParent() // of zabra ensemble
	notifier := script.NewNotifier()
	notifier.Starting()
	cfg, warnings, err := loadConfig(args)
	log := newLogger(cfg)
	for _, w := range warnings {
		log.Log(context.Background(), w.Level, w.Message)
	}
	if err != nil {
		return exitWith(log, err)
	}
	for _, line := range cfg.InfoLines() {
		log.Info(line)
	}
	return serve(cfg, log, notifier)
}

func serve(cfg *config.Config, log *slog.Logger, notifier *script.Notifier) int {
	trail := newLifeTrail(cfg, log)
	defer trail.ended()
	if !cfg.IsDistributed() {
		log.Warn("Either no config or no quorum defined in config, running in standalone mode")
	}
	if _, err := cfg.Storage.PrepareDirs(); err != nil {
		return exitWith(log, err)
	}
	limitMemory(cfg.Process.HeapMaxBytes, log)
	opts := server.FromConfig(cfg)
	if err := opts.TakeLogins(cfg); err != nil {
		return exitWith(log, err)
	}
	if err := opts.ListenTLS(cfg, log); err != nil {
		return exitWith(log, err)
	}
	if len(opts.Listen) == 0 {
		return exitWith(log, &config.Error{ExitCode: config.ExitInvalidInvocation, Message: "no client port is configured, so nobody could connect",
			Key: "clientPort", Fix: "set clientPort, 2181 for example"})
	}
	if cfg.IsDistributed() {
		if err := server.EnsembleFromConfig(&opts, cfg, log); err != nil {
			return exitWith(log, err)
		}
		backupConfig(cfg, log)
		log.Info(fmt.Sprintf("Starting quorum peer, myid=%d", cfg.Ensemble.MyID))
	} else {
		log.Info("Starting server")
	}
	s, err := server.Start(opts, log)
	if err != nil {
		return exitWith(log, err)
	}
	// Only now: a signal during a long recovery ends the process at once, which loses nothing.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	code := config.ExitNormal
	beside, err := startEndpoints(cfg, s, log)
	if err != nil {
		code = exitWith(log, err)
		return stop(s, log, code)
	}
	trail.began()
	notifier.Ready()
	select {
	case sig := <-signals:
		log.Info("Shutting down", "signal", sig.String())
	case <-s.Failed():
		code = exitWith(log, s.Err())
	}
	// A second signal ends the process at once: what was acknowledged is on disk.
	signal.Stop(signals)
	beside.stop(log)
	return stop(s, log, code)
}

// backupConfig keeps a copy of a zoo.cfg with a member list that will move to a file of its own (quorum protocol, section 1.6).
func backupConfig(cfg *config.Config, log *slog.Logger) {
	if !cfg.Ensemble.ReconfigEnabled || cfg.Ensemble.DynamicPath != "" || cfg.Path == "" {
		return
	}
	if err := config.BackupStatic(cfg.Path); err != nil {
		log.Warn("No copy of the configuration file is kept, though the server will rewrite it", "err", err)
	}
}

// stop stops the server and returns the exit code.
func stop(s *server.Server, log *slog.Logger, code int) int {
	ctx, cancel := context.WithTimeout(context.Background(), s.FinishTime()+stopTimeout)
	defer cancel()
	if err := s.Stop(ctx); err != nil && code == config.ExitNormal {
		log.Warn("Stopping was not clean; acknowledged writes are on disk", "err", err)
	}
	if code == config.ExitNormal {
		log.Info("Exiting normally")
	}
	return code
}

// limitMemory makes the heap limit that is meant for Java, -Xmx or ZK_SERVER_HEAP, that of the collector. The tree
// and the buffers of the log are not part of it. A limit in Go's own variable comes first.
func limitMemory(bytes int64, log *slog.Logger) {
	if bytes == 0 || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(bytes)
	log.Info(fmt.Sprintf("The collector keeps its heap, of which the tree is no part, below %d MB (-Xmx or ZK_SERVER_HEAP)", bytes>>20))
}

// newLogger makes the log of the process; cfg is nil when it could not be read.
func newLogger(cfg *config.Config) *slog.Logger {
	sources := logging.LevelSources{Log4jProp: os.Getenv("ZOO_LOG4J_PROP"), LogLevel: os.Getenv("ZOO_LOG_LEVEL")}
	if cfg != nil {
		sources.RootLogger, sources.ConsoleThreshold = cfg.Process.RootLogger, cfg.Process.ConsoleThreshold
	}
	level, complaints := sources.Level()
	handler := logging.New(os.Stderr, level)
	if cfg != nil && cfg.Ensemble.HasMyID {
		handler.SetMyID(cfg.Ensemble.MyID)
	}
	log := slog.New(handler)
	for _, c := range complaints {
		log.Warn(c)
	}
	return log
}
