package protocol

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/wire"
)

// An Attendance lends a session to a goroutine while its VU does nothing.
type Attendance struct {
	stream *wire.Stream
	attend func()
	lent   bool
	back   chan struct{} // of capacity 1: the attendant gives the session back
	kick   chan struct{} // of capacity 1: ends a pause
	gone   atomic.Bool   // the attendant has nothing to attend to any more
}

// NewAttendance returns the attendance of a session with a stream. Attend, which is called in a goroutine, owns the
// session until it returns; it returns soon once the stream is recalled, or interrupted.
func NewAttendance(s *wire.Stream, attend func()) *Attendance {
	return &Attendance{stream: s, attend: attend, back: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
}

// Lent reports whether an attendant owns the session, which nobody else may look at then.
func (a *Attendance) Lent() bool { return a.lent }

// Ended reports whether the attendant of a session that is lent has nothing to attend to any more.
func (a *Attendance) Ended() bool { return a.lent && a.gone.Load() }

// Lend gives the session, which is not lent, to its attendant.
func (a *Attendance) Lend() {
	a.lent = true
	a.gone.Store(false)
	go a.run()
}

func (a *Attendance) run() {
	defer func() {
		a.gone.Store(true)
		a.back <- struct{}{}
	}()
	a.attend()
}

// Take takes the session back.
func (a *Attendance) Take() {
	if !a.lent {
		return
	}
	a.stream.Recall()
	a.Nudge()
	<-a.back
	a.stream.Recalled()
	a.lent = false
	select {
	case <-a.kick:
	default:
	}
}

// Nudge ends a pause that is under way, or the next. It may be called from any goroutine.
func (a *Attendance) Nudge() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// Pause waits for a time in ns, at most until the deadline, unless Nudge ends it.
func (a *Attendance) Pause(ns, deadline int64) error {
	if deadline != wire.Forever && a.stream.Now()+ns >= deadline {
		ns = max(1, deadline-a.stream.Now())
	}
	timer := time.NewTimer(time.Duration(ns))
	defer timer.Stop()
	select {
	case <-timer.C:
		if deadline != wire.Forever && a.stream.Now() >= deadline {
			return os.ErrDeadlineExceeded
		}
		return nil
	case <-a.kick:
		return wire.ErrRecalled
	}
}
