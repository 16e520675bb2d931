package web

import (
	"net"
	"net/http"
	"net/netip"
	"time"
)

// exchange is how long a client may take to send a request and read its answer.
const exchange = time.Minute

// mostBody is the largest body of a request, in bytes.
const mostBody = 64 << 10

// bounded gives up on a client that takes longer than d: one that reads nothing
// would hold its answer, and with it one of the few places for scrapes, for ever.
func bounded(h http.Handler, d time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, until := http.NewResponseController(w), time.Now().Add(d)
		// Only writers of tests have no deadlines.
		_ = c.SetReadDeadline(until)
		_ = c.SetWriteDeadline(until)
		h.ServeHTTP(w, r)
	})
}

// origins tells requests of pages of other sites from those of pages of the place's own.
func (p Place) origins() *http.CrossOriginProtection {
	c := http.NewCrossOriginProtection()
	if p.origin != "" {
		if err := c.AddTrustedOrigin(p.origin); err != nil {
			panic(err) // NewPlace made it of a scheme and a host
		}
	}
	return c
}

// foreign reports whether a browser makes the request for a page that is not, or
// may not be, of this daemon.
func (s *server) foreign(r *http.Request) bool {
	if s.origins.Check(r) != nil {
		return true
	}
	// Its own page proves nothing by a name over plain HTTP: whoever owns a name can
	// let it point here once a browser has loaded his page (DNS rebinding). An
	// address and localhost cannot be pointed elsewhere, and the external URL is one that the operator vouches for.
	return r.TLS == nil && (s.Place.origin == "" || r.Header.Get("Origin") != s.Place.origin) && r.Header.Get("Origin") != "" && !literal(r.Host)
}

// literal reports whether a Host header is an address or localhost.
func literal(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		name = name[1 : n-1]
	}
	_, err = netip.ParseAddr(name)
	return err == nil || name == "localhost"
}
