package wire

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A waiter is an epoll instance that is itself waited for by Go's.
type waiter struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	ask    func(fd uintptr) bool // onReady, bound once
	events [128]unix.EpollEvent
	list   [128]int32
	n      int
	failed error
}

var errNoPlace = errors.New("the descriptor is too large for a poller")

func (w *waiter) open() (err error) {
	if w.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("create epoll: %w", err)
	}
	if err = unix.SetNonblock(w.fd, true); err != nil { // so that os waits for it as for a socket
		return errors.Join(err, unix.Close(w.fd))
	}
	w.file = os.NewFile(uintptr(w.fd), "epoll")
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return errors.Join(fmt.Errorf("use epoll: %w", err), w.file.Close())
	}
	w.ask = w.onReady
	return nil
}

// Close makes wait fail.
func (w *waiter) Close() error { return w.file.Close() }

// onReady asks for events, which are there for as long as there is something to read.
func (w *waiter) onReady(uintptr) bool {
	w.n, w.failed = unix.EpollWait(w.fd, w.events[:], 0)
	if errors.Is(w.failed, unix.EINTR) {
		w.n, w.failed = 0, nil
	}
	return w.n > 0 || w.failed != nil
}

// wait returns the descriptors that can be read, valid until the next call; none after the instant of wake.
func (w *waiter) wait() ([]int32, error) {
	w.n, w.failed = 0, nil
	err := w.raw.Read(w.ask)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, w.file.SetReadDeadline(time.Time{})
	}
	if err = errors.Join(err, w.failed); err != nil {
		return nil, err
	}
	for i := range w.n {
		w.list[i] = w.events[i].Fd
	}
	return w.list[:w.n], nil
}

// wake makes wait return at an instant, in place of the one that was set.
func (w *waiter) wake(at time.Time) { _ = w.file.SetReadDeadline(at) } // it fails when the poller is closed

func (w *waiter) add(fd int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)} //nolint:gosec // a descriptor is small
	return unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, fd, &e)
}

func (w *waiter) remove(fd int) {
	_ = unix.EpollCtl(w.fd, unix.EPOLL_CTL_DEL, fd, nil) // it fails where it is not there
}
