package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

var quiet = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of servers that are mistreated

// each hands every connection to f, many at a time, and waits for all of them in the end.
func each(t testing.TB, f func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "http://" + l.Addr().String()
}

// A server may close a connection at the moment at which its user ends thinking,
// which is not a failure.
func TestIdleTimeoutAsLongAsTheThinkTime(t *testing.T) {
	t.Parallel()
	const idle, users = 2 * time.Millisecond, 20
	requests := 500
	if testing.Short() {
		requests = 50
	}
	base := each(t, func(c net.Conn) {
		for readHead(c); ; readHead(c) {
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
			c.SetReadDeadline(time.Now().Add(idle))
			p := make([]byte, 1)
			if _, err := c.Read(p); err != nil {
				return
			}
		}
	})
	r := newRig(t, base)
	s := r.step(`{url: /}`)
	r.get(`{url: /}`) // opens what users share
	r.vu.Close()
	var wg sync.WaitGroup
	for id := range users {
		vu := &protocol.VU{ID: id, Env: r.env}
		wg.Go(func() {
			defer vu.Close()
			call := protocol.Call{VU: vu, Scope: r.scope, Keep: &r.keep}
			for i := range requests {
				call.Result, call.Err = load.Result{}, nil
				call.Deadline = r.env.Now() + 30*time.Second
				if s.Do(&call); call.Err != nil {
					t.Errorf("request %d of user %d: %v (%v)", i, id, call.Result.Cause, call.Err)
					return
				}
				<-time.After(idle + time.Duration(i%20-10)*idle/20)
			}
		})
	}
	wg.Wait()
}

// An issuer signs certificates for the tests.
type issuer struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newIssuer(t testing.TB) *issuer {
	a := &issuer{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = a.make(template, template, nil)
	a.cert, _ = x509.ParseCertificate(der)
	a.file = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *issuer) make(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(crand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

func (a *issuer) write(name, kind string, der []byte) string {
	path := filepath.Join(a.t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue returns a certificate for 127.0.0.1 and clients, and its files.
func (a *issuer) issue() (pair tls.Certificate, certFile, keyFile string) {
	key, der := a.make(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	p8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, a.write("cert.pem", "CERTIFICATE", der), a.write("key.pem", "PRIVATE KEY", p8)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	a, stranger := newIssuer(t), newIssuer(t)
	pair, certFile, keyFile := a.issue()
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	server := func(c *tls.Config) string {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			io.Copy(w, q.Body)
			io.WriteString(w, strings.Repeat("x", 10_000))
		}))
		srv.TLS, srv.Config.ErrorLog = c, quiet
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv.URL
	}
	open := server(&tls.Config{Certificates: []tls.Certificate{pair}})
	old := server(&tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12})
	closed := func(version uint16) string {
		return server(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: version})
	}
	for _, c := range []struct {
		name, base, target string
		want               load.Cause
	}{
		{"own authority", open, "tls: {ca_file: " + a.file + "}", load.None},
		{"own authority, TLS 1.2", old, "tls: {ca_file: " + a.file + "}", load.None},
		{"other authority", open, "tls: {ca_file: " + stranger.file + "}", load.TLS},
		{"the system's authorities", open, "", load.TLS},
		{"not verified", open, "tls: {insecure_skip_verify: true}", load.None},
		{"other name", open, "tls: {server_name: example.com, ca_file: " + a.file + "}", load.TLS},
		{"client certificate", closed(tls.VersionTLS13), "tls: {ca_file: " + a.file + ", cert_file: " + certFile + ", key_file: " + keyFile + "}", load.None},
		{"no client certificate", closed(tls.VersionTLS13), "tls: {ca_file: " + a.file + "}", load.TLS},
		{"no client certificate, TLS 1.2", closed(tls.VersionTLS12), "tls: {ca_file: " + a.file + "}", load.TLS},
		{"plaintext server", "https" + strings.TrimPrefix(serve(t, func(http.ResponseWriter, *http.Request) {}), "http"), "", load.TLS},
		{"TLS server asked in plaintext", "http" + strings.TrimPrefix(open, "https"), "", load.None}, // Go answers 400
		{"server that leaves", "https" + strings.TrimPrefix(raw(t, func(c net.Conn) { c.Read(make([]byte, 16<<10)) }), "http"), "", load.Closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.base)
			r.target = c.target
			s := r.step(`{url: /, body: hello}`)
			for range 3 {
				call := r.do(s, 10*time.Second)
				if call.Result.Cause != c.want {
					t.Fatalf("cause = %v (%v), want %v", call.Result.Cause, call.Err, c.want)
				}
				if c.want == load.None && strings.HasPrefix(c.base, "https") && (call.Response.Size() != 10_005 || call.Result.Code != 200) {
					t.Errorf("code %d, %d bytes, want 200 and 10005", call.Result.Code, call.Response.Size())
				}
			}
			if n := r.env.Connections.Opened.Load(); c.want == load.None && strings.HasPrefix(c.base, "https") && n != 1 {
				t.Errorf("three requests opened %d connections, want 1", n)
			}
		})
	}
}

