package output

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

// mostHops is how many redirects of one request are followed.
const mostHops = 5

// checkRedirect returns the http.Client.CheckRedirect of an output. Only redirects that
// repeat the request are followed: others would ask for a page instead. Outside of the
// scheme, host and port that the configuration names a request has only the header
// fields that say what its body is, as curl does it: any other may be a credential.
func checkRedirect(plain ...string) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if code := req.Response.StatusCode; code != http.StatusTemporaryRedirect && code != http.StatusPermanentRedirect || len(via) > mostHops {
			return http.ErrUseLastResponse
		}
		req.Header.Del("Referer") // the address before may hold a secret
		if SameOrigin(req.URL, via[0].URL) {
			return nil
		}
		for name := range req.Header {
			if !slices.ContainsFunc(plain, func(p string) bool { return strings.EqualFold(p, name) }) {
				req.Header.Del(name)
			}
		}
		return nil
	}
}

// SameOrigin reports whether two addresses have one scheme, host and port.
func SameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(authority(a), authority(b))
}

// authority returns the host and port of an address.
func authority(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// A Way is how the requests of an output leave the process. They go to the receiver that
// the configuration names, wherever it is, and by the proxies that it or the environment
// names; but to no address that is refused always. A redirect leads to the receiver's own host, or to where the
// allow-list lets load go, and never nearer to perfd than the host is that redirects.
type Way struct {
	Home    *url.URL   // the receiver
	Guard   wire.Guard // the configuration's allow-list
	Network wire.Network
	Proxy   block.Secret    // a key proxy_url that was checked
	Like    *http.Transport // has the bounds of connections
	Timeout time.Duration   // of a dial
	TLS     *wire.TLS
	Faults  *wire.TLSFaults
	// Signed returns what adds credentials to requests, which only those to the
	// receiver's own scheme, host and port get; nil adds none.
	Signed func(http.RoundTripper) http.RoundTripper
	// Plain are the header fields that say what a request's body is.
	Plain []string
}

// Client returns a client whose requests go that way.
func (w *Way) Client() *http.Client {
	home := w.Guard.Naming(w.Home.Hostname())
	d := w.Network.NewDialer(wire.DialerOptions{Guard: home.Naming(proxyHosts(w.Proxy)...)})
	w.Like.Proxy = Proxy(w.Proxy)
	w.Like.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, w.Timeout)
		defer cancel()
		return d.DialContext(ctx, network, address)
	}
	own := wire.NewRoundTripper(w.Like, w.TLS, w.Faults)
	t := &hops{home: w.Home, guard: home, proxy: w.Like.Proxy, with: own, elsewhere: own.Foreign()}
	if w.Signed != nil {
		t.with = w.Signed(own)
	}
	return &http.Client{Transport: t, CheckRedirect: checkRedirect(w.Plain...)}
}

// hops is a RoundTripper of a request and of the redirects that it leads to: those to the origin of
// an address go one way, the one with credentials, and all others another.
type hops struct {
	home            *url.URL
	guard           wire.Guard
	proxy           func(*http.Request) (*url.URL, error) // nil where there is none
	with, elsewhere http.RoundTripper
}

// A hop is one request, as the next one of a chain of redirects finds it in the context.
type hop struct{ at netip.Addr } // of the host, as far as it is known

type hopKey struct{}

// RoundTrip sends a request, unless it may not go where it is to go.
func (h *hops) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, err := h.enter(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	req = req.WithContext(ctx)
	if SameOrigin(req.URL, h.home) {
		return h.with.RoundTrip(req)
	}
	return h.elsewhere.RoundTrip(req)
}

// enter returns the context of a request. What is led to another host is checked here where a proxy
// resolves its name, and otherwise when it is dialled.
func (h *hops) enter(req *http.Request) (context.Context, error) {
	host := req.URL.Hostname()
	if err := h.guard.CheckHost(host); err != nil {
		return nil, err
	}
	now := &hop{at: wire.Place(host)}
	ctx := context.WithValue(req.Context(), hopKey{}, now)
	from := netip.Addr{}
	if !strings.EqualFold(host, h.home.Hostname()) {
		from = sender(req)
	}
	proxied := false
	if h.proxy != nil {
		by, err := h.proxy(req)
		if err != nil {
			return nil, err
		}
		proxied = by != nil
	}
	if proxied {
		if from.IsValid() {
			return ctx, wire.CheckRedirect(from, now.at)
		}
		return ctx, nil
	}
	if from.IsValid() {
		ctx = wire.Led(ctx, from)
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if peer, ok := c.Conn.RemoteAddr().(*net.TCPAddr); ok {
			now.at = peer.AddrPort().Addr()
		}
	}}), nil
}

// sender returns the address of the host that redirects to a request.
func sender(req *http.Request) netip.Addr {
	if req.Response != nil && req.Response.Request != nil {
		if last, ok := req.Response.Request.Context().Value(hopKey{}).(*hop); ok {
			return last.at
		}
	}
	return wire.Place("") // nothing is known of it
}

// CloseIdleConnections closes those of both ways.
func (h *hops) CloseIdleConnections() {
	for _, by := range []http.RoundTripper{h.with, h.elsewhere} {
		if c, ok := by.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}
