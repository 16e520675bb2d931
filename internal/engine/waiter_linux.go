package engine

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A timerfdWaiter waits for a timerfd through the netpoller. It is at most a tenth
// of a millisecond late, however busy the sockets are (DESIGN section 4).
type timerfdWaiter struct {
	file  *os.File
	raw   syscall.RawConn
	poked atomic.Bool

	// base and at name the same instant, by Go's clock and in nanoseconds of CLOCK_MONOTONIC.
	base time.Time
	at   int64

	expirations [8]byte
	until       int64 // what arm sets; 0 never fires
	arm, fire   func(fd uintptr)
	armed       error // of arm
}

// NewWaiter returns the most exact waiter of the platform. The engine closes it at the end of Run.
func NewWaiter() (Waiter, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timerfd: %w", err)
	}
	w := &timerfdWaiter{file: os.NewFile(uintptr(fd), "timerfd"), base: time.Now()}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return nil, errors.Join(fmt.Errorf("read monotonic clock: %w", err), w.Close())
	}
	w.at = now.Nano()
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("use timerfd: %w", err), w.Close())
	}
	w.arm = func(fd uintptr) { w.armed = settime(fd, w.until) }
	// A timer that is set to a time in the past fires at once. Should it fail, the loop wakes when it is due anyway.
	w.fire = func(fd uintptr) { _ = settime(fd, 1) }
	return w, nil
}

func settime(fd uintptr, at int64) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(at)}
	return unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil)
}

// Wait arms before it looks for a poke: a poke that it does not see fires the timer after it was armed.
func (w *timerfdWaiter) Wait(until time.Time) {
	w.until = 0
	if !until.IsZero() {
		w.until = max(1, w.at+int64(until.Sub(w.base)))
	}
	err := w.raw.Control(w.arm)
	if w.poked.Swap(false) {
		return
	}
	if err == nil && w.armed == nil {
		if _, err = w.file.Read(w.expirations[:]); err == nil {
			w.poked.Store(false)
			return
		}
	}
	// The timer cannot be used. The loop polls every millisecond with Go's timers, which are late but not wrong.
	time.Sleep(time.Millisecond)
}

func (w *timerfdWaiter) Poke() {
	if w.poked.Swap(true) {
		return
	}
	_ = w.raw.Control(w.fire) // fails only when the waiter is closed, and nobody waits
}

func (w *timerfdWaiter) Close() error { return w.file.Close() }
