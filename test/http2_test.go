package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/perfd/perfd/bench/nginx"
)

// certificate writes the certificate of Go's test servers and its key, and returns the file.
func certificate(t *testing.T) string {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	file := filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// nginx ends each connection with GOAWAY after some requests, with others under way. That fails none.
func TestHTTP2WithNginx(t *testing.T) {
	const want = 10_000
	for _, c := range []struct {
		name, block string
		options     nginx.Options
		opened      float64 // connections, at least
	}{
		{"without TLS, shared", "{version: 2, connections: {pool: 2}}", nginx.Options{HTTP2: true, Requests: 500}, want / 500},
		{"with TLS, shared", "{version: auto, connections: {pool: 2}, tls: {insecure_skip_verify: true}}", nginx.Options{HTTP2: true, Requests: 500, Certificate: certificate(t)}, want / 500},
		{"with TLS, of each user", "{version: auto, tls: {insecure_skip_verify: true}}", nginx.Options{HTTP2: true, Requests: 100, Certificate: certificate(t)}, want / 100},
		{"with TLS, by a server of HTTP/1.1", "{version: auto, tls: {insecure_skip_verify: true}}", nginx.Options{Requests: 500, Certificate: certificate(t)}, want / 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Dir, c.options.Connections = t.TempDir(), 256
			server, err := nginx.Start(t.Context(), c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer server.Kill()
			d := start(t, fmt.Sprintf(`
safety: {max_request_rate: 100000/s}
targets:
  - {name: server, url: %q, http: %s}
scenarios:
  - name: users
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-vus, vus: 20}
    flow:
      - {name: get, http: {url: /}, expect: status == 200}
`, server.URL, c.block))
			m := until(t, d, time.Minute, atLeast(want, "perfd_requests_total"))
			if got := m.Value("perfd_request_failures_total"); got != 0 {
				t.Errorf("%v of %v requests failed", got, m.Value("perfd_requests_total"))
			}
			if got := m.Value("perfd_connections_opened_total"); got < c.opened {
				t.Errorf("%v connections were opened, want at least %v", got, c.opened)
			}
			if got := m.Value("perfd_protocol_version_changes_total"); got != 0 {
				t.Errorf("%v changes of the version, want 0", got)
			}
			stop(t, d)
		})
	}
}
