package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/perfd/perfd/internal/config"
)

// manySteps is from how many steps on most memory is what they are counted in, which lives as
// long as they do, and manyStepsGC by how many per cent the heap grows then until it is
// collected. Go's default of 100 would double that memory for garbage of which there is little:
// windows, verdicts and reloads make it, requests hardly any. A small heap keeps the default,
// as its collections would be many more.
const (
	manySteps   = 2000
	manyStepsGC = 35

	// reloadGC is the same during a reload, which for a moment takes what would be
	// collected several times over.
	reloadGC = 60
)

// A collection sets when the heap of a daemon is collected, where the environment does not say it by GOGC.
type collection struct {
	mu      sync.Mutex // held with each setting, so that none of another document comes later
	was     int        // per cent before the first that was set; 0 for none
	many    bool       // the document has many steps
	adjusts bool       // the per cent follows what is alive
	watches bool       // somebody looks after the next collection
	now     int        // per cent that was set by what is alive
}

// loosen lets the heap of a daemon with many steps grow more until restore is called.
func (c *collection) loosen() (restore func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.many {
		return func() {}
	}
	debug.SetGCPercent(reloadGC)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.many {
			debug.SetGCPercent(manyStepsGC)
		}
	}
}

// bound sets when the heap of a daemon with a document is collected, in place of what was set for the one before.
func (c *collection) bound(doc *config.Document) {
	if os.Getenv("GOGC") != "" {
		return
	}
	steps, garbage := 0, false
	for _, s := range doc.Scenarios {
		steps += len(s.Program.Steps)
		for i := range s.Program.Steps {
			garbage = garbage || s.Program.Steps[i].Garbage
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	adjusted := c.adjusts
	c.many = steps >= manySteps
	c.adjusts = garbage && !c.many
	switch {
	case c.many:
		c.set(manyStepsGC)
	case !c.adjusts:
		c.restore()
	case !adjusted:
		c.now = 0
		c.adjust()
		if !c.watches {
			c.watch()
		}
	}
}

const (
	// roomForGarbage is how much a heap may grow at least until it is collected, in bytes, where requests leave
	// garbage. What is alive in a daemon with few steps is 10 to 20 MB, and a request of gRPC leaves 10 KB: by Go's
	// default a core that makes 40,000 of them a second would collect the heap 30 times a second, for a fifth of its time.
	roomForGarbage = 64 << 20
	// mostGC bounds the per cent that this comes to.
	mostGC = 1000
)

// percentFor returns by how many per cent a heap grows until it is collected, of which so many bytes are alive.
func percentFor(alive uint64) int {
	return int(min(mostGC, max(100, 100*roomForGarbage/max(1, alive)))) //nolint:gosec // it is at most mostGC
}

// adjust sets the per cent by what is alive. Each setting stops all goroutines for a moment, so that small differences are let be.
// The caller holds mu.
func (c *collection) adjust() {
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(alive)
	to := percentFor(alive[0].Value.Uint64())
	if 4*to > 5*c.now || 5*to < 4*c.now {
		c.now = to
		c.set(to)
	}
}

// watch adjusts after the next collection, and so on, as long as the document asks for it. The caller holds mu.
func (c *collection) watch() {
	type canary struct{ _ [16]byte }
	c.watches = true
	runtime.SetFinalizer(&canary{}, func(*canary) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.watches = c.adjusts; c.adjusts {
			c.adjust()
			c.watch()
		}
	})
}

// stop ends what the last document has set.
func (c *collection) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.many, c.adjusts = false, false
	c.restore()
}

// set sets the per cent. The caller holds mu.
func (c *collection) set(percent int) {
	if was := debug.SetGCPercent(percent); c.was == 0 {
		c.was = was
	}
}

// restore sets what was set before the first document that has it otherwise. The caller holds mu.
func (c *collection) restore() {
	if c.was != 0 {
		debug.SetGCPercent(c.was)
	}
}
