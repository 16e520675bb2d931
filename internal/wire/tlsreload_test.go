package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fixed is TLS without files.
func fixed(c *tls.Config) *TLS {
	t := &TLS{}
	t.now.Store(c)
	return t
}

// lookAgain makes the next call of Current look at the files.
func (t *TLS) lookAgain() { t.next.Store(0) }

// An authority signs certificates and writes them to a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir string) *authority {
	a := &authority{t: t, dir: dir}
	a.key = a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = a.sign(template, template, &a.key.PublicKey)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, public *ecdsa.PublicKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// pair makes a certificate and its key, as PEM.
func (a *authority) pair(name string) (cert, key []byte) {
	private := a.newKey()
	c := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &private.PublicKey)
	p8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return encoded("CERTIFICATE", c.Raw), encoded("PRIVATE KEY", p8)
}

func (a *authority) pem() []byte { return encoded("CERTIFICATE", a.cert.Raw) }

func encoded(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// write writes a file in place.
func (a *authority) write(name string, text []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// replace writes a file as agents do: beside the old one, and then over it.
func (a *authority) replace(name string, text []byte) {
	if err := os.Rename(a.write(name+".new", text), filepath.Join(a.dir, name)); err != nil {
		a.t.Fatal(err)
	}
}

// options names the files of a client, which are written first.
func (a *authority) options(client string) TLSOptions {
	cert, key := a.pair(client)
	return TLSOptions{CAFile: a.write("ca.pem", a.pem()), CertFile: a.write("cert.pem", cert), KeyFile: a.write("key.pem", key)}
}

func clientName(t *testing.T, c *tls.Config) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

func TestTLSFilesAreReadAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, a *authority)
	}{
		{"a renewed certificate takes the place of the old", func(_ *testing.T, a *authority) {
			cert, key := a.pair("new")
			a.replace("key.pem", key)
			a.replace("cert.pem", cert)
		}},
		{"the files are written in place", func(_ *testing.T, a *authority) {
			cert, key := a.pair("new")
			a.write("cert.pem", cert)
			a.write("key.pem", key)
		}},
		{"size and time of the files stay", func(t *testing.T, a *authority) {
			cert, key := a.pair("new")
			for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
				path := filepath.Join(a.dir, name)
				was, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				a.write(name, text)
				if err := os.Chtimes(path, was.ModTime(), was.ModTime()); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"a link leads to another folder, as in Kubernetes", func(t *testing.T, a *authority) {
			later := *a
			later.dir = t.TempDir()
			cert, key := a.pair("new")
			later.write("cert.pem", cert)
			later.write("key.pem", key)
			for _, name := range []string{"cert.pem", "key.pem"} {
				link := filepath.Join(a.dir, name)
				if err := os.Remove(link); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(filepath.Join(later.dir, name), link); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, outer := t.TempDir(), t
			synctest.Test(t, func(t *testing.T) {
				a := newAuthority(t, dir)
				files, err := NewTLS(a.options("old"))
				if err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				faults := &TLSFaults{Log: slog.New(slog.NewTextHandler(&log, nil))}
				first := files.Current(faults)
				c.change(outer, a)
				time.Sleep(lookEvery - 1)
				if files.Current(faults) != first {
					t.Errorf("the files are looked at before %v have passed", lookEvery)
				}
				time.Sleep(time.Nanosecond)
				second := files.Current(faults)
				if got := clientName(t, second); got != "new" || clientName(t, first) != "old" {
					t.Errorf("the certificate is %q, want the new one", got)
				}
				time.Sleep(time.Hour)
				if files.Current(faults) != second {
					t.Error("the configuration changes without a change of its files")
				}
				if faults.Count() != 0 || strings.Count(log.String(), "in use for new connections") != 1 {
					t.Errorf("%d faults, and the log has\n%s", faults.Count(), &log)
				}
			})
		})
	}
}

func TestBrokenTLSFilesLeaveWhatWasThere(t *testing.T) {
	for _, c := range []struct {
		name, says string
		broken     func(a *authority)
	}{
		{"half a certificate", "cert_file", func(a *authority) {
			cert, _ := a.pair("new")
			a.write("cert.pem", cert[:len(cert)/2])
		}},
		{"a certificate whose key has yet to come", "cert_file", func(a *authority) {
			cert, _ := a.pair("new")
			a.replace("cert.pem", cert)
		}},
		{"no key", "key_file", func(a *authority) { os.Remove(filepath.Join(a.dir, "key.pem")) }},
		{"no authority", "ca_file", func(a *authority) { a.write("ca.pem", []byte("none\n")) }},
		{"a pipe", "ca_file", func(a *authority) {
			path := filepath.Join(a.dir, "ca.pem")
			os.Remove(path)
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				a.t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				a := newAuthority(t, dir)
				files, err := NewTLS(a.options("old"))
				if err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				faults := &TLSFaults{Log: slog.New(slog.NewTextHandler(&log, nil))}
				before := files.Current(faults)
				c.broken(a)
				for range 3 {
					time.Sleep(lookEvery)
					if files.Current(faults) != before {
						t.Error("a broken file changes the configuration")
					}
				}
				if faults.Count() != 3 {
					t.Errorf("%d faults, want one for each look", faults.Count())
				}
				if text := log.String(); strings.Count(text, "cannot be used") != 1 || !strings.Contains(text, c.says) {
					t.Errorf("the log, which is to name %s once:\n%s", c.says, text)
				}
				cert, key := a.pair("new")
				a.replace("cert.pem", cert)
				a.replace("key.pem", key)
				a.replace("ca.pem", a.pem())
				time.Sleep(lookEvery)
				if got := clientName(t, files.Current(faults)); got != "new" || faults.Count() != 3 {
					t.Errorf("once mended, the certificate is %q with %d faults", got, faults.Count())
				}
				c.broken(a)
				time.Sleep(lookEvery)
				files.Current(nil) // nobody to tell
			})
		})
	}
}

