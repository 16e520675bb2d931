package web

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// selfSigned writes a certificate for 127.0.0.1 and its key, and returns what trusts it.
func selfSigned(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	writeFile(t, filepath.Join(dir, "cert.pem"), certText)
	writeFile(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certText)
	return pool
}

func writeFile(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// basicAuth lets in the user me; it is the bcrypt hash of "secret" at its lowest cost.
const basicAuth = "basic_auth_users: {me: $2a$04$UDXt8lE7NmbpR.GNS/AuxeEV1gB4/VyVX3yVXO8fI/ZncZ1xf5h06}\n"

func TestServerSpeaksTLSAndAsksForAPassword(t *testing.T) {
	dir := t.TempDir()
	pool := selfSigned(t, dir)
	config := filepath.Join(dir, "web.yaml")
	writeFile(t, config, []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"+basicAuth))
	s, err := Listen([]string{"127.0.0.1:0", "127.0.0.1:0"}, config, handler(&fake{ready: true}, true), Place{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	for _, addr := range s.Addrs() {
		for path, code := range map[string]int{"/-/healthy": 200, "/-/ready": 200, "/metrics": 401, "/": 401, "/-/pause": 401, "/-/healthy/x": 401} {
			resp, err := client.Get("https://" + addr.String() + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != code {
				t.Errorf("%s without a password = %d, want %d", path, resp.StatusCode, code)
			}
		}
		resp, err := client.Post("https://"+addr.String()+"/-/healthy", "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a POST to a probe without a password = %d, want 401", resp.StatusCode)
		}
		for _, c := range []struct {
			scheme, password string
			code             int
		}{
			{"https", "secret", http.StatusOK},
			{"https", "wrong", http.StatusUnauthorized},
			{"https", "", http.StatusUnauthorized},
			{"http", "secret", http.StatusBadRequest},
		} {
			r, err := http.NewRequest("GET", c.scheme+"://"+addr.String()+"/api/v1/status", nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.password != "" {
				r.SetBasicAuth("me", c.password)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Errorf("%s with the password %q: %v", c.scheme, c.password, err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != c.code {
				t.Errorf("%s with the password %q = %d, want %d", c.scheme, c.password, resp.StatusCode, c.code)
			}
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"nonsense.yaml": "nonsense: 1\n",
		"nocert.yaml":   "tls_server_config: {cert_file: absent.pem, key_file: absent.pem}\n",
		"nohash.yaml":   "basic_auth_users: {me: secret}\n",
	} {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ name, address, config, want string }{
		{"a web configuration that is not there", "127.0.0.1:0", "absent.yaml", "--web.config.file"},
		{"an unknown key", "127.0.0.1:0", "nonsense.yaml", "nonsense"},
		{"a certificate that is not there", "127.0.0.1:0", "nocert.yaml", "absent.pem"},
		{"a password that is not hashed", "127.0.0.1:0", "nohash.yaml", "hashedSecret"},
		{"an address that is none", "nonsense", "", "--web.listen-address"},
		{"a port that is taken", taken.Addr().String(), "", "address already in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := ""
			if c.config != "" {
				config = filepath.Join(dir, c.config)
			}
			_, err := Listen([]string{"127.0.0.1:0", c.address}, config, http.NotFoundHandler(), Place{}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Listen = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestShutdownLetsRequestsEnd(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(inside)
		<-leave
		io.WriteString(w, "done")
	}))
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + s.Addrs()[0].String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		answered <- string(text)
	}()
	<-inside
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	close(leave)
	if got := <-answered; got != "done" {
		t.Errorf("the request under way got %q, want its answer", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	inside := make(chan struct{})
	s := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(inside)
		<-r.Context().Done()
	}))
	asked := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + s.Addrs()[0].String())
		if err == nil {
			resp.Body.Close()
		}
		asked <- err
	}()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("Shutdown = nil with a request that does not end, want the context's error")
	}
	if err := <-asked; err == nil {
		t.Error("a request that does not end was answered")
	}
	http.DefaultClient.CloseIdleConnections()
}

func serve(t *testing.T, h http.Handler) *Server {
	t.Helper()
	s, err := Listen([]string{"127.0.0.1:0"}, "", h, Place{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	return s
}

// TestStalledReaderIsLetGo has a scraper that asks for much and reads nothing.
func TestStalledReaderIsLetGo(t *testing.T) {
	ended := make(chan error, 1)
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 256 {
			if _, err := w.Write(chunk); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	})
	s := serve(t, bounded(metrics, 200*time.Millisecond))
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !os.IsTimeout(err) {
		t.Errorf("writing to a reader that reads nothing = %v, want a timeout", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
