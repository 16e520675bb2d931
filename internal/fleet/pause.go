package fleet

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/state"
)

// pauseKey is the key of the state that holds a pause.
const pauseKey = "pause"

// A pause stops all load, until an instant or until it is taken back. It
// survives a restart.
type pause struct {
	store   *state.Store
	changed func(paused bool) // called without the lock

	mu     sync.Mutex
	on     bool        // by request
	byFile bool        // by the kill switch
	until  time.Time   // zero for no end
	since  time.Time   // begin of the last pause
	ended  time.Time   // end of the last pause
	timer  *time.Timer // ends a pause with an end
}

// pauseState is what the state holds.
type pauseState struct {
	Until time.Time `json:"until,omitzero"`
}

// restore takes up the pause that an earlier process began.
func (p *pause) restore() {
	var s pauseState
	if !p.store.Get(pauseKey, &s) {
		return
	}
	if s.Until.IsZero() {
		p.begin(time.Time{})
	} else if time.Now().Before(s.Until) {
		p.begin(s.Until)
	}
}

func (p *pause) begin(until time.Time) {
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if !p.on && !p.byFile {
		p.since = time.Now()
	}
	p.on, p.until = true, until
	if !until.IsZero() {
		p.timer = time.AfterFunc(time.Until(until), func() { _ = p.resume() }) // what the disk says then is logged by who reads it next
	}
	p.mu.Unlock()
	p.changed(true)
}

// set begins a pause, for a time or, with 0, without end.
func (p *pause) set(d time.Duration) error {
	var s pauseState
	if d > 0 {
		s.Until = time.Now().Add(d).Round(0)
	}
	p.begin(s.Until)
	if err := p.store.Set(pauseKey, s); err != nil {
		return fmt.Errorf("paused, but a restart would not know: %w", err)
	}
	return nil
}

func (p *pause) resume() error {
	p.mu.Lock()
	was := p.on && !p.byFile
	p.on, p.until = false, time.Time{}
	if was {
		p.ended = time.Now()
	}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.mu.Unlock()
	if was {
		p.changed(false)
	}
	if err := p.store.Set(pauseKey, nil); err != nil {
		return fmt.Errorf("resumed, but a restart would not know: %w", err)
	}
	return nil
}

// state reports whether load is paused, and until when.
func (p *pause) state() (on bool, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.on || p.byFile, p.until
}

// look follows the kill switch: load is paused while its file exists.
func (p *pause) look(file string) {
	exists := false
	if file != "" {
		_, err := os.Stat(file)
		exists = err == nil
	}
	p.mu.Lock()
	change := exists != p.byFile && !p.on
	if change && exists {
		p.since = time.Now()
	} else if change {
		p.ended = time.Now()
	}
	p.byFile = exists
	p.mu.Unlock()
	if change {
		p.changed(exists)
	}
}

// during reports whether load was paused at any time between two instants.
func (p *pause) during(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.since.IsZero() && p.since.Before(to) && (p.on || p.byFile || p.ended.After(from))
}

// close stops the timer.
func (p *pause) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
}