func TestTLSHandshakeThatHangs(t *testing.T) {
	entered := make(chan struct{}, 2)
	base := "https" + strings.TrimPrefix(raw(t, func(c net.Conn) { entered <- struct{}{}; io.Copy(io.Discard, c) }), "http")
	r := newRig(t, base)
	s := r.step(`{url: /}`)
	if call := r.do(s, 50*time.Millisecond); call.Result.Cause != load.Timeout {
		t.Errorf("cause = %v (%v), want %v", call.Result.Cause, call.Err, load.Timeout)
	}
	<-entered
	go func() { <-entered; r.vu.Interrupt() }()
	if call := r.do(s, time.Hour); call.Result.Cause != load.Canceled {
		t.Errorf("interrupted: cause = %v (%v), want %v", call.Result.Cause, call.Err, load.Canceled)
	}
}

// An idle TLS connection that its server closed is replaced before a request
// that must not be sent twice is written to it.
func TestIdleTLSConnectionThatItsServerClosed(t *testing.T) {
	t.Parallel()
	a := newIssuer(t)
	pair, _, _ := a.issue()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: version}
		srv.StartTLS()
		r := newRig(t, srv.URL)
		r.target = "tls: {ca_file: " + a.file + "}"
		s := r.step(`{url: /, method: POST}`)
		for i := range 20 {
			if call := r.do(s, 10*time.Second); call.Err != nil {
				t.Fatalf("TLS %x, request %d: %v (%v)", version, i, call.Result.Cause, call.Err)
			}
			srv.CloseClientConnections()       // and wait for that
			<-time.After(2 * time.Millisecond) // the think time
		}
		r.vu.Close()
		srv.Close()
	}
}

func zipped(p []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(p)
	z.Close()
	return b.Bytes()
}

