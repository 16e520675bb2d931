package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A tunneler is a proxy that knows CONNECT only, and one place to lead to.
type tunneler struct {
	*server
	to     string // host:port of every tunnel
	answer string // instead of a tunnel
	mu     sync.Mutex
	heads  []string
}

func newTunneler(t *testing.T, to string) *tunneler {
	p := &tunneler{to: to}
	p.server = listen(t, p.serve)
	return p
}

func (p *tunneler) serve(c net.Conn) {
	in := bufio.NewReader(c)
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		head.WriteString(line)
	}
	p.mu.Lock()
	p.heads = append(p.heads, head.String())
	answer := p.answer
	p.mu.Unlock()
	if answer != "" {
		_, _ = io.WriteString(c, answer)
		_, _ = io.Copy(io.Discard, c)
		return
	}
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer far.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(far, in)
		far.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		_, _ = io.Copy(c, far)
		c.(*net.TCPConn).CloseWrite()
	})
	both.Wait()
}

func (p *tunneler) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.heads...)
}

func (p *tunneler) url(user string) string { return "http://" + user + p.l.Addr().String() }

func parsedProxy(t *testing.T, text string) *Proxy {
	t.Helper()
	p, err := ParseProxy(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The target's name is known to the proxy only.
func TestLoadGoesThroughItsProxy(t *testing.T) {
	const host = "shop.staging.example.com"
	guard := Guard{Hosts: []string{host}}
	noDNS := func(_ context.Context, name string) ([]netip.Addr, error) {
		return nil, errors.New("a look-up of " + name)
	}
	t.Run("http", func(t *testing.T) {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }))
		defer web.Close()
		p := newTunneler(t, web.Listener.Addr().String())
		s := newSubject(t, &Origin{Host: host, Port: 80})
		s.t.Dialer = NewDialer(DialerOptions{Guard: guard, Lookup: noDNS, Proxy: parsedProxy(t, p.url("me:hush@"))})
		for range 3 {
			if err := s.do(time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		want := "CONNECT " + host + ":80 HTTP/1.1\r\nHost: " + host + ":80\r\nProxy-Authorization: Basic bWU6aHVzaA==\r\n\r\n"
		if got := p.seen(); len(got) != 1 || got[0] != want {
			t.Errorf("the proxy saw %q, want %q once", got, want)
		}
		if got := s.t.Dialer.Open(); got != 1 {
			t.Errorf("%d connections count as open, want 1", got)
		}
	})
	t.Run("https", func(t *testing.T) {
		web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.TLS.ServerName) }))
		defer web.Close()
		p := newTunneler(t, web.Listener.Addr().String())
		s := newSubject(t, &Origin{TLS: true, Host: host, Port: 443})
		s.t.TLS = fixed(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		s.t.Dialer = NewDialer(DialerOptions{Guard: guard, Lookup: noDNS, Proxy: parsedProxy(t, p.url(""))})
		if err := s.do(time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := p.seen(); len(got) != 1 || !strings.HasPrefix(got[0], "CONNECT "+host+":443 ") || strings.Contains(got[0], "Authorization") {
			t.Errorf("the proxy saw %q", got)
		}
	})
	t.Run("link", func(t *testing.T) {
		far := listen(t, ponging)
		p := newTunneler(t, far.l.Addr().String())
		c := newCaller(t, &Origin{Host: "::1", Port: 9}, NewDialer(DialerOptions{Proxy: parsedProxy(t, p.url(""))}), nil)
		if err := c.call(false, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := p.seen(); len(got) != 1 || !strings.HasPrefix(got[0], "CONNECT [::1]:9 ") {
			t.Errorf("the proxy saw %q", got)
		}
	})
	t.Run("a library's dial", func(t *testing.T) {
		far := listen(t, ponging)
		p := newTunneler(t, far.l.Addr().String())
		d := NewDialer(DialerOptions{Guard: guard, Lookup: noDNS, Proxy: parsedProxy(t, p.url(""))})
		c, err := d.DialContext(t.Context(), "tcp", host+":7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := p.seen(); len(got) != 1 || !strings.HasPrefix(got[0], "CONNECT "+host+":7 ") {
			t.Errorf("the proxy saw %q", got)
		}
	})
}

