package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"zabra.dev/zabra/bench/responder"
)

// runResponder answers requests until it is interrupted.
func runResponder(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o responder.Options
	fs := flag.NewFlagSet("zabra bench responder", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.Address, "addr", "127.0.0.1:2181", "`HOST:PORT` to listen on")
	fs.IntVar(&o.DataBytes, "data", 1024, "`BYTES` of data in the reply to a getData")
	fs.IntVar(&o.NumLoops, "loops", 0, "`COUNT` of event loops (default: as the server)")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	r, err := responder.Start(o)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on %s\n", r.Addr())
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.Stop(stop); err != nil {
		return fmt.Errorf("responder: %w", err)
	}
	return nil
}
