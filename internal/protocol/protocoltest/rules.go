package protocoltest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// answer: an answered call has a response, times that fit together and the byte counts of the network.
func answer(tr *trial) error {
	for i := range 3 {
		read, written := tr.server.read.Load(), tr.server.written.Load()
		c := tr.do(tr.patience)
		if err := answered(c); err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		read, written = tr.server.read.Load()-read, tr.server.written.Load()-written
		if r := &c.Result; r.SentBytes != read || r.ReceivedBytes != written {
			return fmt.Errorf("request %d: %d bytes sent and %d received, the server counts %d and %d",
				i, r.SentBytes, r.ReceivedBytes, read, written)
		}
	}
	if n := tr.env.Connections.Opened.Load(); n != 1 {
		return fmt.Errorf("three requests opened %d connections, want 1", n)
	}
	return nil
}

// untilGone waits for the client to leave.
func untilGone(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// misbehave returns a server for each cause that a server can bring about at once.
func (s *Subject) misbehave() map[load.Cause]func(net.Conn) {
	return map[load.Cause]func(net.Conn){
		load.Reset:    func(c net.Conn) { s.Ask(c); reset(c) },
		load.Closed:   func(c net.Conn) { s.Ask(c) },
		load.Protocol: func(c net.Conn) { s.Ask(c); _, _ = io.WriteString(c, s.Garbage); untilGone(c) },
	}
}

// causes: what goes wrong has the cause that tells who is at fault.
func causes(tr *trial) error {
	for want, handle := range tr.s.misbehave() {
		tr.server.serve(handle)
		if err := failed(tr.do(tr.patience), want); err != nil {
			return fmt.Errorf("server that brings about %v: %w", want, err)
		}
	}
	tr.server.close()
	if err := failed(tr.do(tr.patience), load.Refused); err != nil {
		return fmt.Errorf("server that is down: %w", err)
	}
	return nil
}

// recovery: the request after a failure is answered.
func recovery(tr *trial) error {
	for cause, handle := range tr.s.misbehave() {
		tr.server.serve(handle)
		tr.do(tr.patience)
		tr.server.serve(tr.s.Answer)
		if err := answered(tr.do(tr.patience)); err != nil {
			return fmt.Errorf("after %v: %w", cause, err)
		}
		tr.vu.Close()
	}
	return nil
}

// deadline: a server that does not answer costs the deadline, not more.
func deadline(tr *trial) error {
	const timeout = 50 * time.Millisecond
	tr.server.serve(untilGone)
	begin := time.Now()
	c, err := tr.doInTime(timeout, func() {})
	if err != nil {
		return err
	}
	if err := failed(c, load.Timeout); err != nil {
		return err
	}
	if took := time.Since(begin); took < timeout {
		return fmt.Errorf("a timeout of %v took %v", timeout, took)
	}
	tr.server.serve(tr.s.Answer)
	return answered(tr.do(tr.patience))
}

// interrupt: a call that waits for its answer returns when its user is interrupted.
func interrupt(tr *trial) error {
	asked := make(chan struct{})
	tr.server.serve(func(c net.Conn) { tr.s.Ask(c); close(asked); untilGone(c) })
	c, err := tr.doInTime(time.Hour, func() { <-asked; tr.vu.Interrupt() })
	if err != nil {
		return err
	}
	return failed(c, load.Canceled)
}

// interruptedBefore: an interrupt that comes between two requests is not forgotten.
func interruptedBefore(tr *trial) error {
	if err := answered(tr.do(tr.patience)); err != nil {
		return err
	}
	tr.vu.Interrupt()
	return failed(tr.do(tr.patience), load.Canceled)
}

// sharing: users do not disturb each other. The race detector sees the rest.
func sharing(tr *trial) error {
	const users, requests = 8, 50
	errs := make([]error, users)
	var wg sync.WaitGroup
	for i := range users {
		wg.Go(func() {
			vu := tr.user(i)
			defer vu.Close()
			var c protocol.Call
			for range requests {
				tr.ask(&c, vu, tr.patience)
				if errs[i] = answered(&c); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// leaks: when the users and what they share are closed, nothing is left of them.
func leaks(tr *trial) error {
	goroutines, files := runtime.NumGoroutine(), descriptors()
	for _, handle := range tr.s.misbehave() {
		tr.server.serve(handle)
		tr.do(tr.patience)
	}
	tr.server.serve(tr.s.Answer)
	if err := answered(tr.do(tr.patience)); err != nil {
		return err
	}
	if err := tr.leave(); err != nil {
		return err
	}
	left := func() bool {
		return tr.server.live() > 0 || runtime.NumGoroutine() > goroutines || descriptors() > files
	}
	for begin := time.Now(); left(); runtime.Gosched() {
		if time.Since(begin) > tr.patience {
			return fmt.Errorf("%d connections, %d goroutines of %d and %d descriptors of %d are left",
				tr.server.live(), runtime.NumGoroutine(), goroutines, descriptors(), files)
		}
	}
	var closed uint64
	for i := range tr.env.Connections.Closed {
		closed += tr.env.Connections.Closed[i].Load()
	}
	if opened := tr.env.Connections.Opened.Load(); opened != closed {
		return fmt.Errorf("%d connections were counted as opened, %d as closed", opened, closed)
	}
	return nil
}

// descriptors is how many files the process has open; 0 where the system does not tell.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// allocations: a request on an open connection allocates nothing.
func allocations(tr *trial) error {
	if err := answered(tr.do(tr.patience)); err != nil {
		return err
	}
	if n := testing.AllocsPerRun(200, func() { tr.do(tr.patience) }); n > 0 {
		return fmt.Errorf("a request allocates %v times, want 0", n)
	}
	return answered(&tr.call)
}
