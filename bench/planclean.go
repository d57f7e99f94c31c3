package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// removeTree deletes root and everything below it.
func removeTree(ctx context.Context, addrs []string, root string) error {
	c, err := client.Dial(ctx, strings.Join(addrs, ","), client.Options{FailFast: true})
	if err != nil {
		return fmt.Errorf("bench: cleaning up: %w", err)
	}
	defer c.Close()
	if err := removeBelow(ctx, c, root); err != nil {
		return fmt.Errorf("bench: cleaning up below %s: %w", root, err)
	}
	return nil
}

// deletesAtOnce is how many requests of a removal are under way.
const deletesAtOnce = 64

func removeBelow(ctx context.Context, c *client.Client, path string) error {
	names, err := c.GetChildren(ctx, path)
	if errors.Is(err, proto.ErrNoNode) {
		return nil
	}
	if err != nil {
		return err
	}
	// Leaves, which are most, are deleted many at a time; what has children is descended into one by one.
	full := make([]bool, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	room := make(chan struct{}, deletesAtOnce)
	for i, name := range names {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			err := c.Delete(ctx, path+"/"+name, client.AnyVersion)
			if full[i] = errors.Is(err, proto.ErrNotEmpty); !full[i] && !errors.Is(err, proto.ErrNoNode) {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, name := range names {
		if full[i] {
			if err := removeBelow(ctx, c, path+"/"+name); err != nil {
				return err
			}
		}
	}
	if err := c.Delete(ctx, path, client.AnyVersion); err != nil && !errors.Is(err, proto.ErrNoNode) {
		return err
	}
	return nil
}