func TestGzipBodies(t *testing.T) {
	plain := bytes.Repeat([]byte("all work and no play "), 5000)
	good := zipped(plain)
	wrong := bytes.Clone(good)
	wrong[len(wrong)/2] ^= 0xff
	sum := bytes.Clone(good)
	sum[len(sum)-5] ^= 0xff
	head := "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
	length := func(n int) string { return head + "Content-Length: " + strconv.Itoa(n) + "\r\n\r\n" }
	chunk := func(p []byte) string {
		return head + "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(p)), 16) + "\r\n" + string(p) + "\r\n0\r\n\r\n"
	}
	for _, c := range []struct {
		name, answer string
		want         load.Cause
		size         int
	}{
		{"whole", length(len(good)) + string(good), load.None, len(plain)},
		{"chunked", chunk(good), load.None, len(plain)},
		{"two members", chunk(append(bytes.Clone(good), good...)), load.None, 2 * len(plain)},
		{"empty", length(0), load.None, 0},
		{"empty and chunked", head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", load.None, 0},
		{"until close", head + "\r\n" + string(good), load.None, len(plain)},
		{"corrupt", length(len(wrong)) + string(wrong), load.Protocol, 0},
		{"wrong checksum", length(len(sum)) + string(sum), load.Protocol, 0},
		{"not gzip", length(5) + "hello", load.Protocol, 0},
		{"stream cut, framing whole", length(len(good)/2) + string(good[:len(good)/2]), load.Protocol, 0},
		{"connection cut", length(len(good)) + string(good[:len(good)/2]), load.Partial, 0},
	} {
		for _, keep := range []bool{false, true} {
			t.Run(c.name+", kept "+strconv.FormatBool(keep), func(t *testing.T) {
				r := newRig(t, raw(t, func(nc net.Conn) { readHead(nc); io.WriteString(nc, c.answer) }))
				r.keep.Body = keep
				call := r.get(`{url: /, gzip: true}`)
				if call.Result.Cause != c.want {
					t.Fatalf("cause = %v (%v), want %v", call.Result.Cause, call.Err, c.want)
				}
				if c.want != load.None {
					return
				}
				if n := call.Response.Size(); n != int64(c.size) {
					t.Errorf("size = %d, want %d", n, c.size)
				}
				if keep && c.size > 0 && !bytes.HasPrefix(call.Response.Body(), plain) {
					t.Error("the body kept is not what was zipped")
				}
			})
		}
	}
}

func TestBodyLargerThanWhatIsKept(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 3<<20)) })
	r := newRig(t, base)
	if call := r.get(`{url: /}`); call.Err != nil || call.Response.Size() != 3<<20 {
		t.Errorf("not kept: %v, size %d, want none and %d", call.Err, call.Response.Size(), 3<<20)
	}
	r.keep.Body = true
	if call := r.get(`{url: /}`); call.Err != nil || len(call.Response.Body()) != 3<<20 {
		t.Errorf("kept: %v, %d bytes, want %d", call.Err, len(call.Response.Body()), 3<<20)
	}
	for _, yaml := range []string{`{url: /, max_read: 1MiB}`, `{url: /, max_read: 3145727B}`, `{url: /, max_read: 10B}`} {
		if call := r.get(yaml); call.Result.Cause != load.Overload {
			t.Errorf("%s: cause = %v (%v), want %v", yaml, call.Result.Cause, call.Err, load.Overload)
		}
	}
	if call := r.get(`{url: /, max_read: 3MiB}`); call.Err != nil {
		t.Errorf("exactly what may be read: %v", call.Err)
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	size := int64(20 << 20)
	if testing.Short() {
		size = 8 << 20 // more than the buffers of both sockets
	}
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), int(size)), 0o600); err != nil {
		t.Fatal(err)
	}
	var got atomic.Int64
	for name, serveTLS := range map[string]bool{"plaintext": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Path == "/refuse" {
					w.WriteHeader(413)
					return
				}
				n, _ := io.Copy(io.Discard, q.Body)
				got.Store(n)
			}))
			srv.Config.ErrorLog = quiet
			if serveTLS {
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			r := newRig(t, srv.URL)
			r.target = "tls: {insecure_skip_verify: true}"
			for range 2 {
				call := r.do(r.step(`{url: /, file: `+file+`}`), 30*time.Second)
				if call.Err != nil || got.Load() != size || call.Result.SentBytes < size {
					t.Fatalf("%v (%v); %d bytes arrive and %d are sent, want %d", call.Result.Cause, call.Err, got.Load(), call.Result.SentBytes, size)
				}
			}
			if n := r.env.Connections.Opened.Load(); n != 1 {
				t.Errorf("two uploads opened %d connections, want 1", n)
			}
			call := r.do(r.step(`{url: /refuse, file: `+file+`}`), 30*time.Second)
			if call.Err != nil || call.Result.Code != 413 {
				t.Errorf("a body refused: code %d, %v (%v), want 413", call.Result.Code, call.Result.Cause, call.Err)
			}
			if call := r.do(r.step(`{url: /, body: x}`), 30*time.Second); call.Err != nil {
				t.Errorf("after a body refused: %v (%v)", call.Result.Cause, call.Err)
			}
			r.vu.Close()
		})
	}
}

