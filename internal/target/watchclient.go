package target

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A watch has bounds of its own, because it shares none with load: a limit that
// load uses up would stop the watch, and one that the watch uses up would stop load.
const (
	// readTimeout bounds one read up to the answer's last byte.
	readTimeout = 10 * time.Second
	// longestAnswer bounds an answer, in bytes after decompression.
	longestAnswer = 16 << 20
	// drained bounds the bytes of an unused body that are read to keep the connection.
	drained = 64 << 10
	// mostHops bounds the redirects of one read.
	mostHops = 5
	// readRate bounds the requests of one watch, redirects included, per second.
	readRate = 20
)

// A Dial opens a connection, as net.Dialer.DialContext does.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// A client makes the requests of a watch. They do not count as load.
type client struct {
	userAgent  string
	target     *url.URL               // the target's address; empty where it has none
	load       *protocol.Client       // how load speaks to the target
	credential *credential.Credential // nil for none
	faults     *wire.TLSFaults        // of its TLS
	limiter    *Limiter
	zero       time.Time // the limiter's
	http       *http.Client
}

func newClient(o *Options) *client {
	c := &client{userAgent: o.UserAgent, target: new(url.URL), load: o.Config.Client, credential: o.Credential, faults: o.TLSFaults, limiter: NewLimiter(readRate, 1), zero: time.Now()}
	if u, err := url.Parse(o.Config.URL.S); err == nil {
		c.target = u
	}
	if c.load == nil {
		c.load = new(protocol.Client)
	}
	c.http = &http.Client{Transport: o.Transport, CheckRedirect: c.checkRedirect}
	if o.Transport == nil {
		c.http.Transport = newTransport(o.Dial, c.tls, c.load.TLS, c.faults)
	}
	return c
}

// tls returns the TLS configuration for a host at this moment: that of load. Hosts other than the
// target's are trusted as the target is, and get no credentials.
func (c *client) tls(host string) *tls.Config {
	t := wire.TLSFor(c.load.TLS.Current(c.faults), host, !strings.EqualFold(host, c.target.Hostname()))
	t.NextProtos = []string{"h2", "http/1.1"}
	return t
}

// ofTarget reports whether a request has the header fields of the target's load:
// they may be credentials, which are for the target's host, and not to be read on
// the way where load encrypts them.
func (c *client) ofTarget(to *url.URL) bool {
	return strings.EqualFold(to.Hostname(), c.target.Hostname()) && (to.Scheme == "https" || c.target.Scheme != "https")
}

