package wire

import (
	"crypto/tls"
	"net/http"
	"sync"
)

// A RoundTripper is an http.Transport whose TLS configuration follows its files,
// for requests that are not load. Requests under way when a file changes end on
// their connections; all others open new ones.
type RoundTripper struct {
	like   *http.Transport
	tls    *TLS
	faults *TLSFaults
	// foreign says that requests go to hosts that the configuration does not name.
	foreign bool

	mu  sync.Mutex
	of  *tls.Config     // of now
	now *http.Transport // nil before the first request
}

// NewRoundTripper returns a RoundTripper whose transports are like the one it is
// given, which must not be used otherwise.
func NewRoundTripper(like *http.Transport, t *TLS, f *TLSFaults) *RoundTripper {
	return &RoundTripper{like: like, tls: t, faults: f}
}

// Foreign returns a RoundTripper like r, without its connections, for hosts that the
// configuration does not name: they are shown no client certificate, and each request has a
// connection of its own, whose dial is told by Led who leads there.
func (r *RoundTripper) Foreign() *RoundTripper {
	return &RoundTripper{like: r.like, tls: r.tls, faults: r.faults, foreign: true}
}

// RoundTrip makes a request.
func (r *RoundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.current().RoundTrip(req)
}

func (r *RoundTripper) current() *http.Transport {
	c := r.tls.Current(r.faults)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now != nil && r.of == c {
		return r.now
	}
	if r.now != nil {
		r.now.CloseIdleConnections() // and connections in use once they are not
	}
	r.of, r.now = c, r.like.Clone()
	r.now.DisableKeepAlives = r.like.DisableKeepAlives || r.foreign
	if c != nil {
		of := c.Clone()
		if r.foreign {
			of.Certificates, of.GetClientCertificate, of.ServerName = nil, nil, ""
		}
		r.now.TLSClientConfig = of
	}
	return r.now
}

// CloseIdleConnections closes the connections that no request uses.
func (r *RoundTripper) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now != nil {
		r.now.CloseIdleConnections()
	}
}
