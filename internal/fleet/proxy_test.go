package fleet

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/target"
)

// nobody is a judge that is never asked.
type nobody struct{ Judge }

// firstLines answers each connection with 200 and an empty body, and tells its first line.
func firstLines(t *testing.T) (address string, lines <-chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 100)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				in := bufio.NewScanner(c)
				first := true
				for in.Scan() {
					if first {
						out <- in.Text()
						first = false
					}
					if in.Text() == "" {
						first = true
						_, _ = fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String(), out
}

func TestATargetIsReachedByItsProxyOnly(t *testing.T) {
	for _, c := range []struct{ name, more, want string }{
		{"a proxy of its own", ", proxy_url: 'http://PROXY'", "CONNECT 127.0.0.2:1 HTTP/1.1"},
		{"with credentials", ", proxy_url: 'http://me:hush@PROXY'", "CONNECT 127.0.0.2:1 HTTP/1.1"},
		{"the environment's is none of its own", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy, lines := firstLines(t)
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
				t.Setenv(name, "http://"+proxy)
			}
			var errs block.Errors
			var tc target.Config
			block.Decode(block.Parse("perfd.yaml", []byte("{name: a, url: 'http://127.0.0.2:1'"+strings.ReplaceAll(c.more, "PROXY", proxy)+"}"), &errs), &tc, &errs)
			if err := errs.Err(); err != nil {
				t.Fatal(err)
			}
			f := &Fleet{o: Options{State: openState(t, memoryDisk{}), Log: slog.New(slog.DiscardHandler), Judge: nobody{}}}
			target := f.newTarget(&tc, nil, &config.Safety{}, "")
			conn, err := target.dialer.DialContext(t.Context(), "tcp", "127.0.0.2:1")
			if c.want == "" {
				if err == nil || len(lines) > 0 {
					t.Errorf("a connection came about, %v, with %d requests at the proxy", conn, len(lines))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := <-lines; got != c.want {
				t.Errorf("the proxy saw %q, want %q", got, c.want)
			}
		})
	}
}

// TestLoadAndWatchReachATargetInTheSameWay dials with both from an address of this machine and
// with one of the configuration's in the place of DNS.
func TestLoadAndWatchReachATargetInTheSameWay(t *testing.T) {
	came := make(chan string, 2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { came <- r.RemoteAddr + " " + r.Host }))
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var errs block.Errors
	var tc target.Config
	block.Decode(block.Parse("perfd.yaml", []byte(`
name: a
url: http://shop.example.com:`+port+`
local_addresses: [127.0.0.7]
resolve: {"shop.example.com:`+port+`": 127.0.0.1}
release: {url: /version, header: X-Release, every: 1s}
`), &errs), &tc, &errs)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	safety := &config.Safety{AllowedHosts: []config.Host{"*.example.com"}}
	f := &Fleet{o: Options{State: openState(t, memoryDisk{}), Log: slog.New(slog.DiscardHandler), Judge: nobody{}}}
	shop := f.newTarget(&tc, nil, safety, "")
	client := &http.Client{Transport: &http.Transport{DialContext: shop.dialer.DialContext, DisableKeepAlives: true}}
	a, err := client.Get(tc.URL.S)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	shop.start()
	defer shop.stop()
	for _, who := range []string{"load", "the watch"} {
		if from := <-came; !strings.HasPrefix(from, "127.0.0.7:") || !strings.HasSuffix(from, " shop.example.com:"+port) {
			t.Errorf("%s came from and asked for %s", who, from)
		}
	}
}

func TestAnotherProxyIsAnotherTarget(t *testing.T) {
	seen := map[string]string{}
	for _, proxy := range []string{"http://me:hush@127.0.0.1:1", "http://me:other@127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:2"} {
		file := filepath.Join(t.TempDir(), "perfd.yaml")
		if err := os.WriteFile(file, []byte("targets: [{name: a, url: 'http://127.0.0.1:1', proxy_url: '"+proxy+"'}]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		doc, err := config.Load(config.Options{File: file, Kinds: builtin.Kinds()})
		if err != nil {
			t.Fatal(err)
		}
		made := doc.TargetFingerprint("a")
		if was, twice := seen[made]; twice {
			t.Errorf("%s and %s have the same fingerprint", was, proxy)
		}
		seen[made] = proxy
		if shown := fmt.Sprintf("%v %+v", doc, doc.Targets[0]); strings.Contains(shown, "hush") {
			t.Errorf("the document prints as %s", shown)
		}
	}
}

// TestWatchesGoByTheProxy reads a target and a Prometheus whose names only the
// proxy knows, in the clear and by TLS.
func TestWatchesGoByTheProxy(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(answerReads))
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(http.HandlerFunc(answerReads))
	t.Cleanup(secure.Close)
	var mu sync.Mutex
	asked := map[string]bool{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization")] = true
		mu.Unlock()
		to := plain
		if strings.HasSuffix(r.Host, ":443") {
			to = secure
		}
		far, err := net.Dial("tcp", to.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		near, in, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer near.Close()
		_, _ = fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(near, far)
			near.Close()
		}()
		_, _ = io.Copy(far, in)
		far.Close()
	}))
	t.Cleanup(proxy.Close)
	at := strings.TrimPrefix(proxy.URL, "http://")
	f := watching(t, fmt.Sprintf(`
safety: {allowed_hosts: ["*.example.com"]}
targets:
  - name: plain
    url: http://shop.example.com
    proxy_url: http://me:hush@%[1]s
    release: {url: /version, json: v, every: 1s}
    resources: [{name: q, kind: memory, prometheus: "http://prometheus.example.com:9090", query: q, every: 1s}]
  - name: secure
    url: https://shop.example.com
    proxy_url: http://%[1]s
    http: {tls: {ca_file: %[2]s, server_name: example.com}}
    release: {url: /version, json: v, every: 1s}
    resources: [{name: m, kind: memory, scrape: /metrics, metric: m, every: 1s}]
`, at, written(t, "CERTIFICATE", secure.Certificate().Raw)), nil)
	for _, name := range []string{"plain", "secure"} {
		await(t, name+" is read through the proxy", func() bool {
			values, faults := reads(f, name)
			return len(values) == 2 && len(faults) == 0
		})
	}
	mu.Lock()
	defer mu.Unlock()
	want := map[string]bool{
		"CONNECT shop.example.com:80 Basic bWU6aHVzaA==": true, "CONNECT prometheus.example.com:9090 Basic bWU6aHVzaA==": true, "CONNECT shop.example.com:443 ": true,
	}
	if !maps.Equal(asked, want) {
		t.Errorf("the proxy was asked %v, want %v", asked, want)
	}
}