// dress sets the header of a request: that of load, and the fields of its own. It returns the value of the target's
// credential that the request is sent with, nil for none.
func (c *client) dress(req *http.Request, own block.Entries[block.Text], accept string) (*credential.Value, error) {
	set := func(name, value string) {
		if strings.EqualFold(name, "Host") {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	set("User-Agent", c.userAgent)
	if c.load.Header != nil && c.ofTarget(req.URL) {
		c.load.Header(set)
	}
	for _, e := range own {
		set(e.Name.S, e.Value.S)
	}
	req.Header.Del("Accept-Encoding") // the transport asks for what it decodes
	req.Header.Set("X-Perfd", "watch")
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if c.credential == nil || !c.ofTarget(req.URL) {
		return nil, nil
	}
	v, err := c.credential.Dress(req)
	if err != nil {
		return nil, &readError{uncredited, err}
	}
	return v, nil
}

// lacking lists the header fields of load that a request does not have.
func (c *client) lacking(r request) (names []string) {
	for _, name := range c.load.OfFlows {
		if !slices.ContainsFunc(r.header, func(e block.Entry[block.Text]) bool { return strings.EqualFold(e.Name.S, name) }) {
			names = append(names, name)
		}
	}
	return names
}

// sameOrigin reports whether two addresses have scheme, host and port in common.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// newTransport returns a transport that takes no proxy from the environment, so
// that a watch reaches its target in the same way as load. Requests open new
// connections once the files of the target's TLS have changed.
func newTransport(dial Dial, config func(host string) *tls.Config, t *wire.TLS, f *wire.TLSFaults) http.RoundTripper {
	if dial == nil {
		dial = wire.NewDialer(wire.DialerOptions{}).DialContext
	}
	dialTLS := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		nc, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		t, err := wire.Handshake(ctx, nc, config(host))
		if err != nil {
			_ = nc.Close()
			return nil, err
		}
		return t, nil
	}
	return wire.NewRoundTripper(&http.Transport{
		DialContext: dial, DialTLSContext: dialTLS, ForceAttemptHTTP2: true,
		MaxIdleConns: 8, MaxIdleConnsPerHost: 2, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}, t, f)
}

// checkRedirect allows redirects within a host only: the configuration says which
// hosts a watch reads, not the target.
func (c *client) checkRedirect(req *http.Request, via []*http.Request) error {
	wrong := ""
	switch from := via[0].URL; {
	case len(via) > mostHops:
		wrong = fmt.Sprintf("more than %d redirects", mostHops)
	case !strings.EqualFold(req.URL.Hostname(), from.Hostname()):
		wrong = "redirected to another host, " + req.URL.Hostname()
	case from.Scheme == "https" && req.URL.Scheme != "https":
		wrong = "redirected away from https"
	}
	if wrong != "" {
		return &readError{redirected, errors.New(wrong)}
	}
	if sameOrigin(req.URL, via[0].URL) {
		req.Host = via[0].Host
	} else {
		req.Host, req.Header = "", http.Header{"User-Agent": {c.userAgent}, "X-Perfd": {"watch"}, "Accept": via[0].Header["Accept"]}
	}
	req.Header.Del("Referer") // the address before may hold a secret
	return c.admit(req.Context())
}

// admit takes the token of a request, and waits until it is due.
func (c *client) admit(ctx context.Context) error {
	wait := c.limiter.Take(time.Since(c.zero))
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *client) closeIdle() { c.http.CloseIdleConnections() }

// An answer is the response to a request.
type answer struct {
	status int
	header http.Header
	body   []byte
	// lacking are the header fields of load that the request did not have.
	lacking []string
}

// A request is a GET request.
type request struct {
	url    string
	header block.Entries[block.Text]
	accept string
	fresh  bool // use a new connection: behind a load balancer a kept one always leads to the same instance
	noBody bool // the body is not needed
}

// get makes a request. Its errors do not contain the address, which may be secret.
func (c *client) get(ctx context.Context, r request) (*answer, error) {
	if err := c.admit(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, &readError{timedOut, fmt.Errorf("no answer within %s", readTimeout)})
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return nil, bare(err)
	}
	value, err := c.dress(req, r.header, r.accept)
	if err != nil {
		return nil, err
	}
	req.Close = r.fresh
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, bare(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized {
		c.credential.Refused(value)
	}
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if c.ofTarget(req.URL) {
		a.lacking = c.lacking(r)
	}
	if r.noBody {
		_, _ = io.CopyN(io.Discard, resp.Body, drained)
		return a, nil
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, longestAnswer+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case len(a.body) > longestAnswer:
		return nil, &readError{tooLarge, fmt.Errorf("the answer is longer than %d MiB", longestAnswer>>20)}
	}
	return a, nil
}

// bare removes the address from an error.
func bare(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// wanted returns an error unless the answer is a success.
func (a *answer) wanted() error {
	if a.status/100 == 2 {
		return nil
	}
	without := ""
	if (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden) && len(a.lacking) > 0 {
		without = " (asked without " + strings.Join(a.lacking, ", ") + ", whose value only a flow has)"
	}
	return &readError{badStatus, fmt.Errorf("status %d%s: %s", a.status, without, excerpt(string(a.body)))}
}