func TestAnswersMayBreakAnywhere(t *testing.T) {
	t.Parallel()
	text := "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n"
	var at atomic.Int64
	r := newRig(t, raw(t, func(c net.Conn) {
		for readHead(c); at.Load() < int64(len(text)); readHead(c) {
			i := at.Add(1) - 1
			if _, err := io.WriteString(c, text[:i]); err != nil {
				return
			}
			<-time.After(100 * time.Microsecond) // so that the client meets the break
			if _, err := io.WriteString(c, text[i:]); err != nil {
				return
			}
		}
	}))
	r.keep.Body = true
	s := r.step(`{url: /}`)
	for i := range text {
		call := r.do(s, 10*time.Second)
		if call.Err != nil || string(call.Response.Body()) != "abc0123456789" || call.Result.ReceivedBytes != int64(len(text)) {
			t.Fatalf("broken at %d: %v (%v), body %q", i, call.Result.Cause, call.Err, call.Response.Body())
		}
	}
	if n := r.env.Connections.Opened.Load(); n != 1 {
		t.Errorf("%d connections opened, want 1", n)
	}
	r.vu.Close()
}

func TestMaxAgeReplacesConnections(t *testing.T) { overEach(t, testMaxAgeReplacesConnections) }

func testMaxAgeReplacesConnections(t *testing.T) {
	r := newRig(t, serve(t, func(http.ResponseWriter, *http.Request) {}))
	r.target = "connections: {max_age: 1ms}"
	s := r.step(`{url: /}`)
	for range 5 {
		if call := r.do(s, 10*time.Second); call.Err != nil {
			t.Fatal(call.Err)
		}
		<-time.After(2 * time.Millisecond) // the think time
	}
	if n := r.env.Connections.Closed[load.ClosedAge].Load(); n != 4 {
		t.Errorf("%d connections closed by age, want 4", n)
	}
}

func TestConnectionsFollowDNS(t *testing.T) {
	var hits [2]atomic.Int64
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(first.Addr().String())
	second, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Skipf("this system has no second loopback address: %v", err)
	}
	for i, l := range []net.Listener{first, second} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits[i].Add(1) }))
		srv.Listener.Close()
		srv.Listener = l
		srv.Start()
		defer srv.Close()
	}
	var now atomic.Pointer[netip.Addr]
	set := func(s string) { a := netip.MustParseAddr(s); now.Store(&a) }
	set("127.0.0.1")
	r := newRig(t, "http://shop.localhost:"+port)
	r.target = "connections: {dns_refresh: 1ms}"
	r.env.Dialer = wire.NewDialer(wire.DialerOptions{
		Lookup: func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{*now.Load()}, nil },
	})
	s := r.step(`{url: /}`)
	if call := r.do(s, 10*time.Second); call.Err != nil || hits[0].Load() != 1 {
		t.Fatalf("%v (%v), want an answer of the first server", call.Result.Cause, call.Err)
	}
	set("127.0.0.2")
	for begin := time.Now(); hits[1].Load() == 0; {
		if call := r.do(s, 10*time.Second); call.Err != nil {
			t.Fatal(call.Err)
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("requests still go to an address that DNS no longer names")
		}
	}
	if n := r.env.Connections.Closed[load.ClosedAge].Load(); n != 1 {
		t.Errorf("%d connections closed by age, want 1", n)
	}
	r.vu.Close()
}

