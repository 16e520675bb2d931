package remotewrite

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A forwarder is a proxy whose every way leads to one receiver.
type forwarder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // request lines and credentials
	deny int      // how many requests it answers with 407
}

func newForwarder(t *testing.T, to string) *forwarder {
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{}
	by := &http.Transport{}
	pass := &httputil.ReverseProxy{Transport: by, Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = u.Scheme, u.Host }}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
		deny := len(f.seen) <= f.deny
		f.mu.Unlock()
		if deny {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.Close()
		by.CloseIdleConnections()
	})
	return f
}

func TestRemoteWriteByAProxy(t *testing.T) {
	const far = "http://receiver.test:9/api/v1/write"
	for _, c := range []struct {
		name, more string
		env        map[string]string
		direct     bool // at the receiver's own address
		want       string
		deny       int
	}{
		{name: "proxy_url", more: "proxy_url: 'http://me:hush@PROXY'", want: "POST " + far + " Basic bWU6aHVzaA=="},
		{name: "proxy_url to this machine", more: "proxy_url: 'http://PROXY'", direct: true, want: "POST RECEIVER/ "},
		{name: "proxy_url over the environment", more: "proxy_url: 'http://PROXY'", env: map[string]string{"HTTP_PROXY": "http://127.0.0.1:1"}, want: "POST " + far + " "},
		{name: "HTTP_PROXY", env: map[string]string{"HTTP_PROXY": "http://PROXY"}, want: "POST " + far + " "},
		{name: "http_proxy", env: map[string]string{"http_proxy": "http://me:hush@PROXY"}, want: "POST " + far + " Basic bWU6aHVzaA=="},
		{name: "none", more: "proxy_url: none", env: map[string]string{"HTTP_PROXY": "http://PROXY"}, direct: true},
		{name: "HTTP_PROXY and this machine", env: map[string]string{"HTTP_PROXY": "http://PROXY"}, direct: true},
		{name: "a proxy that wants other credentials for a while", more: "proxy_url: 'http://PROXY'", want: "POST " + far + " ", deny: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, turn := counters(2)
			to := newReceiver(t)
			p := newForwarder(t, to.URL)
			p.deny = c.deny
			fill := strings.NewReplacer("PROXY", strings.TrimPrefix(p.URL, "http://"), "RECEIVER", to.URL)
			for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"} {
				t.Setenv(name, "")
			}
			for name, value := range c.env {
				t.Setenv(name, fill.Replace(value))
			}
			at := far
			if c.direct {
				at = to.URL + "/"
			}
			more := ""
			if c.more != "" {
				more = ", " + fill.Replace(c.more)
			}
			w := newRig(t, t.TempDir(), r, endpointOf(t, at, more))
			stop := w.startEndpoints()
			from := base()
			w.snapshots(from, 2, turn)
			if diff := cmp.Diff(want(from, 2), to.took(counterName(1), 2), both); diff != "" {
				t.Errorf("samples (-want +got):\n%s", diff)
			}
			w.finished(from, 2)
			w.crash(stop)
			p.mu.Lock()
			defer p.mu.Unlock()
			n := 2 + c.deny
			if c.want == "" {
				n = 0
			}
			if len(p.seen) != n {
				t.Errorf("the proxy saw %q, want %d requests", p.seen, n)
			}
			for _, got := range p.seen {
				if got != fill.Replace(c.want) {
					t.Errorf("the proxy saw %q, want %q", got, fill.Replace(c.want))
				}
			}
			if strings.Contains(w.log.String(), "hush") {
				t.Errorf("the log has the password:\n%s", w.log)
			}
		})
	}
}

// Whatever goes wrong on the way, no secret of an address is logged.
func TestSecretsOfProxiesAndReceiversAreNotLogged(t *testing.T) {
	for name, more := range map[string]string{
		"nobody listens":           "proxy_url: 'http://me:hush@127.0.0.1:1'",
		"nobody listens, with TLS": "proxy_url: 'https://me:hush@127.0.0.1:1'",
		"nobody listens, SOCKS":    "proxy_url: 'socks5://me:hush@127.0.0.1:1'",
	} {
		t.Run(name, func(t *testing.T) {
			r, turn := counters(1)
			c := endpointOf(t, "http://receiver.test/?token=hush", ", "+more)
			w := newRig(t, t.TempDir(), r, c)
			stop := w.startEndpoints()
			w.snapshots(base(), 1, turn)
			for w.endpoints[0].stats.retried.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			w.crash(stop)
			if text := w.log.String(); !strings.Contains(text, "tried again") || strings.Contains(text, "hush") {
				t.Errorf("the log, which is to tell of retries and no secret:\n%s", text)
			}
		})
	}
}
