package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/snapshot"
	"zabra.dev/zabra/snapshot/javadata"
	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// tool is what the verbs on data have in common: flags, configuration, a log and a context that a
// signal ends.
type tool struct {
	flags *flag.FlagSet
	cfg   *config.Config
	opts  server.Options
	log   *slog.Logger
	ctx   context.Context
}

func newTool(name, args string) *tool {
	t := &tool{flags: flag.NewFlagSet("zabra "+name, flag.ContinueOnError)}
	t.flags.Usage = func() {
		fmt.Fprintf(t.flags.Output(), "Usage: zabra %s %s\n", name, args)
		t.flags.PrintDefaults()
	}
	return t
}

// errUsage marks bad arguments: the usage has been printed.
var errUsage = errors.New("zabra: bad arguments")

// parse reads the flags and checks the number of arguments behind them.
func (t *tool) parse(args []string, least, most int) ([]string, error) {
	if err := t.flags.Parse(args); err != nil {
		return nil, errUsage
	}
	rest := t.flags.Args()
	if len(rest) < least || len(rest) > most {
		t.flags.Usage()
		return nil, errUsage
	}
	return rest, nil
}

// load reads the configuration: args holds its path, or nothing for the default.
func (t *tool) load(args []string) (stop func(), err error) {
	cfg, _, err := loadConfig(args)
	if err != nil {
		return nil, err
	}
	t.cfg, t.opts, t.log = cfg, server.FromConfig(cfg), newLogger(cfg)
	var cancel context.CancelFunc
	t.ctx, cancel = signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	return cancel, nil
}

// finish tells the error of a verb on standard error and gives its exit code.
func finish(err error) int {
	if err == nil {
		return config.ExitNormal
	}
	if !errors.Is(err, errUsage) {
		fmt.Fprintln(os.Stderr, "zabra:", err)
		return config.ExitCodeOf(err)
	}
	return config.ExitInvalidInvocation
}

// runImport is the verb import.
func runImport(args []string) int { return finish(importData(args)) }

func importData(args []string) error {
	t := newTool("import", "[-log DIR] [-trust-empty] [-allow-damage] DIR [CFG]")
	logDir := t.flags.String("log", "", "dataLogDir of the Java server, if it is not DIR")
	trustEmpty := t.flags.Bool("trust-empty", false, "replay logs without any snapshot, as after release 3.4 (zookeeper.snapshot.trust.empty)")
	allowDamage := t.flags.Bool("allow-damage", false, "go on over missing transactions and differing digests, as Java does without a word")
	rest, err := t.parse(args, 1, 2)
	if err != nil {
		return err
	}
	stop, err := t.load(rest[1:])
	if err != nil {
		return err
	}
	defer stop()
	// The directory that holds version-2 is meant; the folder itself is what people type as well.
	dir := rest[0]
	if filepath.Base(filepath.Clean(dir)) == javadata.VersionDir {
		dir = filepath.Dir(filepath.Clean(dir))
	}
	began := time.Now()
	lines := snapshot.Progress{What: "import", Unit: "nodes and txns", Every: 5 * time.Second}
	e, report, err := javadata.Load(vfs.Default, dir, *logDir, javadata.LoadOptions{
		Engine: t.opts.Engine, TrustEmpty: *trustEmpty, AllowDamage: *allowDamage,
		Progress: func(file string, nodes, txns int64) {
			if line, due := lines.Line(nodes+txns, time.Since(began)); due {
				fmt.Printf("%s, in %s\n", line, file)
			}
		},
	})
	if err != nil {
		return err
	}
	defer e.Close()
	if report.Snapshot == "" && report.Txns == 0 {
		return fmt.Errorf("%s holds no snapshots or logs of a Java server below %s", dir, javadata.VersionDir)
	}
	if err := t.cfg.Storage.PrepareForImport(); err != nil {
		return err
	}
	if err := server.WriteImage(t.ctx, t.opts.DataDir, e, t.log, time.Now().UnixMilli()); err != nil {
		return err
	}
	if err := t.cfg.Storage.FinishImport(); err != nil {
		return err
	}
	printImport(os.Stdout, report)
	fmt.Printf("Imported %d nodes and %d sessions at zxid 0x%x, digest %d, into %s in %d ms\n",
		e.NodeCount(), e.SessionCount(), e.LastZxid(), int64(e.Digest()), t.cfg.Storage.DataDir, time.Since(began).Milliseconds())
	return nil
}

// printImport tells what an operator should know of the files that were read.
func printImport(w io.Writer, r *javadata.Report) {
	if r.Snapshot != "" {
		fmt.Fprintf(w, "Snapshot %s: %d nodes\n", r.Snapshot, r.Nodes)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "Skipped snapshot %s: %v\n", s.Name, s.Err)
	}
	fmt.Fprintf(w, "Logs: %d files, %d transactions replayed\n", len(r.Logs), r.Txns)
	for _, h := range r.Holes {
		fmt.Fprintf(w, "Transactions between 0x%x and 0x%x are missing, in %s\n", h.After, h.Next, h.File)
	}
	if r.DigestsMismatched > 0 {
		fmt.Fprintf(w, "%d transactions led to another digest than Java's, the first is 0x%x\n", r.DigestsMismatched, r.FirstMismatch)
	}
	for _, path := range r.UnknownACLs {
		fmt.Fprintf(w, "No ACL is known for %s: only the superuser gets at it\n", path)
	}
}

// runExport is the verb export.
func runExport(args []string) int { return finish(exportData(args)) }

