package hosts

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// restart restarts the servers one after the other, the leader last.
func (p *program) restart(ctx context.Context) error {
	all := p.states(ctx)
	if what := p.missing(all); what != "" {
		return fmt.Errorf("nothing was restarted: %s", what)
	}
	done := make([]bool, len(p.hosts))
	for range p.hosts {
		next := pick(all, done)
		h := p.hosts[next]
		fmt.Fprintf(p.stdout, "%s (%s): restart\n", h, all[next].mode)
		done[next] = true
		err := ctx.Err()
		if err == nil {
			if r := p.zkServer(ctx, h, "restart"); r.err != nil || r.code != 0 {
				p.tell(h, r)
				err = fmt.Errorf("%s did not restart", h)
			}
		}
		if err == nil {
			all, err = p.settle(ctx)
		}
		if err != nil {
			if left := p.left(done); left != "" {
				err = fmt.Errorf("%w; these are as they were: %s", err, left)
			}
			return err
		}
		fmt.Fprintf(p.stdout, "%s: %s, all serve\n", h, all[next].mode)
	}
	return nil
}

// pick chooses the server to be restarted next: the leader only when it is the last.
func pick(all []state, done []bool) int {
	leader := -1
	for i := range all {
		switch {
		case done[i]:
		case !all[i].leads():
			return i
		case leader < 0:
			leader = i
		}
	}
	return leader
}

// left names the servers that have not been restarted.
func (p *program) left(done []bool) string {
	var names []string
	for i, d := range done {
		if !d {
			names = append(names, p.hosts[i].String())
		}
	}
	return strings.Join(names, ", ")
}

// settle waits until all servers serve and one leads.
func (p *program) settle(ctx context.Context) ([]state, error) {
	for until := time.Now().Add(p.wait); ; {
		all := p.states(ctx)
		what := p.missing(all)
		if what == "" {
			return all, nil
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("after %v: %s", p.wait, what)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(p.pollTime):
		}
	}
}
