package wire

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// defaultRefresh is how long an answer of DNS is used where nothing else is said.
const defaultRefresh = 30 * time.Second

// refreshTimeout bounds a look-up in the background.
const refreshTimeout = 5 * time.Second

// names remembers the answers of DNS, each for as long as its user wants. One look-up of a name is under way at a
// time; concurrent callers wait for it, each as long as its own context allows.
type names struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu sync.Mutex
	of map[string]*name
}

// A name is the state of one host name. Its fields are guarded by names.mu.
type name struct {
	addrs []netip.Addr // never changed in place
	as    time.Time    // when addrs was last right as far as is known, zero for never
	busy  *lookup      // under way, nil for none
	turn  int          // which address the next connection begins with
}

// A lookup is a look-up under way. Its addrs and err may be read after done is closed.
type lookup struct {
	done  chan struct{}
	addrs []netip.Addr
	err   error
}

// resolve returns a host's addresses. It asks DNS if the last answer is as old as refresh.
func (n *names) resolve(ctx context.Context, host string, refresh time.Duration) ([]netip.Addr, error) {
	for {
		n.mu.Lock()
		h := n.get(host)
		if h.fresh(refresh) {
			addrs := h.addrs
			n.mu.Unlock()
			return addrs, nil
		}
		l := h.busy
		mine := l == nil
		if mine {
			l = h.begin()
		}
		n.mu.Unlock()
		if mine {
			n.ask(ctx, host, l)
			return l.addrs, l.err
		}
		select {
		case <-l.done:
			if l.err == nil || !gaveUp(l.err) {
				return l.addrs, l.err
			}
			// The context of the caller that asked ended, which says nothing about the name.
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// known returns the last answer of DNS for a host, nil where there is none.
func (n *names) known(host string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.of[host]; h != nil {
		return h.addrs
	}
	return nil
}

// moved reports whether the last answer of DNS for a host lacks an address. It
// never waits: an answer as old as refresh is asked for again in the background.
func (n *names) moved(host string, addr netip.Addr, refresh time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.get(host)
	if h.busy == nil && !h.fresh(refresh) {
		l := h.begin()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), refreshTimeout)
			defer cancel()
			n.ask(ctx, host, l)
		}()
	}
	return h.addrs != nil && !slices.Contains(h.addrs, addr)
}

// next returns the number of the next connection to a host, by which its addresses take turns.
func (n *names) next(host string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.get(host)
	h.turn++
	return h.turn
}

// ask performs a look-up. If it fails, the last answer stays valid for another refresh.
func (n *names) ask(ctx context.Context, host string, l *lookup) {
	found, err := n.lookup(ctx, host)
	addrs := make([]netip.Addr, 0, len(found))
	for _, a := range found {
		addrs = append(addrs, a.Unmap()) // the system's resolver maps IPv4 into IPv6; a peer's address is plain
	}
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	n.mu.Lock()
	h := n.get(host)
	if err == nil {
		h.addrs = addrs
	}
	l.addrs, l.err = addrs, err
	if h.addrs != nil && !gaveUp(err) {
		l.addrs, l.err = h.addrs, nil
		h.as = time.Now()
	}
	h.busy = nil
	n.mu.Unlock()
	close(l.done)
}

func (n *names) get(host string) *name {
	h := n.of[host]
	if h == nil {
		h = &name{}
		n.of[host] = h
	}
	return h
}

// fresh reports whether the last answer is younger than refresh.
func (h *name) fresh(refresh time.Duration) bool {
	return !h.as.IsZero() && time.Since(h.as) < refresh
}

func (h *name) begin() *lookup {
	h.busy = &lookup{done: make(chan struct{})}
	return h.busy
}
