package target

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// pairOf returns a server's certificate and its key, as PEM.
func pairOf(t *testing.T, s *httptest.Server) (certificate, key []byte) {
	t.Helper()
	return pemOf(t, s.Certificate().Raw, s.TLS.Certificates[0].PrivateKey)
}

// newPair makes a certificate of a name, as PEM.
func newPair(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(t, der, private)
}

func pemOf(t *testing.T, der []byte, private any) (certificate, key []byte) {
	t.Helper()
	p8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: p8})
}

func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, o wire.TLSOptions) *wire.TLS {
	t.Helper()
	files, err := wire.NewTLS(o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// pipes is a listener inside a bubble, and what dials it.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p <- theirs
	return ours, nil
}

// TestAWatchShowsTheNewCertificateToItsTargetOnly reads a target and a Prometheus
// before and after files change: on connections of their own, and on kept ones.
func TestAWatchShowsTheNewCertificateToItsTargetOnly(t *testing.T) {
	trusted := httptest.NewTLSServer(nil)
	trusted.Close()
	ca, _ := pairOf(t, trusted)
	for _, h2 := range []bool{false, true} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			renew := func(name string) wire.TLSOptions {
				certificate, key := newPair(t, name)
				return wire.TLSOptions{CAFile: write(t, dir, "ca.pem", ca), CertFile: write(t, dir, "cert.pem", certificate), KeyFile: write(t, dir, "key.pem", key)}
			}
			var shown []string
			server := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Protocols: new(http.Protocols)}
			server.Protocols.SetHTTP1(!h2)
			server.Protocols.SetHTTP2(h2)
			server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				name := "none"
				if certificates := r.TLS.PeerCertificates; len(certificates) > 0 {
					name = certificates[0].Subject.CommonName
				}
				shown = append(shown, r.Host+" "+name)
				fmt.Fprint(w, `{"v":"v1","status":"success","data":{"resultType":"scalar","result":[1,"7"]}}`)
			})
			server.TLSConfig = &tls.Config{Certificates: trusted.TLS.Certificates, ClientAuth: tls.RequestClientCert}
			listener := make(pipes, 10)
			ended := make(chan error)
			go func() { ended <- server.ServeTLS(listener, "", "") }()

			c := configOf(t, "https://example.com", `
release: {url: /version, json: v}
resources: [{name: a, kind: memory, scrape: /metrics, metric: a}, {name: b, kind: memory, prometheus: "https://127.0.0.1", query: b}]
`)
			c.Client = &protocol.Client{TLS: open(t, renew("old"))}
			faults := new(wire.TLSFaults)
			w := NewWatch(Options{Config: c, Dial: listener.dial, TLSFaults: faults})
			read := func(want string) {
				t.Helper()
				shown = nil
				for _, r := range w.reads {
					_ = r.do(t.Context()) // the page is none, and that is no matter here
				}
				if all := []string{"example.com " + want, "example.com " + want, "127.0.0.1 none"}; !slices.Equal(shown, all) {
					t.Errorf("certificates shown %q, want %q", shown, all)
				}
			}
			read("old")
			renew("new")
			time.Sleep(time.Minute)
			read("new")
			write(t, dir, "key.pem", nil)
			time.Sleep(time.Minute)
			read("new")
			if faults.Count() == 0 {
				t.Error("files that cannot be used are no fault")
			}
			write(t, dir, "ca.pem", ca)
			renew("newest")
			time.Sleep(time.Minute)
			read("newest")
			other, key := newPair(t, "another authority")
			write(t, dir, "cert.pem", other)
			write(t, dir, "key.pem", key)
			write(t, dir, "ca.pem", other)
			time.Sleep(time.Minute)
			shown = nil
			for _, r := range w.reads {
				if err := r.do(t.Context()); faultOf(err) != tlsFailed {
					t.Errorf("with another authority: %v, want a failed handshake", err)
				}
			}

			w.client.closeIdle()
			close(listener)
			<-ended
			_ = server.Close()
		})
	}
}
