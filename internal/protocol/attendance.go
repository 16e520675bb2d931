package protocol

import (
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/wire"
)

// An Attendance has somebody else attend to a session while its VU does nothing: a poller that many sessions share, as long as
// nothing is to be done but to take what comes, or else a goroutine.
type Attendance struct {
	stream *wire.Stream
	attend func() (quiet bool)
	look   func(read bool) (due int64, ok bool)
	watch  wire.Watch
	back   chan struct{} // of capacity 1: the goroutine gives the session back
	kick   chan struct{} // of capacity 1: ends a pause
	gone   atomic.Bool   // the attendant has nothing to attend to any more
	lent   bool          // the VU's

	mu     sync.Mutex   // of whoever has the session looks at it, while it is lent to the poller
	poller *wire.Poller // nil for none
	polled bool         // it is lent to the poller
	taking bool         // the VU waits for the goroutine
}

// NewAttendance returns the attendance of a session with a stream.
//
// Attend, which is called in a goroutine, owns the session until it returns; it returns soon once the stream is recalled, or
// interrupted. Where Watches, it may also return that the stream is quiet: that only what comes is to be taken.
//
// Look takes what has come, after it was read or where it was read before, and waits for nothing. It returns whether
// that was all, and when it is to be called though nothing comes, as ns since zero, 0 for never. Else attend goes on.
func NewAttendance(s *wire.Stream, p *wire.Poller, attend func() (quiet bool), look func(read bool) (due int64, ok bool)) *Attendance {
	a := &Attendance{stream: s, poller: p, attend: attend, look: look, back: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
	a.watch.Ready = a.ready
	return a
}

// Lent reports whether an attendant owns the session, which nobody else may look at then.
func (a *Attendance) Lent() bool { return a.lent }

// Ended reports whether the attendant of a session that is lent has nothing to attend to any more.
func (a *Attendance) Ended() bool { return a.lent && a.gone.Load() }

// Lend gives the session, which is not lent, to its attendant.
func (a *Attendance) Lend() {
	a.lent = true
	a.gone.Store(false)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.Watches() || !a.poll() {
		go a.run()
	}
}

// Watches reports whether the stream can be lent to the poller. It is asked by whoever owns the session.
func (a *Attendance) Watches() bool { return a.poller != nil && a.stream.Watchable() }

// poll lends the session to the poller, unless there is more to do than to take what comes. The caller holds mu.
func (a *Attendance) poll() bool {
	due, ok := a.look(false)
	if !ok {
		return false
	}
	if a.poller.Watch(a.stream, &a.watch) != nil { // the system has no room for it, and may not have for the next
		a.poller = nil
		return false
	}
	a.polled = true
	a.due(due)
	return true
}

// due has look called at a time since zero, 0 for never.
func (a *Attendance) due(at int64) {
	var t time.Time
	if at > 0 {
		t = time.Now().Add(time.Duration(at - a.stream.Now()))
	}
	a.poller.SetDue(&a.watch, t)
}

// ready looks at the session for the poller.
func (a *Attendance) ready() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.polled {
		return
	}
	due, ok := a.look(true)
	if ok {
		a.due(due)
		return
	}
	a.polled = false
	a.poller.Unwatch(&a.watch)
	go a.run()
}

func (a *Attendance) run() {
	for a.attend() {
		if a.settled() {
			return
		}
	}
	a.gone.Store(true)
	a.back <- struct{}{}
}

// settled lends the session of a goroutine that has found it quiet to the poller, and reports whether that has it now.
func (a *Attendance) settled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.taking && a.Watches() && a.poll()
}

// Take takes the session back.
func (a *Attendance) Take() {
	if !a.lent {
		return
	}
	a.mu.Lock()
	polled := a.polled
	if polled {
		a.polled = false
		a.poller.Unwatch(&a.watch)
	}
	a.taking = !polled
	a.mu.Unlock()
	if !polled {
		a.stream.Recall()
		a.Nudge()
		<-a.back
		a.stream.Recalled()
		a.taking = false
	}
	a.lent = false
	select {
	case <-a.kick:
	default:
	}
}

// Interrupt ends a pause, and says that there is nothing to attend to any more. It may be called from any goroutine.
func (a *Attendance) Interrupt() {
	a.gone.Store(true)
	a.Nudge()
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

// pollers are what the sessions of a run are lent to, which share them by their VUs' numbers.
type pollers []*wire.Poller

// Close closes the pollers.
func (p pollers) Close() error {
	for _, one := range p {
		_ = one.Close() // nobody is left to whom it would matter
	}
	return nil
}

// Poller returns what waits for the streams of a VU while nobody uses them, nil where the system has none.
func (e *Env) Poller(vu int) *wire.Poller {
	shared, err := e.Shared(Key{Kind: "stream", Name: "pollers"}, func() (io.Closer, error) {
		var list pollers
		for range runtime.GOMAXPROCS(0) {
			p, err := wire.NewPoller()
			if err != nil {
				break
			}
			list = append(list, p)
		}
		return list, nil
	})
	list, ok := shared.(pollers)
	if err != nil || !ok || len(list) == 0 {
		return nil
	}
	return list[uint(vu)%uint(len(list))] //nolint:gosec // which one does not matter
}
