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
	"strings"
	"time"
)

const (
	// readTimeout bounds one read up to the answer's last byte.
	readTimeout = 10 * time.Second
	// longestAnswer bounds an answer, in bytes after decompression.
	longestAnswer = 16 << 20
	// drained bounds the bytes of an unused body that are read to keep the connection.
	drained = 64 << 10
	// mostHops bounds the redirects of one read.
	mostHops = 5
)

// A Dial opens a connection, as net.Dialer.DialContext does.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// A client makes the requests of a watch. They do not count as load.
type client struct {
	userAgent string
	host      string // of the target
	own       *http.Client
	outside   *http.Client
}

func newClient(o *Options) *client {
	c := &client{userAgent: o.UserAgent}
	if u, err := url.Parse(o.Config.URL.S); err == nil {
		c.host = u.Hostname()
	}
	c.own = &http.Client{Transport: o.Transport, CheckRedirect: checkRedirect}
	c.outside = &http.Client{Transport: o.Transport, CheckRedirect: checkRedirect}
	if o.Transport == nil {
		c.own.Transport = newTransport(o.Dial, o.TLS)
		c.outside.Transport = newTransport(o.DialOutside, nil)
	}
	return c
}

// newTransport returns a transport that takes no proxy from the environment, so
// that a watch reaches its target in the same way as load.
func newTransport(dial Dial, t *tls.Config) *http.Transport {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &http.Transport{
		DialContext: dial, TLSClientConfig: t, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
}

// checkRedirect allows redirects within a host only, because another host may need
// the other dialer, with other rules.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch from := via[0].URL; {
	case len(via) > mostHops:
		return fmt.Errorf("more than %d redirects", mostHops)
	case !strings.EqualFold(req.URL.Hostname(), from.Hostname()):
		return fmt.Errorf("redirected to another host, %s", req.URL.Hostname())
	case from.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("redirected away from https")
	}
	return nil
}

func (c *client) closeIdle() {
	c.own.CloseIdleConnections()
	c.outside.CloseIdleConnections()
}

// An answer is the response to a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// A request is a GET request.
type request struct {
	url    string
	accept string
	fresh  bool // use a new connection: behind a load balancer a kept one always leads to the same instance
	noBody bool // the body is not needed
}

// get makes a request. Its errors do not contain the address, which may be secret.
func (c *client) get(ctx context.Context, r request) (*answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, fmt.Errorf("no answer within %s", readTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return nil, bare(err)
	}
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("X-Perfd", "watch")
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	req.Close = r.fresh
	by := c.outside
	if strings.EqualFold(req.URL.Hostname(), c.host) {
		by = c.own
	}
	resp, err := by.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, bare(err)
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
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
		return nil, fmt.Errorf("the answer is longer than %d MiB", longestAnswer>>20)
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
	if a.status/100 != 2 {
		return fmt.Errorf("status %d: %s", a.status, excerpt(string(a.body)))
	}
	return nil
}
