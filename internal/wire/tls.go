package wire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
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
