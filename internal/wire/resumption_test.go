package wire

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestSessionsAreResumed(t *testing.T) {
	for _, c := range []struct {
		name string
		most uint16 // version of the server
		full bool   // by the options
		none bool   // the server gives no tickets
		want []bool // what each of four connections resumed: VU 1, 1, 2, and 1 with another certificate
	}{
		{"TLS 1.3", tls.VersionTLS13, false, false, []bool{false, true, false, false}},
		{"TLS 1.2", tls.VersionTLS12, false, false, []bool{false, true, false, false}},
		{"by a server without tickets", tls.VersionTLS13, false, true, []bool{false, false, false, false}},
		{"unless full handshakes are asked for", tls.VersionTLS13, true, false, []bool{false, false, false, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAuthority(t, t.TempDir())
			cert, key := a.pair("server")
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var resumed []bool
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				resumed = append(resumed, r.TLS.DidResume)
				mu.Unlock()
				_, _ = io.WriteString(w, "x")
			}))
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: c.most, Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: c.none}
			server.StartTLS()
			defer server.Close()

			options := a.options("old")
			options.NoResumption = c.full
			files, err := NewTLS(options)
			if err != nil {
				t.Fatal(err)
			}
			o, err := ParseOrigin(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			o.TLS = true
			one, two := newSubject(t, &o), newSubject(t, &o)
			one.t.TLS = files
			two.Agent = NewAgent(one.t, 2) // of the same run
			defer two.Close()
			connect := func(s *subject) {
				t.Helper()
				s.Close()
				if err := s.do(time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			connect(one)
			connect(one)
			connect(two)
			newCert, newKey := a.pair("new")
			a.replace("cert.pem", newCert)
			a.replace("key.pem", newKey)
			files.lookAgain()
			connect(one)
			if !slices.Equal(resumed, c.want) {
				t.Errorf("resumed %v, want %v", resumed, c.want)
			}
		})
	}
}

func TestALinkResumesItsSession(t *testing.T) {
	a := newAuthority(t, t.TempDir())
	cert, key := a.pair("server")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	files, err := NewTLS(a.options("client"))
	if err != nil {
		t.Fatal(err)
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	resumed := make(chan bool, 3)
	o := listen(t, func(nc net.Conn) {
		c := tls.Server(nc, secure)
		if c.Handshake() == nil {
			resumed <- c.ConnectionState().DidResume
			ponging(c)
		}
	}).origin()
	o.TLS = true
	c := newCaller(t, o, NewDialer(DialerOptions{}), func(tr *Transport) { tr.TLS = files })
	for i := range 3 {
		if err := c.call(false, time.Minute); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if got := <-resumed; got != (i > 0) {
			t.Errorf("connection %d resumed a session: %v", i, got)
		}
	}
}
