package main

import (
	"log/slog"

	"zabra.dev/zabra/server/audit"
	"zabra.dev/zabra/server/config"
)

// lifeTrail tells the audit log of the server's own start and end (operations, section 6.9).
type lifeTrail struct {
	log     *audit.Log // nil: no audit log
	started bool
}

func newLifeTrail(cfg *config.Config, log *slog.Logger) *lifeTrail {
	if !cfg.Auth.AuditEnabled {
		log.Info("ZooKeeper audit is disabled.")
		return &lifeTrail{}
	}
	log.Info("ZooKeeper audit is enabled.")
	return &lifeTrail{log: audit.New(log)}
}

// began: clients can connect.
func (t *lifeTrail) began() {
	t.started = true
	t.write(audit.ServerStart, audit.Success)
}

// ended: the server stops, for whatever reason, or did not start.
func (t *lifeTrail) ended() {
	if t.started {
		t.write(audit.ServerStop, audit.Invoked)
	} else {
		t.write(audit.ServerStart, audit.Failure)
	}
}

func (t *lifeTrail) write(operation, result string) {
	if t.log != nil {
		t.log.Server(operation, result)
	}
}