func TestTheGuardHoldsForProxies(t *testing.T) {
	p := newTunneler(t, "127.0.0.1:1")
	inside := Guard{Hosts: []string{"proxy.example.com", "shop.example.com"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	lookup := func(addr string) func(context.Context, string) ([]netip.Addr, error) {
		return func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(addr)}, nil
		}
	}
	for _, c := range []struct {
		name    string
		guard   Guard
		proxy   string
		address string
		to      string // what the proxy's name resolves to
	}{
		{"the target's name is not listed", inside, p.url(""), "other.example.com:80", ""},
		{"the target's address is not listed", inside, p.url(""), "192.0.2.1:80", ""},
		{"the target is where clouds keep credentials", inside, p.url(""), "169.254.169.254:80", ""},
		{"the proxy's name is not listed", Guard{Hosts: []string{"shop.example.com"}}, "http://proxy.example.com:3128", "shop.example.com:80", "127.0.0.1"},
		{"the proxy's address is not listed", inside, "http://192.0.2.1:3128", "shop.example.com:80", ""},
		{"the proxy's name resolves to an address that is not listed", inside, "http://proxy.example.com:3128", "shop.example.com:80", "192.0.2.7"},
		{"the proxy's name resolves to a link-local address", inside, "http://proxy.example.com:3128", "shop.example.com:80", "169.254.169.254"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DialerOptions{Guard: c.guard, Proxy: parsedProxy(t, c.proxy), Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return nil, errors.New("no DNS")
			}}
			if c.to != "" {
				o.Lookup = lookup(c.to)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			conn, err := NewDialer(o).DialContext(ctx, "tcp", c.address)
			if !is[*RefusedError](err) || conn != nil {
				t.Errorf("got %v, %v, want it refused", conn, err)
			}
		})
	}
	if got := p.seen(); len(got) > 0 {
		t.Errorf("the proxy was asked: %q", got)
	}
}

func TestProxiesThatGiveNoTunnel(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		want         load.Cause
		says         string
	}{
		{"credentials are asked for", "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", load.Unreachable, "407 Proxy Authentication"},
		{"the target is not reached", "HTTP/1.0 502 Bad Gateway\r\n\r\n", load.Unreachable, "502"},
		{"it is no proxy", "220 mail.example.com ESMTP\r\n\r\n", load.Protocol, "not HTTP"},
		{"it does not stop", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", longestProxyAnswer), load.Protocol, "too long"},
		{"it does not go on", "HTTP/1.1 200 OK\r\n", load.Timeout, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newTunneler(t, "")
			p.answer = c.answer
			s := newSubject(t, &Origin{Host: "127.0.0.1", Port: 9})
			s.t.Dialer = NewDialer(DialerOptions{Proxy: parsedProxy(t, p.url("me:hush@"))})
			timeout := time.Minute
			if c.want == load.Timeout {
				timeout = 100 * time.Millisecond
			}
			err := s.do(timeout)
			if got := Classify(err); got != c.want || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v (%v), want cause %v", err, got, c.want)
			}
			if n := s.t.Dialer.Open(); n != 0 {
				t.Errorf("%d connections count as open", n)
			}
		})
	}
	t.Run("an interrupt", func(t *testing.T) {
		p := newTunneler(t, "")
		p.answer = "HTTP/1.1 200"
		s := newSubject(t, &Origin{Host: "127.0.0.1", Port: 9})
		s.t.Dialer = NewDialer(DialerOptions{Proxy: parsedProxy(t, p.url(""))})
		go func() {
			for len(p.seen()) == 0 {
				time.Sleep(time.Millisecond)
			}
			s.Interrupt()
		}()
		if err := s.do(time.Minute); Classify(err) != load.Canceled {
			t.Errorf("got %v, want it canceled", err)
		}
	})
}

