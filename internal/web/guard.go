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

var sameOrigin = http.NewCrossOriginProtection()

// foreign reports whether a browser makes the request for a page that is not, or
// may not be, of this daemon.
func foreign(r *http.Request) bool {
	if sameOrigin.Check(r) != nil {
		return true
	}
	// Its own page proves nothing by a name over plain HTTP: whoever owns a name can
	// let it point here once a browser has loaded his page (DNS rebinding). An
	// address and localhost cannot be pointed elsewhere.
	return r.TLS == nil && r.Header.Get("Origin") != "" && !literal(r.Host)
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
