package web

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// DefaultConnections is how many connections may be open at once, as in Prometheus.
	DefaultConnections = 512
	// descriptorShare is the share of the process's file descriptors that connections may
	// take: load and storage need the others.
	descriptorShare = 4
)

// connections bounds what is open at once on all listeners. Where there are too many,
// the one that has been idle for longest is closed for a new one: clients that do
// nothing must not keep out a probe or a scrape. A new one is closed where none is idle.
type connections struct {
	mu   sync.Mutex
	most int
	open map[net.Conn]*connection
}

type connection struct {
	idle  bool // it waits for a request
	since time.Time
}

func newConnections(most int) *connections {
	if files := descriptors(); files > 0 {
		most = min(most, files/descriptorShare)
	}
	return &connections{most: max(1, most), open: map[net.Conn]*connection{}}
}

// admit makes room for a new connection, and reports whether there is.
func (c *connections) admit(n net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.open) >= c.most {
		longest := c.longestIdle()
		if longest == nil {
			return false
		}
		delete(c.open, longest)
		_ = longest.Close() // its client sees what an idle timeout looks like
	}
	c.open[n] = &connection{idle: true, since: time.Now()}
	return true
}

// longestIdle is the connection that has waited for a request for longest, nil for none. The caller holds the lock.
func (c *connections) longestIdle() net.Conn {
	var idle []net.Conn
	for n, s := range c.open {
		if s.idle {
			idle = append(idle, n)
		}
	}
	if len(idle) == 0 {
		return nil
	}
	return slices.MinFunc(idle, func(a, b net.Conn) int {
		return cmp.Compare(c.open[a].since.UnixNano(), c.open[b].since.UnixNano())
	})
}

// state follows the states of a server's connections.
func (c *connections) state(n net.Conn, state http.ConnState) {
	if t, ok := n.(*tls.Conn); ok {
		n = t.NetConn()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.open[n]
	if s == nil {
		return
	}
	switch state {
	case http.StateActive:
		s.idle = false
	case http.StateIdle, http.StateNew:
		s.idle, s.since = true, time.Now()
	case http.StateClosed, http.StateHijacked:
		delete(c.open, n)
	}
}

// A boundedListener accepts what its connections have room for.
type boundedListener struct {
	net.Listener
	all *connections
}

// Accept returns the next connection that there is room for.
func (l boundedListener) Accept() (net.Conn, error) {
	for {
		n, err := l.Listener.Accept()
		if err != nil || l.all.admit(n) {
			return n, err
		}
		_ = n.Close() // without an answer, which could block
	}
}
