package protocoltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A trial is a subject, its server and one virtual user.
type trial struct {
	t        testing.TB
	s        Subject
	patience time.Duration // bound on whatever should happen at once

	server *server
	step   protocol.Step
	env    *protocol.Env
	vu     *protocol.VU
	call   protocol.Call

	resolve atomic.Pointer[lookup] // what names resolve to
	over    chan struct{}          // closed when the trial gives up a call that does not return

	mu     sync.Mutex
	shared map[protocol.Key]io.Closer
}

// A lookup resolves a name.
type lookup func(ctx context.Context) ([]netip.Addr, error)

// loopback is the address that names resolve to unless a rule has others.
func loopback(context.Context) ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}

func newTrial(t testing.TB, s Subject, patience time.Duration) *trial {
	tr := &trial{
		t: t, s: s, patience: patience,
		over: make(chan struct{}), shared: make(map[protocol.Key]io.Closer),
	}
	if s.datagrams {
		tr.server = listenPackets(t, s.Answer)
	} else {
		tr.server = listen(t, s.Greet, s.Answer)
	}
	tr.step = s.Step(t, tr.server.addr())
	tr.resolveBy(loopback)
	tr.env = newEnv(wire.DialerOptions{Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		return (*tr.resolve.Load())(ctx)
	}}, tr.share)
	tr.vu = tr.user(1)
	return tr
}

// resolveBy changes what names resolve to.
func (tr *trial) resolveBy(l lookup) { tr.resolve.Store(&l) }

// stuck is a lookup that ends with its context only. It closes asked when it begins.
func (tr *trial) stuck(asked chan struct{}) lookup {
	begin := sync.OnceFunc(func() { close(asked) })
	return func(ctx context.Context) ([]netip.Addr, error) {
		begin()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tr.over:
			return nil, errors.New("the trial is over")
		}
	}
}

// byName makes the step ask its server by name rather than by address, with the
// user's connections closed.
func (tr *trial) byName() {
	_, port, _ := net.SplitHostPort(tr.server.addr())
	tr.step = tr.s.Step(tr.t, net.JoinHostPort("localhost", port))
}

func (tr *trial) share(k protocol.Key, open func() (io.Closer, error)) (io.Closer, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if c, ok := tr.shared[k]; ok {
		return c, nil
	}
	c, err := open()
	if err == nil {
		tr.shared[k] = c
	}
	return c, err
}

func (tr *trial) user(id int) *protocol.VU { return &protocol.VU{ID: id, Env: tr.env} }

// leave closes what the client side holds.
func (tr *trial) leave() error {
	tr.vu.Close()
	var errs []error
	for k, c := range tr.shared {
		errs = append(errs, c.Close())
		delete(tr.shared, k)
	}
	return errors.Join(errs...)
}

func (tr *trial) close() {
	if err := tr.leave(); err != nil {
		tr.t.Error(err)
	}
	tr.server.close()
}

// do performs a request of the trial's own user.
func (tr *trial) do(timeout time.Duration) *protocol.Call {
	tr.ask(&tr.call, tr.vu, timeout)
	return &tr.call
}

var (
	keepNothing = &expr.Keep{}
	noVariables = &expr.Scope{Rand: rand.NewPCG(1, 1)}
)

func (tr *trial) ask(c *protocol.Call, vu *protocol.VU, timeout time.Duration) {
	now := tr.env.Now()
	c.VU, c.Scope, c.Keep, c.Deadline = vu, noVariables, keepNothing, now+timeout
	c.Result, c.Response, c.Err = load.Result{Due: int64(now), Sent: int64(now), Done: int64(now)}, nil, nil
	tr.step.Do(c)
}

// doInTime performs a request that something other than its answer must end. If
// the request does not end, the end of the server and of lookups ends it.
func (tr *trial) doInTime(timeout time.Duration, during func()) (*protocol.Call, error) {
	done := make(chan *protocol.Call)
	go func() { done <- tr.do(timeout) }()
	during()
	select {
	case c := <-done:
		return c, nil
	case <-time.After(tr.patience):
		tr.server.close()
		close(tr.over)
		<-done
		return nil, errors.New("the call does not return")
	}
}

// failed returns an error unless a call failed for a cause, with all its fields in agreement.
func failed(c *protocol.Call, want load.Cause) error {
	switch {
	case c.Result.Cause != want:
		return fmt.Errorf("cause = %v (%w), want %v", c.Result.Cause, c.Err, want)
	case c.Err == nil:
		return fmt.Errorf("a failure by %v has no words", want)
	case c.Result.Code != 0:
		return fmt.Errorf("a failure by %v has code %d, want 0", want, c.Result.Code)
	}
	return timed(&c.Result)
}

func answered(c *protocol.Call) error {
	switch {
	case c.Result.Cause != load.None || c.Err != nil:
		return fmt.Errorf("cause = %v (%w), want none", c.Result.Cause, c.Err)
	case c.Response == nil:
		return errors.New("an answered call has no response")
	}
	return timed(&c.Result)
}

// timed returns an error unless the times of a result agree.
func timed(r *load.Result) error {
	if r.Due > r.Sent || r.Sent > r.Done {
		return fmt.Errorf("due %d, sent %d, done %d: want them to rise", r.Due, r.Sent, r.Done)
	}
	var sum int64
	for p, d := range r.Phases {
		if d < 0 {
			return fmt.Errorf("phase %v took %d ns", load.Phase(p), d)
		}
		sum += d
	}
	if sum > r.Duration() {
		return fmt.Errorf("phases %v take %d ns, the whole request %d", r.Phases, sum, r.Duration())
	}
	return nil
}
