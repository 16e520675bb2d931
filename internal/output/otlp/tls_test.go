package otlp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// newPair makes a certificate that signs itself, and its key.
func newPair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	p8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: p8})
}

// Each connection of gRPC, and each request by HTTP, takes what the files hold at that moment.
func TestARenewedCertificateIsShown(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until certificates are looked at again")
	}
	for _, protocol := range []string{protocolHTTP, protocolGRPC} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var names []string
			serverCert, serverKey := newPair(t, "server")
			pair, err := tls.X509KeyPair(serverCert, serverKey)
			if err != nil {
				t.Fatal(err)
			}
			secure := &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2", "http/1.1"},
				VerifyConnection: func(s tls.ConnectionState) error {
					mu.Lock()
					defer mu.Unlock()
					names = append(names, s.PeerCertificates[0].Subject.CommonName)
					return nil
				},
			}
			var url string
			drop := func() {}
			if protocol == protocolHTTP {
				var got received
				server := httptest.NewUnstartedServer(got.handler(t, 0))
				server.TLS = secure
				server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
				server.StartTLS()
				defer server.Close()
				url = server.URL
			} else {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				kept := &keeper{Listener: l}
				server := grpc.NewServer(grpc.Creds(credentials.NewTLS(secure)))
				collector.RegisterTraceServiceServer(server, &grpcCollector{})
				var served sync.WaitGroup
				served.Go(func() { _ = server.Serve(kept) })
				defer served.Wait()
				defer server.Stop()
				url, drop = "https://"+l.Addr().String(), kept.drop
			}
			dir := t.TempDir()
			write := func(name string, text []byte) {
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("ca.pem", serverCert)
			renew := func(name string) {
				cert, key := newPair(t, name)
				write("key.pem", key)
				write("cert.pem", cert)
			}
			renew("old")
			e := build(t, Options{Dir: dir, Config: must(t, "{endpoint: '"+url+"', protocol: "+protocol+", delay: 1ms, tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}}")})
			ctx, cancel := context.WithCancel(t.Context())
			var run sync.WaitGroup
			run.Go(func() { e.Run(ctx) })
			send := func() {
				e.tracer(shop()).Trace(iteration(true, 1, 2))
				for end := time.Now().Add(10 * time.Second); e.Stats().Queued > 0 && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
			}
			send()
			renew("new")
			for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
				drop()
				send()
				mu.Lock()
				shown := slices.Contains(names, "new")
				mu.Unlock()
				if shown {
					break
				}
			}
			cancel()
			run.Wait()
			if err := e.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if len(names) < 2 || names[0] != "old" || names[len(names)-1] != "new" {
				t.Errorf("connections showed %v, want the old certificate and then the new one; %+v", names, e.Stats())
			}
		})
	}
}

// A keeper is a listener that can drop its connections.
type keeper struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (k *keeper) Accept() (net.Conn, error) {
	c, err := k.Listener.Accept()
	if err == nil {
		k.mu.Lock()
		k.conns = append(k.conns, c)
		k.mu.Unlock()
	}
	return c, err
}

func (k *keeper) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		c.Close()
	}
	k.conns = nil
}