func exportData(args []string) error {
	t := newTool("export", "[-compress gz|snappy] [-parts digest+zxid|digest|zxid|none] DIR [CFG]")
	compress := t.flags.String("compress", "", "gz or snappy; empty: plain")
	parts := t.flags.String("parts", "digest+zxid", "what stands behind the nodes: digest+zxid for 3.9 and later, digest for 3.6 to 3.8, none for all (no digest check)")
	rest, err := t.parse(args, 1, 2)
	if err != nil {
		return err
	}
	kinds := map[string]javadata.Parts{
		"digest+zxid": javadata.PartsDigestAndZxid, "digest": javadata.PartsDigest, "zxid": javadata.PartsZxid, "none": javadata.PartsNone,
	}
	kind, ok := kinds[*parts]
	if !ok {
		return fmt.Errorf("-parts %s is unknown: use digest+zxid, digest, zxid or none", *parts)
	}
	if *compress != "" && *compress != "gz" && *compress != "snappy" {
		return fmt.Errorf("-compress %s is unknown: use gz or snappy", *compress)
	}
	stop, err := t.load(rest[1:])
	if err != nil {
		return err
	}
	defer stop()
	if err := t.needData(); err != nil {
		return err
	}
	e, err := server.ReadData(t.ctx, t.opts, t.log)
	if err != nil {
		return err
	}
	defer e.Close()
	dir := filepath.Join(rest[0], javadata.VersionDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := javadata.ExportFile(e, vfs.Default, dir, javadata.ExportOptions{Compression: javadata.ParseCompression(*compress), Parts: kind})
	if err != nil {
		return err
	}
	if epoch := e.LastZxid() >> 32; epoch > 0 {
		// A member of an ensemble refuses data of an epoch that it does not know of.
		for _, name := range []string{javadata.AcceptedEpochFile, javadata.CurrentEpochFile} {
			if err := javadata.WriteEpoch(vfs.Default, dir, name, epoch); err != nil {
				return err
			}
		}
	}
	fmt.Printf("Exported %d nodes and %d sessions at zxid 0x%x, digest %d, to %s\n",
		e.NodeCount(), e.SessionCount(), e.LastZxid(), int64(e.Digest()), file)
	return nil
}

// needData refuses a directory without data of ours, which opening would create.
func (t *tool) needData() error {
	contents, err := t.cfg.Storage.Inspect()
	if err != nil {
		return err
	}
	if contents != config.ContentsZabra {
		return fmt.Errorf("%s holds no data of Zabra", t.cfg.Storage.DataDir)
	}
	return nil
}

// runVerify is the verb verify.
func runVerify(args []string) int { return finish(verifyData(args)) }

func verifyData(args []string) error {
	t := newTool("verify", "[CFG]")
	rest, err := t.parse(args, 0, 1)
	if err != nil {
		return err
	}
	stop, err := t.load(rest)
	if err != nil {
		return err
	}
	defer stop()
	if err := t.needData(); err != nil {
		return err
	}
	found, err := server.Verify(t.ctx, t.opts, t.log)
	for _, line := range found {
		fmt.Println(line)
	}
	if err == nil {
		fmt.Println("All is well")
	}
	return err
}

// runDump is the verb dump.
func runDump(args []string) int { return finish(dump(args)) }

func dump(args []string) error {
	t := newTool("dump", "FILE|DIR")
	rest, err := t.parse(args, 1, 1)
	if err != nil {
		return err
	}
	path := rest[0]
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return dumpDir(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	name := filepath.Base(path)
	switch {
	case strings.HasPrefix(name, "log."):
		return javadata.DumpLog(os.Stdout, f, path, javadata.Options{})
	case strings.HasPrefix(name, "snapshot."):
		r, err := javadata.Decompress(f, javadata.CompressionOf(name))
		if err != nil {
			return err
		}
		return javadata.DumpSnapshot(os.Stdout, r, path, javadata.Options{})
	}
	return fmt.Errorf("%s is neither log.HEX nor snapshot.HEX of a Java server; for Zabra's own data give the folder", path)
}

// dumpDir prints an image folder or a log folder of Zabra, or of a data directory both.
func dumpDir(dir string) error {
	ours := filepath.Join(dir, config.ZabraDir)
	found := false
	for _, image := range []string{dir, filepath.Join(dir, "image"), filepath.Join(dir, config.ImageDir, "image"), filepath.Join(ours, config.ImageDir, "image")} {
		im, err := snapshot.OpenImage(vfs.Default, image, snapshot.Options{})
		if errors.Is(err, snapshot.ErrNoImage) {
			continue
		}
		if err != nil {
			return err
		}
		found = true
		if err := errors.Join(im.Dump(context.Background(), os.Stdout, engine.AppendImageText), im.Close()); err != nil {
			return err
		}
		break
	}
	for _, log := range []string{dir, filepath.Join(dir, config.WALDir), filepath.Join(ours, config.WALDir)} {
		if segments, err := filepath.Glob(filepath.Join(log, "*.wal")); err != nil || len(segments) == 0 {
			continue
		}
		return wal.Walk(walfs.OS{}, log, dumpRecord)
	}
	if !found {
		return fmt.Errorf("%s is neither a data directory of Zabra nor the folder of an image or of a log in one", dir)
	}
	return nil
}

// dumpRecord prints one place of the log, the transaction in it decoded.
func dumpRecord(e wal.Entry) error {
	if e.Err != nil {
		fmt.Printf("%s @%d damaged: %v\n", e.Segment, e.Offset, e.Err)
		return nil
	}
	txn, err := proto.ProposalTxn(e.Payload)
	if err != nil {
		fmt.Printf("%s @%d zxid 0x%x: %v\n", e.Segment, e.Offset, e.Zxid, err)
		return nil
	}
	fmt.Printf("%s @%d %s\n", e.Segment, e.Offset, javadata.AppendTxnText(nil, txn))
	return nil
}
