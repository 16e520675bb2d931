package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

// TLSOptions are the options of TLS connections. Files are PEM.
type TLSOptions struct {
	CAFile             string // authorities to trust instead of the system's
	CertFile, KeyFile  string // client certificate and its key
	ServerName         string // name to request and verify instead of the host's
	InsecureSkipVerify bool   // accept any certificate
	MinVersion         uint16 // default TLS 1.2
}

// Config reads the files and returns the configuration. An error names the option at fault.
func (o *TLSOptions) Config() (*tls.Config, error) {
	c := &tls.Config{
		ServerName:         o.ServerName,
		InsecureSkipVerify: o.InsecureSkipVerify, //nolint:gosec // the operator may ask for it, of a staging system
		MinVersion:         o.MinVersion,
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate", o.CAFile)
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// TLSFor returns a configuration for a host. A foreign host is trusted by the same
// authorities, verified by its own name, and shown no client certificate: credentials
// are for the host that they were configured for.
func TLSFor(base *tls.Config, host string, foreign bool) *tls.Config {
	c := base.Clone()
	if foreign {
		c.Certificates, c.GetClientCertificate, c.ServerName = nil, nil, ""
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	return c
}

// Handshake opens TLS over a connection, which it leaves open after an error. Of
// its errors, Classify tells those of TLS from those of the network.
func Handshake(ctx context.Context, nc net.Conn, c *tls.Config) (*tls.Conn, error) {
	t := tls.Client(nc, c)
	err := t.HandshakeContext(ctx)
	switch {
	case err == nil:
		return t, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case died(err):
		return nil, err
	}
	return nil, &handshakeError{err}
}