func TestInterruptDuringLookup(t *testing.T) {
	entered := make(chan struct{})
	r := newRig(t, "http://shop.localhost:1")
	r.env.Dialer = wire.NewDialer(wire.DialerOptions{Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	go func() { <-entered; r.vu.Interrupt() }()
	if call := r.do(r.step(`{url: /}`), time.Hour); call.Result.Cause != load.Canceled {
		t.Errorf("cause = %v (%v), want %v", call.Result.Cause, call.Err, load.Canceled)
	}
}

func TestLookupThatFails(t *testing.T) {
	for _, c := range []struct {
		err  error
		want load.Cause
	}{
		{&net.DNSError{Err: "no such host", IsNotFound: true}, load.DNS},
		{&net.DNSError{Err: "server misbehaving"}, load.DNS},
	} {
		r := newRig(t, "http://shop.localhost:1")
		r.env.Dialer = wire.NewDialer(wire.DialerOptions{Lookup: func(context.Context, string) ([]netip.Addr, error) { return nil, c.err }})
		if call := r.get(`{url: /}`); call.Result.Cause != c.want {
			t.Errorf("%v: cause = %v, want %v", c.err, call.Result.Cause, c.want)
		}
	}
	r := newRig(t, "http://shop.localhost:1")
	r.env.Dialer = wire.NewDialer(wire.DialerOptions{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
	}})
	var refused *wire.RefusedError
	if call := r.get(`{url: /}`); call.Result.Cause != load.Overload || !errors.As(call.Err, &refused) {
		t.Errorf("a name that leads to a metadata service: cause = %v (%v), want %v by the guard", call.Result.Cause, call.Err, load.Overload)
	}
}

func TestInterruptDuringBody(t *testing.T) {
	for name, head := range map[string]string{"length": "Content-Length: 100", "chunks": "Transfer-Encoding: chunked", "close": "X: y"} {
		entered := make(chan struct{})
		r := newRig(t, raw(t, func(c net.Conn) {
			readHead(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head+"\r\n\r\n5\r\nab")
			close(entered)
			io.Copy(io.Discard, c)
		}))
		go func() { <-entered; r.vu.Interrupt() }()
		if call := r.do(r.step(`{url: /}`), time.Hour); call.Result.Cause != load.Canceled {
			t.Errorf("%s: cause = %v (%v), want %v", name, call.Result.Cause, call.Err, load.Canceled)
		}
		r.vu.Close()
	}
}

func TestInterruptDuringUpload(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	r := newRig(t, raw(t, func(c net.Conn) { readHead(c); close(entered); <-leave }))
	go func() { <-entered; r.vu.Interrupt() }()
	if call := r.do(r.step(`{url: /, file: `+file+`}`), time.Hour); call.Result.Cause != load.Canceled {
		t.Errorf("cause = %v (%v), want %v", call.Result.Cause, call.Err, load.Canceled)
	}
	close(leave)
}

func TestLimitOfConnections(t *testing.T) {
	r := newRig(t, serve(t, func(http.ResponseWriter, *http.Request) {}))
	r.env.Dialer = wire.NewDialer(wire.DialerOptions{MaxConnections: 1})
	s := r.step(`{url: /}`)
	if call := r.do(s, 10*time.Second); call.Err != nil {
		t.Fatal(call.Err)
	}
	first := r.vu
	r.vu = &protocol.VU{ID: 2, Env: r.env}
	if call := r.do(s, 10*time.Second); call.Result.Cause != load.Overload {
		t.Errorf("one too many: cause = %v (%v), want %v", call.Result.Cause, call.Err, load.Overload)
	}
	first.Close()
	if call := r.do(s, 10*time.Second); call.Err != nil {
		t.Errorf("with a place free again: %v", call.Err)
	}
	r.vu.Close()
	if n := r.env.Dialer.Open(); n != 0 {
		t.Errorf("%d connections open after all were closed, want 0", n)
	}
}

// Unasked bytes after an answer are never taken for the next answer.
func TestBytesThatNobodyAskedFor(t *testing.T) {
	for name, extra := range map[string]string{
		"answer": "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
		"bytes":  "\r\n",
	} {
		r := newRig(t, raw(t, func(c net.Conn) {
			for range 10 {
				readHead(c)
				if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"+extra); err != nil {
					return
				}
			}
		}))
		s := r.step(`{url: /}`)
		for range 10 {
			if call := r.do(s, 10*time.Second); call.Err != nil || call.Result.Code != 200 {
				t.Fatalf("%s: code %d, %v (%v), want 200", name, call.Result.Code, call.Result.Cause, call.Err)
			}
		}
		if n := r.env.Connections.Opened.Load(); n != 10 {
			t.Errorf("%s: %d connections opened, want one a request", name, n)
		}
		r.vu.Close()
	}
}
