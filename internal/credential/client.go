package credential

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

// An Endpoint is how the server that makes tokens is reached.
type Endpoint struct {
	Timeout block.Duration `yaml:"timeout" doc:"Of a request for a token (default 10s)."`
	// ProxyURL is parsed by wire.ParseProxy; empty is none.
	ProxyURL block.Secret `yaml:"proxy_url" doc:"HTTP proxy that requests for tokens are tunnelled through (default: none)."`
	TLS      TLS          `yaml:"tls" doc:"TLS of https."`

	tls *wire.TLS
}

// TLS holds the options of TLS of requests for tokens.
type TLS struct {
	CAFile             string `yaml:"ca_file" doc:"PEM file of the certificate authorities to trust instead of the system's."`
	CertFile           string `yaml:"cert_file" doc:"PEM file of the client certificate."`
	KeyFile            string `yaml:"key_file" doc:"PEM file of the client certificate's key."`
	ServerName         string `yaml:"server_name" doc:"Name to ask for and to verify instead of the URL's host."`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" doc:"Accept any certificate."`
}

const defaultTimeout = block.Duration(10 * time.Second)

// open checks the endpoint at an address and reads its certificates.
func (e *Endpoint) open(o *Opener, address block.Text) {
	checkAddress(o, address)
	if at := o.At.Get("timeout"); e.Timeout <= 0 {
		o.Errors.Add(at.Pos, at.Path, "must be more than 0")
	}
	if text := e.ProxyURL.Value(); text != "" {
		at := o.At.Get("proxy_url")
		p, err := wire.ParseProxy(text)
		if err == nil && o.Allowed != nil {
			err = o.Allowed(p.Host)
		}
		if err != nil {
			o.Errors.Add(at.Pos, at.Path, "%v", err)
		}
	}
	options := wire.TLSOptions{
		CAFile: inDir(o, e.TLS.CAFile), CertFile: inDir(o, e.TLS.CertFile), KeyFile: inDir(o, e.TLS.KeyFile),
		ServerName: e.TLS.ServerName, InsecureSkipVerify: e.TLS.InsecureSkipVerify,
	}
	mistakes := options.Mistakes()
	for _, m := range mistakes {
		at := o.At.Get("tls").Get(m.Option)
		o.Errors.Add(at.Pos, at.Path, "%v", m.Err)
	}
	if mistakes != nil {
		return
	}
	var err error
	if e.tls, err = wire.NewTLS(options); err != nil { // a file has changed since
		at := o.At.Get("tls")
		o.Errors.Add(at.Pos, at.Path, "%v", err)
	}
}

// checkAddress checks that requests for tokens may go to an address.
func checkAddress(o *Opener, address block.Text) {
	if address.Path == "" {
		return // is missing, decoding said so
	}
	u, err := url.Parse(address.S)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		o.Errors.Add(address.Pos, address.Path, "must be an address such as https://login.staging.example.com/oauth/token, got %q", address)
		return
	case u.User != nil:
		o.Errors.Add(address.Pos, address.Path, "must not hold a user or password")
		return
	}
	if o.Allowed == nil {
		return
	}
	if err := o.Allowed(u.Hostname()); err != nil {
		o.Errors.Add(address.Pos, address.Path, "%v", err).Hint = "if requests may go there, list it in safety.allowed_hosts or safety.allowed_networks"
	}
}

// inDir returns the path of a file that the configuration names, "" for none.
func inDir(o *Opener, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(o.Dir, path)
}

// ClientOptions are how requests for tokens leave the process.
type ClientOptions struct {
	Guard     wire.Guard
	Network   wire.Network
	Transport http.RoundTripper // replaces the way out; nil does not
	TLSFaults *wire.TLSFaults
	UserAgent string
}

// A Client makes requests for tokens. It follows no redirect: what is sent is for one server alone.
type Client struct {
	http      *http.Client
	timeout   time.Duration
	userAgent string
}

// NewClient returns the client of a source, nil for one that asks nobody.
func NewClient(s Source, o ClientOptions) *Client {
	r, ok := s.(Remote)
	if !ok {
		return nil
	}
	e := r.Endpoint()
	by := o.Transport
	if by == nil {
		proxy, _ := wire.ParseProxy(e.ProxyURL.Value()) // nil where there is none
		d := o.Network.NewDialer(wire.DialerOptions{Guard: o.Guard, Proxy: proxy})
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			return d.DialContext(ctx, network, address)
		}
		// A connection for each: tokens are minutes apart, and the address may have moved.
		by = wire.NewRoundTripper(&http.Transport{DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}, e.tls, o.TLSFaults)
	}
	return &Client{
		http: &http.Client{
			Transport:     agent{by, o.UserAgent},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: e.Timeout.D(), userAgent: o.UserAgent,
	}
}

// An agent says who asks.
type agent struct {
	by   http.RoundTripper
	name string
}

func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if a.name != "" && r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", a.name)
	}
	r.Header.Set("X-Perfd", "credential")
	return a.by.RoundTrip(r)
}

// CloseIdleConnections closes the connections that no request uses.
func (a agent) CloseIdleConnections() {
	if c, ok := a.by.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (c *Client) close() { c.http.CloseIdleConnections() }

// longestAnswer bounds an answer, in bytes.
const longestAnswer = 1 << 20

// statusError is an answer that is no token.
func statusError(status int, header http.Header, says string) *Error {
	e := &Error{Reason: "status", Text: "status " + strconv.Itoa(status)}
	if says != "" {
		e.Text += ": " + shortened(says)
	}
	if text := header.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
			e.Asked = time.Duration(seconds) * time.Second
		} else if at, err := http.ParseTime(text); err == nil {
			e.Asked = max(0, time.Until(at))
		}
	}
	return e
}

// bare removes the address, which may hold a secret, from the error of a request.
func bare(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
