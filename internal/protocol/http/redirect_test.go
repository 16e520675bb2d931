package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// serveAt serves at an address of this machine other than 127.0.0.1, which stands
// for another host.
func serveAt(t *testing.T, host string, f http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("this machine has no %s: %v", host, err)
	}
	srv := httptest.NewUnstartedServer(f)
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestARedirectDoesNotReachThisMachine has a remote target redirect to what listens on this machine, in
// each way and each form.
func TestARedirectDoesNotReachThisMachine(t *testing.T) {
	var reached atomic.Int64
	here := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	_, port, _ := strings.Cut(strings.TrimPrefix(here, "http://"), ":")
	remote := serveAt(t, "127.0.0.2", func(w http.ResponseWriter, q *http.Request) {
		code := http.StatusFound
		fmt.Sscan(q.URL.Query().Get("code"), &code)
		w.Header().Set("Location", q.URL.Query().Get("to"))
		w.WriteHeader(code)
	})
	self := strings.TrimPrefix(remote, "http://")
	for _, step := range []string{
		`{url: "/?to=` + here + `/-/pause", redirects: 1}`,
		`{url: "/?code=301&to=` + here + `", redirects: 1}`,
		`{url: "/?code=303&to=` + here + `", body: x, redirects: 1}`,
		`{url: "/?code=307&to=` + here + `/-/pause", body: x, redirects: 1}`,
		`{url: "/?code=308&to=` + here + `", method: PUT, redirects: 1}`,
		`{url: "/?to=//127.0.0.1:` + port + `/x", redirects: 1}`,
		`{url: "/?to=http://localhost:` + port + `", redirects: 1}`,
		`{url: "/?to=http://shop.localhost:` + port + `", redirects: 1}`,
		`{url: "/?to=http://[::ffff:127.0.0.1]:` + port + `", redirects: 1}`,
		`{url: "/?to=http://[::ffff:7f00:1]:` + port + `", redirects: 1}`,
		`{url: "/?to=http://` + self + `/%3Fto=` + here + `", redirects: 5}`,
	} {
		r := newRig(t, remote)
		r.env.Dialer = wire.NewDialer(wire.DialerOptions{Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}})
		call := r.get(step)
		if call.Result.Cause != load.Overload || call.Err == nil || !strings.Contains(call.Err.Error(), "127.0.0.1 is not allowed: a redirect of 127.0.0.2 must not lead into loopback") {
			t.Errorf("%s: cause %v, %v; want it refused as a way into loopback", step, call.Result.Cause, call.Err)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d redirects reached this machine", n)
	}
}

// TestRedirectsThatAreFollowed has targets of this machine and of others.
func TestRedirectsThatAreFollowed(t *testing.T) {
	var here string
	hop := func(w http.ResponseWriter, q *http.Request) {
		switch to := q.URL.Query().Get("to"); {
		case q.URL.Path == "/back":
			http.Redirect(w, q, here+"/end", http.StatusFound)
		case to != "":
			http.Redirect(w, q, to, http.StatusFound)
		}
	}
	here = serve(t, hop)
	remote := serveAt(t, "127.0.0.2", hop)
	_, port, _ := strings.Cut(strings.TrimPrefix(here, "http://"), ":")
	other := serve(t, hop)
	for _, c := range []struct{ name, base, to string }{
		{"within a host", remote, "/end"},
		{"to another port of this machine", here, other + "/end"},
		{"to another name of this machine", here, "http://localhost:" + port + "/end"},
		{"away from this machine", here, remote + "/end"},
		{"away from the target and back to it", here, remote + "/back"},
	} {
		call := newRig(t, c.base).get(`{url: "/?to=` + c.to + `", redirects: 3}`)
		if call.Result.Cause != load.None || call.Result.Code != 200 {
			t.Errorf("%s: cause %v, code %d, %v", c.name, call.Result.Cause, call.Result.Code, call.Err)
		}
	}
}

// TestAClientCertificateIsForTheTargetsHost has a target redirect to itself, and to
// a host that asks for a certificate too.
func TestAClientCertificateIsForTheTargetsHost(t *testing.T) {
	shown := map[string]int{}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if to := q.URL.Query().Get("to"); to != "" {
			http.Redirect(w, q, to, http.StatusFound)
			return
		}
		shown[q.Host] += len(q.TLS.PeerCertificates)
	})
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(srv.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate := write("cert.pem", "CERTIFICATE", srv.Certificate().Raw)
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "https://"), ":")
	own, other := "127.0.0.1:"+port, "example.com:"+port
	r := newRig(t, srv.URL)
	r.env.Dialer = wire.NewDialer(wire.DialerOptions{
		Guard: wire.Guard{Hosts: []string{"example.com"}},
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	})
	r.target = "tls: {ca_file: " + certificate + ", cert_file: " + certificate + ", key_file: " + write("key.pem", "PRIVATE KEY", key) + ", server_name: 127.0.0.1}"
	for _, url := range []string{"/", "/?to=/", "/?to=https://" + other + "/", "/?to=https://" + other + "/?to=" + srv.URL + "/", "/?to=https://" + other + "/"} {
		call := r.get(`{url: "` + url + `", redirects: 3}`)
		if call.Result.Cause != load.None {
			t.Errorf("%s: cause %v, %v", url, call.Result.Cause, call.Err)
		}
	}
	if n, asked := shown[other]; shown[own] < 3 || n != 0 || !asked {
		t.Errorf("certificates shown: %v; want them for %s only", shown, own)
	}
}

// A redirect leads to a host in ASCII, as browsers' do, and to no zone that no machine has.
func TestWhichHostARedirectLeadsTo(t *testing.T) {
	for location, want := range map[string]string{
		"http://b\u00fccher.test/a":       "xn--bcher-kva.test:80",
		"//B\u00dcCHER.test:81/a":         "xn--bcher-kva.test:81",
		"http://b%C3%BCcher.test/":        "xn--bcher-kva.test:80",
		"http://\u65e5\u672c.test/":       "xn--wgv71a.test:80",
		"http://[fe80::1%25eth0.1]:8080/": "fe80::1%eth0.1:8080",
		"http://[fe80::1%25a%20b]/":       "",
		"//\u034f/":                       "",
		"http://[::% ]/":                  "",
		"http://a\u200d.test/":            "",
		"http://-\u00fc.test/":            "",
		"http://plain_name.test/":         "plain_name.test:80",
	} {
		at, err := url.Parse("http://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		h := hop{method: "GET", at: at}
		got := ""
		if err := h.move(302, location); err == nil {
			got = fmt.Sprintf("%s:%d", h.origin.Host, h.origin.Port)
			if host := protocol.HostField(h.at); strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Errorf("%q: Host is %q", location, host)
			}
		}
		if got != want {
			t.Errorf("%q leads to %q, want %q", location, got, want)
		}
	}
}
