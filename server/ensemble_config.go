package server

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/election"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/server/config"
)

// EnsembleFromConfig makes o the options of the member of an ensemble that c describes. It reads the key and trust
// stores, and the JAAS file, for the connections between servers, if they are to be used. The error is a *config.Error where the
// configuration is at fault.
func EnsembleFromConfig(o *Options, c *config.Config, log *slog.Logger) error {
	e, err := ensembleFromConfig(c, log)
	if err != nil {
		return err
	}
	o.Ensemble = e
	o.ServerID = c.Ensemble.MyID
	return nil
}

// ensembleFromConfig gives the options of a member of an ensemble.
func ensembleFromConfig(c *config.Config, log *slog.Logger) (*EnsembleOptions, error) {
	// The member list travels between servers in this very text.
	members, err := quorum.ParseConfig([]byte(c.Ensemble.Quorum.String()))
	if err != nil {
		return nil, fmt.Errorf("server: member list: %w", err)
	}
	var lastSeen *quorum.Config
	if c.Ensemble.Next != nil {
		if lastSeen, err = quorum.ParseConfig([]byte(c.Ensemble.Next.String())); err != nil {
			return nil, fmt.Errorf("server: member list of %s: %w", c.Path+config.NextSuffix, err)
		}
	}
	if members.Member(c.Ensemble.MyID) == nil {
		return nil, &config.Error{ExitCode: config.ExitUnexpected, Message: fmt.Sprintf("My id %d not in the peer list", c.Ensemble.MyID),
			Key: "myid", Value: fmt.Sprint(c.Ensemble.MyID), Fix: "correct the number in " + c.Storage.MyIDPath() + ", or add the server.N line of this server"}
	}
	sockets, err := peerSockets(c, log)
	if err != nil {
		return nil, err
	}
	auth, err := peerAuth(c, log)
	if err != nil {
		return nil, err
	}
	initialized, err := c.Storage.TakeInitialize()
	if err != nil {
		return nil, err
	}
	if initialized {
		log.Info("Initialize file found, an empty database will not block voting participation")
	}
	clientAddr := ""
	if c.Client.Plain.Enabled {
		clientAddr = c.Client.Plain.String()
		if c.Client.Plain.Host == "" {
			clientAddr = "0.0.0.0" + clientAddr
		}
	}
	checkOracle(c, members, log.Warn)
	return &EnsembleOptions{
		Self: c.Ensemble.MyID, Config: members, LastSeen: lastSeen, ClientAddr: clientAddr,
		ReconfigEnabled: c.Ensemble.ReconfigEnabled, StandaloneEnabled: c.Ensemble.StandaloneEnabled,
		MultiAddress: c.Ensemble.MultiAddressEnabled, ConfigPath: c.Path,
		EpochDir:       filepath.Join(c.Storage.DataDir, config.ZabraDir),
		Timing:         zab.Timing{Tick: c.Sessions.TickTime, InitLimit: c.Ensemble.InitLimitTicks, SyncLimit: c.Ensemble.SyncLimitTicks},
		CommitLogCount: c.Storage.CommitLogCount, SnapSizeFactor: c.Storage.SnapshotSizeFactor,
		EmptyHasNoSay: !initialized && !c.Storage.DBAutocreate,
		Network:       &tcpNetwork{self: c.Ensemble.MyID, cfg: c, sockets: sockets, auth: auth},
		EpochWaitMax:  c.Ensemble.LeaderEpochWaitMax, SnapSyncsMax: c.Ensemble.ConcurrentSnapSyncsMax, DiffSyncsMax: c.Ensemble.ConcurrentDiffSyncsMax,
		ObserverMasterPort: c.Ensemble.ObserverMasterPort, ReconnectDelayMax: c.Ensemble.ObserverReconnectDelay,
		ConnectLimit: c.Sessions.TickTime * time.Duration(c.Ensemble.ConnectLimitTicks),
		ForceSnap:    c.Ensemble.ForceSnapshotSync, LeaderServes: c.Ensemble.LeaderServes || len(members.Members) == 1,
		LocalSessions: c.Sessions.LocalEnabled, LocalUpgrading: c.Sessions.LocalUpgradingEnabled, ReadOnlyMode: c.Sessions.ReadOnlyEnabled,
		OraclePath: c.Ensemble.OraclePath,
		Election: election.Options{
			ReconfigEnabled:         c.Ensemble.ReconfigEnabled,
			MinNotificationInterval: c.Ensemble.NotificationIntervalMin, MaxNotificationInterval: c.Ensemble.NotificationIntervalMax,
			ObserverDelayMax: c.Ensemble.ObserverElectionDelay,
		},
	}, nil
}
