package wire

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crypto/tls allocates small readers for each record, here four at both ends together. Nothing may come
// on top but what pools drop on purpose under the race detector.
func TestTLSInSteadyStateAllocatesNothingOfItsOwn(t *testing.T) {
	srv := httptest.NewTLSServer(nil)
	certificate, roots := srv.TLS.Certificates[0], x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	srv.Close()
	l := listen(t, func(nc net.Conn) {
		c := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{certificate}})
		p, answer := make([]byte, 1024), []byte(hello)
		for {
			if n, err := c.Read(p); n == 0 || err != nil {
				return
			}
			c.Write(answer)
		}
	})
	o := l.origin()
	o.TLS = true
	s := newSubject(t, o)
	s.t.TLS = fixed(&tls.Config{RootCAs: roots})
	if n := testing.AllocsPerRun(200, func() {
		if err := s.do(time.Minute); err != nil {
			t.Fatal(err)
		}
	}); n > 6 {
		t.Errorf("an exchange over TLS allocates %v times, want at most 6", n)
	}
}

func TestTLSOptions(t *testing.T) {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	empty := write("empty.pem", nil)
	for _, c := range []struct {
		o    TLSOptions
		want string // of the error
	}{
		{TLSOptions{}, ""},
		{TLSOptions{CAFile: ca, ServerName: "example.com", MinVersion: tls.VersionTLS13}, ""},
		{TLSOptions{CAFile: filepath.Join(dir, "none.pem")}, "none.pem: no such file"},
		{TLSOptions{CAFile: empty}, "holds no certificate"},
		{TLSOptions{CertFile: ca}, "cert_file: "},
		{TLSOptions{CertFile: ca, KeyFile: empty}, "cert_file: "},
	} {
		made, err := NewTLS(c.o)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
		if err != nil {
			continue
		}
		if got := made.Current(nil); got.MinVersion < tls.VersionTLS12 {
			t.Errorf("%+v: oldest version %x, want TLS 1.2 or later", c.o, got.MinVersion)
		}
	}
}

func TestCredentialsAreForTheirHost(t *testing.T) {
	base := &tls.Config{
		ServerName: "shop.internal", RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
		Certificates:         []tls.Certificate{{}},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil },
	}
	for _, c := range []struct {
		base        *tls.Config
		foreign     bool
		name        string
		credentials bool
	}{
		{base, false, "shop.internal", true},
		{base, true, "shop", false},
		{&tls.Config{Certificates: base.Certificates}, false, "shop", true},
		{&tls.Config{Certificates: base.Certificates}, true, "shop", false},
	} {
		got := TLSFor(c.base, "shop", c.foreign)
		if shows := len(got.Certificates) > 0 || got.GetClientCertificate != nil; got.ServerName != c.name || shows != c.credentials {
			t.Errorf("foreign %v: name %q, shows a certificate %v; want %q, %v", c.foreign, got.ServerName, shows, c.name, c.credentials)
		}
		if got.RootCAs != c.base.RootCAs || got.MinVersion != c.base.MinVersion || got.InsecureSkipVerify != c.base.InsecureSkipVerify {
			t.Errorf("foreign %v: another trust than the base's", c.foreign)
		}
	}
}
