package history

import (
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A Config is the history block: how much is kept. Zero fields mean the defaults.
type Config struct {
	MaxSize block.Size     `yaml:"max_size" doc:"Most bytes that windows, samples, events and findings take on disk, the oldest go first (default 2GiB)."`
	MaxAge  block.Duration `yaml:"max_age" doc:"Age from which on they are removed (default 400d)."`
}

const (
	defaultMaxBytes = 2 << 30
	defaultMaxAge   = 400 * 24 * time.Hour
	minMaxSize      = 16 << 20
	minMaxAge       = time.Hour
)

// Validate checks what was written.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("max_size"); n != nil && c.MaxSize < minMaxSize {
		errs.Add(n.Pos, n.Path, "must be at least 16MiB, got %d bytes", c.MaxSize)
	}
	if n := at.Get("max_age"); n != nil && c.MaxAge < block.Duration(minMaxAge) {
		errs.Add(n.Pos, n.Path, "must be at least %s, got %s", block.Duration(minMaxAge), c.MaxAge)
	}
}
