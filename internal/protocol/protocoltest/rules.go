package protocoltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
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

// misbehave returns a server for each cause that a server can provoke without delay.
func (s *Subject) misbehave() map[load.Cause]func(net.Conn) {
	if s.datagrams {
		return nil // there is no connection to end, and what is no answer is not taken for one
	}
	return map[load.Cause]func(net.Conn){
		load.Reset:    func(c net.Conn) { s.Ask(c); reset(c) },
		load.Closed:   func(c net.Conn) { s.Ask(c) },
		load.Protocol: func(c net.Conn) { s.Ask(c); _, _ = io.WriteString(c, s.Garbage); untilGone(c) },
	}
}

// causes: each failure has its cause.
func causes(tr *trial) error {
	for want, handle := range tr.s.misbehave() {
		tr.server.serve(handle)
		if err := failed(tr.do(tr.patience), want); err != nil {
			return fmt.Errorf("server that provokes %v: %w", want, err)
		}
	}
	tr.server.close()
	if err := failed(tr.do(tr.patience), load.Refused); err != nil {
		return fmt.Errorf("server that is down: %w", err)
	}
	return nil
}

// guarded: a step dials neither an address that the guard refuses nor a name that
// resolves to one. Nobody has the address 192.0.2.1 (RFC 5737).
func guarded(tr *trial) error {
	const nobody = "192.0.2.1"
	tr.resolveBy(func(context.Context) ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr(nobody)}, nil })
	tr.byName()
	if err := failed(tr.do(tr.patience), load.Overload); err != nil {
		return fmt.Errorf("name that resolves to %s: %w", nobody, err)
	}
	tr.vu.Close()
	tr.step = tr.s.Step(tr.t, net.JoinHostPort(nobody, "9"))
	if err := failed(tr.do(tr.patience), load.Overload); err != nil {
		return fmt.Errorf("address %s: %w", nobody, err)
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

// rest is how long a connection is idle before its reuse must find what its
// server did meanwhile. A protocol need not test a connection that it used just before.
const rest = 10 * time.Millisecond

// idle: the request after the server has closed the idle connection is answered.
func idle(tr *trial) error {
	tr.server.serve(func(c net.Conn) { tr.s.Answer(&once{Conn: c}) })
	if err := answered(tr.do(tr.patience)); err != nil {
		return err
	}
	for begin := time.Now(); tr.server.live() > 0; runtime.Gosched() {
		if time.Since(begin) > tr.patience {
			return errors.New("the server that answers once does not close")
		}
	}
	time.Sleep(rest)
	tr.server.serve(tr.s.Answer)
	if err := answered(tr.do(tr.patience)); err != nil {
		return fmt.Errorf("the request after the server closed: %w", err)
	}
	if n := tr.env.Connections.Opened.Load(); n != 2 {
		return fmt.Errorf("%d connections were counted as opened, want 2", n)
	}
	return nil
}

// once ends the requests of a connection when one was answered.
type once struct {
	net.Conn
	answer []byte
}

func (o *once) Write(p []byte) (int, error) {
	o.answer = append(o.answer, p...)
	return o.Conn.Write(p)
}

func (o *once) Read(p []byte) (int, error) {
	if len(o.answer) > 0 {
		return 0, io.EOF
	}
	return o.Conn.Read(p)
}

// unasked: a server repeats its answer and then answers no more. A step that takes
// the repetition for the next answer is one answer behind for the rest of the
// connection. It may ask over another connection, or fail.
func unasked(tr *trial) error {
	repeated := make(chan struct{})
	tr.server.serve(func(c net.Conn) {
		o := &once{Conn: c}
		tr.s.Answer(o)
		_, _ = c.Write(o.answer)
		close(repeated)
		untilGone(c)
	})
	if err := answered(tr.do(tr.patience)); err != nil {
		return err
	}
	<-repeated
	time.Sleep(rest)
	tr.server.serve(tr.s.Answer)
	c := tr.do(min(tr.patience, time.Second))
	if c.Result.Cause == load.None && tr.env.Connections.Opened.Load() == 1 {
		return errors.New("the answer came from a server that had stopped to answer")
	}
	return nil
}

// deadline: a server that does not answer, and a name that does not resolve, cost the deadline and not more.
func deadline(tr *trial) error {
	const timeout = 50 * time.Millisecond
	asked := make(chan struct{})
	tr.resolveBy(tr.stuck(asked))
	byAddress := tr.step
	tr.byName()
	c, err := tr.doInTime(timeout, func() {})
	if err != nil {
		return fmt.Errorf("name that does not resolve: %w", err)
	}
	if err := failed(c, load.Timeout); err != nil {
		return fmt.Errorf("name that does not resolve: %w", err)
	}
	tr.vu.Close()
	tr.step = byAddress
	tr.server.serve(untilGone)
	begin := time.Now()
	if c, err = tr.doInTime(timeout, func() {}); err != nil {
		return err
	}
	if err := failed(c, load.Timeout); err != nil {
		return err
	}
	if took := time.Since(begin); took < timeout {
		return fmt.Errorf("a timeout of %v took %v", timeout, took)
	}
	tr.server.serve(tr.s.Answer)
	if tr.s.Pushes { // a message that does not come says nothing of the stream, which stays
		tr.vu.Close()
	}
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

// interruptedDial: a call that opens its connection returns when its user is interrupted.
func interruptedDial(tr *trial) error {
	asked := make(chan struct{})
	tr.resolveBy(tr.stuck(asked))
	tr.byName()
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

// lending: a call serves one user after another, and the state of a user is in its
// sessions only.
func lending(tr *trial) error {
	other := tr.user(2)
	defer other.Close()
	for _, vu := range []*protocol.VU{tr.vu, other} {
		tr.ask(&tr.call, vu, tr.patience)
		if err := answered(&tr.call); err != nil {
			return fmt.Errorf("user %d: %w", vu.ID, err)
		}
	}
	tr.vu.Interrupt()
	var fresh protocol.Call
	for _, c := range []*protocol.Call{&tr.call, &fresh} {
		tr.ask(c, tr.vu, tr.patience)
		if err := failed(c, load.Canceled); err != nil {
			return fmt.Errorf("interrupted user: %w", err)
		}
		tr.ask(c, other, tr.patience)
		if err := answered(c); err != nil {
			return fmt.Errorf("user beside an interrupted one: %w", err)
		}
	}
	return nil
}

// sharing: users do not disturb each other. The race detector finds shared state.
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

// leaks: after users and shared resources are closed, no connection, goroutine or descriptor is left.
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

// descriptors returns how many files the process has open; 0 if that is not known.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// allocations: a request on an open connection allocates nothing but what the library below the protocol does.
func allocations(tr *trial) error {
	if err := answered(tr.do(tr.patience)); err != nil {
		return err
	}
	if n := testing.AllocsPerRun(200, func() { tr.do(tr.patience) }); n > tr.s.Allocations {
		return fmt.Errorf("a request allocates %v times, want %v", n, tr.s.Allocations)
	}
	return answered(&tr.call)
}
