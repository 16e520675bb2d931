package wire

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// ErrNoToken says that the limit on the rate of requests leaves no token for a
// redirect, or for a request that is sent once more, in the time that its request has.
var ErrNoToken = errors.New("the limit on requests leaves the redirect or second attempt no token in time")

// A Take takes the token of a request to a host with these addresses, and returns
// how long its user must wait for it. Where ok is false there is none yet: the user asks
// again after the wait, and says that it is its turn. There are no addresses where only
// a proxy knows them.
type Take = func(addrs []netip.Addr, turn bool) (wait time.Duration, ok bool)

// Admit takes the token of an exchange to which a redirect of the host at an address
// leads, as Exchange.From, and waits until it is due. The wait is the limit's doing and not the target's: Sent is later by it, and
// Waited longer.
func (a *Agent) Admit(o *Origin, from netip.Addr, deadline int64, r *load.Result, take Take) error {
	var err error
	if a.group(o) != nil {
		err = a.apart(o, func(c *conn) error {
			c.from = from
			return c.admit(deadline, r, take)
		})
	} else if a.t.pool(o) != nil {
		// No connection is kept from others while the agent waits; where one leads to, names say.
		c := newConn(a.t, *o, a.vu)
		a.hold(c)
		c.from = from
		err = c.admit(deadline, r, take)
		a.release()
	} else {
		c := a.conn(o, a.now())
		c.from = from
		err = c.admit(deadline, r, take)
	}
	if err != nil {
		r.Done = a.now()
	}
	return err
}

func (d *redialer) admit(deadline int64, r *load.Result, take Take) error {
	return d.interruptible(deadline, func(ctx context.Context) error {
		addrs := []netip.Addr{d.addr}
		if d.nc == nil {
			begin := d.now()
			var err error
			addrs, err = d.resolve(ctx)
			r.Phases[load.PhaseDNS] += d.now() - begin
			if err != nil {
				return err
			}
		} else if err := d.checkRedirect(d.addr); err != nil {
			return err
		}
		if at := d.t.Dialer.place(d.origin.Host, netip.Addr{}); at == elsewhere {
			addrs = nil
		} else if at.IsValid() {
			addrs = []netip.Addr{at}
		}
		begin := d.now()
		for turn := false; ; turn = true {
			wait, ok := take(addrs, turn)
			if d.now()+int64(wait) >= deadline {
				return ErrNoToken
			}
			if wait > 0 {
				if err := sleep(ctx, wait); err != nil {
					return err
				}
			}
			if ok {
				break
			}
		}
		waited := d.now() - begin
		r.Sent += waited
		r.Waited += waited
		return nil
	})
}

// again waits for the token of a request that is sent once more, because the first
// time counts against the limit too: a server that closes each connection after it has read a
// request would see twice the rate. What was not written needs none.
func (d *redialer) again(err error, deadline int64, r *load.Result) error {
	take := d.t.Again
	if take == nil || !errors.Is(err, errAgain) {
		return nil
	}
	return d.admit(deadline, r, func(addrs []netip.Addr, turn bool) (time.Duration, bool) {
		return take(d.origin.Host, d.origin.Port, addrs, turn)
	})
}

// sleep waits, until ctx ends at most.
func sleep(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
