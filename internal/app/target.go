package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/target"
	"github.com/perfd/perfd/internal/wire"
)

// A liveTarget is what all scenarios on one target share. It outlives a reload
// that leaves the target and safety as they were.
type liveTarget struct {
	name     string
	said     string // what of the configuration made it
	dialer   *wire.Dialer
	limiter  *target.Limiter
	distress *target.Distress

	watch  *target.Watch
	settle time.Duration      // after a change of the release
	known  string             // the release that the store knows; the tick's own
	leave  context.CancelFunc // ends the watch
	left   chan struct{}      // closed when it has ended
}

func (a *App) newTarget(c *target.Config, s *config.Safety) *liveTarget {
	shards := a.opts.Shards
	rate := s.MaxRequestRate.PerSecond()
	if own := c.Limits.RequestRate.PerSecond(); own > 0 {
		rate = min(rate, own)
	}
	connections := 0
	if most := c.Limits.Connections; most > 0 {
		connections = max(1, most/max(1, shards))
	}
	t := &liveTarget{
		name:     c.Name.S,
		dialer:   wire.NewDialer(wire.DialerOptions{Guard: *s.Guard(), MaxConnections: connections}),
		limiter:  target.NewLimiter(rate, shards),
		distress: target.NewDistress(s.BackOff),
	}
	t.watch = a.newWatch(c, t)
	return t
}

// clockedLimiter is a target's limiter on the clock of one engine: limiters are
// shared by engines whose zeros differ.
type clockedLimiter struct {
	l      *target.Limiter
	offset time.Duration // the engine's zero since the limiters' own
}

// Take takes a token and returns how long its user must wait.
func (c clockedLimiter) Take(now time.Duration) time.Duration { return c.l.Take(now + c.offset) }

// targetSaid is equal where a target's configuration and what safety says of it are.
func targetSaid(d *config.Document, c *target.Config) string {
	said, err := json.Marshal(d.TargetNode(c.Name.S))
	if err != nil {
		panic(fmt.Sprintf("app: a target's block: %v", err)) // nodes are scalars, lists and mappings
	}
	return fmt.Sprintf("%s %+v", said, d.Safety)
}
