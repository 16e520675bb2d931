package app

import (
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
}

func newTarget(c *target.Config, s *config.Safety, shards int) *liveTarget {
	rate := s.MaxRequestRate.PerSecond()
	if own := c.Limits.RequestRate.PerSecond(); own > 0 {
		rate = min(rate, own)
	}
	connections := 0
	if most := c.Limits.Connections; most > 0 {
		connections = max(1, most/max(1, shards))
	}
	return &liveTarget{
		name:     c.Name.S,
		dialer:   wire.NewDialer(wire.DialerOptions{Guard: *s.Guard(), MaxConnections: connections}),
		limiter:  target.NewLimiter(rate, shards),
		distress: target.NewDistress(s.BackOff),
	}
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
	return fmt.Sprintf("%s %+v %+v", c.URL.S, c.Limits, d.Safety)
}
