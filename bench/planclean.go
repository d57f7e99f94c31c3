package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// removePatience bounds the removal of what a plan made.
const removePatience = 3 * time.Minute

// removeTree deletes root and everything below it.
func removeTree(ctx context.Context, addrs []string, root string) error {
	dial, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	c, err := client.Dial(dial, strings.Join(addrs, ","), client.Options{})
	if err != nil {
		return fmt.Errorf("bench: cleaning up: %w", err)
	}
	defer c.Close()
	if err := removeBelow(ctx, c, root); err != nil {
		return fmt.Errorf("bench: cleaning up: %w", err)
	}
	return nil
}

// deletesAtOnce is how many znodes one multi deletes.
const deletesAtOnce = 200

// removeBelow deletes path and its descendants: leaves many at a time, since they are most.
func removeBelow(ctx context.Context, c *client.Client, path string) error {
	names, err := c.GetChildren(ctx, path)
	if errors.Is(err, proto.ErrNoNode) {
		return nil
	}
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(names, deletesAtOnce) {
		ops := make([]client.Op, len(chunk))
		for i, name := range chunk {
			ops[i] = client.DeleteOp(path+"/"+name, client.AnyVersion)
		}
		_, err := c.Multi(ctx, ops...)
		switch {
		case err == nil:
		case errors.Is(err, proto.ErrNotEmpty) || errors.Is(err, proto.ErrNoNode):
			// One of them has children, or has ended with its session: nothing of the multi was done.
			for _, name := range chunk {
				if err := removeBelow(ctx, c, path+"/"+name); err != nil {
					return err
				}
			}
		default:
			return err
		}
	}
	if err := c.Delete(ctx, path, client.AnyVersion); err != nil && !errors.Is(err, proto.ErrNoNode) {
		return err
	}
	return nil
}
