package protocol

import (
	"crypto/tls"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

// Connections is the block of a target that says when connections are replaced.
type Connections struct {
	MaxAge      block.Duration `yaml:"max_age" doc:"A connection older than this is replaced before its next request (default 5m)."`
	MaxRequests int            `yaml:"max_requests" doc:"A connection that has taken as many requests, redirects included, is replaced before the next (default: no limit)."`
	DNSRefresh  block.Duration `yaml:"dns_refresh" doc:"How long an answer of DNS is used; a connection whose address DNS no longer names is replaced (default 30s)."`
	Reset       string         `yaml:"reset" doc:"never (default) keeps connections from iteration to iteration, iteration opens new ones for each."`
}

// What ends with an iteration: nothing, or all that is asked for.
const (
	ResetNever     = "never"
	ResetIteration = "iteration"
)

// DefaultConnections is the block of a target without one.
func DefaultConnections() Connections {
	return Connections{MaxAge: block.Duration(5 * time.Minute), DNSRefresh: block.Duration(30 * time.Second), Reset: ResetNever}
}

// Renewed reports whether each iteration has new connections.
func (c *Connections) Renewed() bool { return c.Reset == ResetIteration }

// Set makes connections of a transport live as the block says.
func (c *Connections) Set(t *wire.Transport) {
	t.MaxAge, t.MaxRequests, t.DNSRefresh = c.MaxAge.D(), c.MaxRequests, c.DNSRefresh.D()
}

// Validate checks what needs no other part of the configuration.
func (c *Connections) Validate(n *block.Node, errs *block.Errors) {
	if resets := []string{ResetNever, ResetIteration}; !slices.Contains(resets, c.Reset) {
		at := n.Get("reset")
		errs.Add(at.Pos, at.Path, "must be never or iteration, got %q", c.Reset).Hint = block.Nearest(c.Reset, resets)
	}
	for _, d := range []struct {
		key string
		v   block.Duration
	}{{"max_age", c.MaxAge}, {"dns_refresh", c.DNSRefresh}} {
		if d.v <= 0 {
			at := n.Get(d.key)
			errs.Add(at.Pos, at.Path, "must be more than 0")
		}
	}
	if at := n.Get("max_requests"); at != nil && c.MaxRequests < 1 {
		errs.Add(at.Pos, at.Path, "must be at least 1, got %d", c.MaxRequests).Hint = "leave it out for no limit"
	}
}

// TLS is the block of a target with the options of its TLS connections.
type TLS struct {
	CAFile             block.Text `yaml:"ca_file" doc:"PEM file of the certificate authorities to trust instead of the system's."`
	CertFile           block.Text `yaml:"cert_file" doc:"PEM file of the client certificate."`
	KeyFile            block.Text `yaml:"key_file" doc:"PEM file of the client certificate's key."`
	ServerName         string     `yaml:"server_name" doc:"Name to ask for and to verify instead of the URL's host."`
	InsecureSkipVerify bool       `yaml:"insecure_skip_verify" doc:"Accept any certificate."`
	MinVersion         string     `yaml:"min_version" doc:"Oldest version of TLS to accept: 1.2 (default) or 1.3, in quotes."`
	SessionResumption  bool       `yaml:"session_resumption" doc:"Resume the session of a virtual user's last connection to a host, as browsers do (default true); false makes every handshake a full one."`

	opened *wire.TLS // nil until Open has opened its files
}

// openingTLS guards TLS.opened of all blocks: scenarios of one target are compiled side by side.
var openingTLS sync.Mutex

// DefaultTLS is the block of a target without one.
func DefaultTLS() TLS { return TLS{MinVersion: "1.2", SessionResumption: true} }

// tlsVersions are the values of min_version.
var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// Validate checks what needs no other part of the configuration.
func (t *TLS) Validate(n *block.Node, errs *block.Errors) {
	switch cert, key := t.CertFile, t.KeyFile; {
	case cert.S != "" && key.S == "":
		errs.Add(cert.Pos, cert.Path, "cert_file and key_file go together")
	case cert.S == "" && key.S != "":
		errs.Add(key.Pos, key.Path, "cert_file and key_file go together")
	}
	if _, ok := tlsVersions[t.MinVersion]; !ok {
		at := n.Get("min_version")
		errs.Add(at.Pos, at.Path, "must be 1.2 or 1.3, got %q", t.MinVersion)
	}
}

// Unopened returns the block as one whose files nobody has opened.
func (t TLS) Unopened() TLS {
	t.opened = nil
	return t
}

// Anonymous returns the block without a client certificate, unopened.
func (t TLS) Anonymous() TLS {
	t.CertFile, t.KeyFile, t.opened = block.Text{}, block.Text{}, nil
	return t
}

// With opens the block with another client certificate; names of files start from a folder.
func (t *TLS) With(dir, cert, key string) (*wire.TLS, error) {
	return wire.NewTLS(t.options(&Compiler{Dir: dir}, cert, key))
}

func (t *TLS) options(k *Compiler, cert, key string) wire.TLSOptions {
	return wire.TLSOptions{
		CAFile: k.Path(t.CAFile.S), CertFile: k.Path(cert), KeyFile: k.Path(key),
		ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify, MinVersion: tlsVersions[t.MinVersion],
		NoResumption: !t.SessionResumption,
	}
}

// Open returns the TLS of whatever connects to the target. Its files are opened once, so that
// those which change are read and complained about once. All of them are optional.
func (t *TLS) Open(k *Compiler) *wire.TLS {
	openingTLS.Lock()
	defer openingTLS.Unlock()
	if t.opened == nil {
		t.opened = t.open(k)
	}
	return t.opened
}

func (t *TLS) open(k *Compiler) *wire.TLS {
	if (t.CertFile.S == "") != (t.KeyFile.S == "") {
		return nil // Validate reports it
	}
	o := t.options(k, t.CertFile.S, t.KeyFile.S)
	mistakes := o.Mistakes()
	for _, m := range mistakes {
		at := map[string]block.Text{"ca_file": t.CAFile, "cert_file": t.CertFile, "key_file": t.KeyFile}[m.Option]
		k.Errors.Add(at.Pos, at.Path, "%v", m.Err)
	}
	if mistakes != nil {
		return nil
	}
	c, err := wire.NewTLS(o)
	if err != nil { // a file has changed since
		k.Errors.Add(k.Base.Pos, k.Base.Path, "tls.%v", err)
	}
	return c
}

// Path returns the path of a file that the configuration names, "" for none.
func (c *Compiler) Path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.Dir, name)
}