func TestCurrentCostsNothing(t *testing.T) {
	a := newAuthority(t, t.TempDir())
	files, err := NewTLS(a.options("c"))
	if err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]*TLS{"with files": files, "without": fixed(&tls.Config{MinVersion: tls.VersionTLS12}), "none": nil} {
		if n := testing.AllocsPerRun(100, func() { one.Current(nil) }); n > 0 {
			t.Errorf("%s: Current allocates %v times", name, n)
		}
	}
}

// mutual is a server that asks for a certificate, and keeps whose it saw on each connection.
type mutual struct {
	*httptest.Server
	mu    sync.Mutex
	names []string
}

func newMutual(t *testing.T, a *authority, h2 bool) *mutual {
	m := &mutual{}
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "x")
	}))
	cert, key := a.pair("server")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	m.EnableHTTP2 = h2
	m.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(s tls.ConnectionState) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.names = append(m.names, s.PeerCertificates[0].Subject.CommonName)
			return nil
		},
	}
	m.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	m.StartTLS()
	t.Cleanup(m.Close)
	return m
}

func (m *mutual) seen() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.names...)
}

func TestConnectionsOfLoadShowTheNewCertificate(t *testing.T) {
	a := newAuthority(t, t.TempDir())
	server := newMutual(t, a, false)
	files, err := NewTLS(a.options("old"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := ParseOrigin(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	o.TLS = true
	s := newSubject(t, &o)
	s.t.TLS = files
	request := func() error { return s.do(time.Minute) }
	if err := request(); err != nil {
		t.Fatal(err)
	}
	cert, key := a.pair("new")
	a.replace("cert.pem", cert)
	a.replace("key.pem", key)
	files.lookAgain()
	if err := request(); err != nil { // on the connection there is
		t.Fatal(err)
	}
	s.Close()
	if err := request(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(server.seen(), " "); got != "old new" {
		t.Errorf("connections showed %q, want the old certificate and then the new one", got)
	}

	// An authority that is replaced by another is no longer trusted.
	a.replace("ca.pem", newAuthority(t, t.TempDir()).pem())
	files.lookAgain()
	s.Close()
	if err := request(); err == nil || !isTLS(err) {
		t.Errorf("with another authority: %v, want a failed handshake", err)
	}
	a.replace("ca.pem", a.pem())
	files.lookAgain()
	if err := request(); err != nil {
		t.Errorf("with the old authority again: %v", err)
	}
}

func TestRequestsShowTheNewCertificate(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, t.TempDir())
			server := newMutual(t, a, h2)
			files, err := NewTLS(a.options("old"))
			if err != nil {
				t.Fatal(err)
			}
			by := NewRoundTripper(&http.Transport{ForceAttemptHTTP2: h2}, files, nil)
			get := func() error {
				res, err := (&http.Client{Transport: by}).Get(server.URL)
				if err != nil {
					return err
				}
				defer res.Body.Close()
				_, err = io.Copy(io.Discard, res.Body)
				return err
			}
			defer by.CloseIdleConnections()
			for range 3 {
				if err := get(); err != nil {
					t.Fatal(err)
				}
			}
			cert, key := a.pair("new")
			a.replace("cert.pem", cert)
			a.replace("key.pem", key)
			files.lookAgain()
			for range 3 {
				if err := get(); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(server.seen(), " "); got != "old new" {
				t.Errorf("connections showed %q, want one with each certificate", got)
			}
			a.replace("ca.pem", newAuthority(t, t.TempDir()).pem())
			files.lookAgain()
			if err := get(); err == nil {
				t.Error("a server that a removed authority signed is trusted")
			}
		})
	}
}