func TestParseProxy(t *testing.T) {
	for text, want := range map[string]string{
		"http://proxy": "proxy:80", "http://PROXY:3128/": "proxy:3128", "http://me:hush@[::1]:1": "[::1]:1",
	} {
		p, err := ParseProxy(text)
		if err != nil || net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) != want {
			t.Errorf("ParseProxy(%q) = %v, %v, want %s", text, p, err, want)
		}
	}
	for _, text := range []string{
		"", "proxy:3128", "https://me:hush@proxy", "socks5://me:hush@proxy", "http://", "http://me:hush@proxy/path", "http://proxy?a=hush", "http://me:hu sh@proxy",
		"http://me:hush@proxy:0", "http://me:hush@proxy:99999", "http://%zz:hush@proxy",
	} {
		if _, err := ParseProxy(text); err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "hu sh") {
			t.Errorf("ParseProxy(%q): %v, want an error without the password", text, err)
		}
	}
}

// Behind a proxy every connection is to one address, so that names tell where
// redirects lead.
func TestARedirectBehindAProxyIsHeldAgainstNames(t *testing.T) {
	web := listen(t, answering(hello))
	p := newTunneler(t, web.l.Addr().String())
	dialer := NewDialer(DialerOptions{
		Guard: Guard{Hosts: []string{"*.example.com"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")}},
		Proxy: parsedProxy(t, p.url("")),
	})
	for _, c := range []struct {
		from, to, refused string
		told              string // address that the token is asked with
	}{
		{"shop.example.com", "127.0.0.1", "127.0.0.1 is not allowed: a redirect of a name behind the proxy must not lead into loopback", ""},
		{"shop.example.com", "::1", "must not lead into loopback", ""},
		{"shop.example.com", "::ffff:127.0.0.1", "must not lead into loopback", ""},
		{"shop.example.com", "localhost", "must not lead into loopback", ""},
		{"shop.example.com", "Shop.LOCALHOST.", "must not lead into loopback", ""},
		{"shop.example.com", "10.0.0.1", "must not lead into a private network", ""},
		{"192.0.2.1", "127.0.0.1", "a redirect of 192.0.2.1 must not lead into loopback", ""},
		{"192.0.2.1", "10.0.0.1", "must not lead into a private network", ""},
		{"10.0.0.1", "127.0.0.1", "must not lead into loopback", ""},
		{"shop.example.com", "pay.example.com", "", ""},
		{"shop.example.com", "192.0.2.1", "", "192.0.2.1"},
		{"10.0.0.1", "10.0.0.2", "", "10.0.0.2"},
		{"10.0.0.1", "pay.example.com", "", ""},
		{"localhost", "127.0.0.1", "", "127.0.0.1"},
	} {
		for _, open := range []bool{false, true} {
			sender, o := &Origin{Host: c.from, Port: 80}, &Origin{Host: c.to, Port: 8080}
			s := newSubject(t, sender)
			s.t.Dialer = dialer
			if err := s.do(time.Minute); err != nil {
				t.Fatal(err)
			}
			s.origin = o
			if open {
				if err := s.do(time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			from := s.Peer(sender)
			told := []netip.Addr{netip.MustParseAddr("198.51.100.1")}
			admitted := s.Admit(o, from, s.now()+int64(time.Minute), &s.r, func(addrs []netip.Addr, _ bool) (time.Duration, bool) {
				told = addrs
				return 0, true
			})
			s.x.From = from
			for _, err := range []error{admitted, s.do(time.Minute)} {
				if _, refused := errors.AsType[*RefusedError](err); refused != (c.refused != "") || err != nil && (c.refused == "" || !strings.HasSuffix(err.Error(), c.refused)) {
					t.Errorf("%s to %s, open %v: %v, want %q", c.from, c.to, open, err, c.refused)
				}
			}
			if want := strings.Fields(c.told); c.refused == "" && (len(told) != len(want) || len(want) > 0 && told[0].String() != want[0]) {
				t.Errorf("%s to %s, open %v: a token for %v, want %v", c.from, c.to, open, told, want)
			}
			s.Close()
		}
	}
}
