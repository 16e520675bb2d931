package otlp

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

// A forwarder is a proxy whose every way, tunnels too, leads to one address.
type forwarder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // request lines and credentials
}

func newForwarder(t *testing.T, to string) *forwarder {
	f := &forwarder{}
	by := &http.Transport{}
	pass := &httputil.ReverseProxy{Transport: by, Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL = &url.URL{Scheme: "http", Host: to, Path: r.In.URL.Path} }}
	var tunnels sync.WaitGroup
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
		f.mu.Unlock()
		if r.Method != http.MethodConnect {
			pass.ServeHTTP(w, r)
			return
		}
		near, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			near.Close()
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		tunnels.Go(func() {
			defer far.Close()
			_, _ = io.Copy(far, buffered)
		})
		tunnels.Go(func() {
			defer near.Close()
			_, _ = io.Copy(near, far)
		})
	}))
	t.Cleanup(func() {
		f.Close()
		tunnels.Wait()
		by.CloseIdleConnections()
	})
	return f
}

func TestSpansByAProxy(t *testing.T) {
	for _, c := range []struct {
		name, config string
		grpc         bool
		env          map[string]string
		want         string // at the proxy; empty for nothing
		lost         bool
	}{
		{name: "HTTP by proxy_url", config: "endpoint: 'http://c.test:4318', proxy_url: 'http://me:hush@PROXY'", want: "POST http://c.test:4318/v1/traces Basic bWU6aHVzaA=="},
		{name: "HTTP by the environment", config: "endpoint: 'http://c.test:4318'", env: map[string]string{"HTTP_PROXY": "http://PROXY"}, want: "POST http://c.test:4318/v1/traces "},
		{name: "HTTP by none", config: "endpoint: 'http://DIRECT', protocol: http/protobuf, proxy_url: none", env: map[string]string{"HTTP_PROXY": "http://PROXY"}},
		{name: "gRPC by proxy_url", grpc: true, config: "endpoint: 'http://c.test:4317', proxy_url: 'http://me:hush@PROXY'", want: "CONNECT c.test:4317 Basic bWU6aHVzaA=="},
		{name: "gRPC without a port by proxy_url", grpc: true, config: "protocol: grpc, proxy_url: 'http://PROXY'", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c.test"}, want: "CONNECT c.test:443 "},
		{
			name: "gRPC without a scheme by proxy_url", grpc: true, config: "proxy_url: 'http://PROXY'",
			env:  map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "c.test:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"},
			want: "CONNECT c.test:4317 ",
		},
		{name: "gRPC by none", grpc: true, config: "endpoint: 'http://DIRECT', protocol: grpc, proxy_url: none", env: map[string]string{"HTTPS_PROXY": "http://PROXY"}},
		{name: "nobody listens", grpc: true, config: "endpoint: 'http://c.test:4317', timeout: 300ms, proxy_url: 'http://me:hush@127.0.0.1:1'", lost: true},
		{name: "nobody listens by HTTP", config: "endpoint: 'http://c.test:4318', timeout: 300ms, proxy_url: 'http://me:hush@127.0.0.1:1'", lost: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got *received
			var to string
			if c.grpc {
				server := &grpcCollector{}
				to, got = strings.TrimPrefix(server.serve(t), "http://"), &server.received
			} else {
				got = &received{}
				server := httptest.NewServer(got.handler(t, 0))
				t.Cleanup(server.Close)
				to = server.Listener.Addr().String()
			}
			p := newForwarder(t, to)
			fill := strings.NewReplacer("PROXY", p.Listener.Addr().String(), "DIRECT", to)
			for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"} {
				t.Setenv(name, "")
			}
			for name, value := range c.env {
				t.Setenv(name, fill.Replace(value))
			}
			var log bytes.Buffer
			s := export(t, Options{
				Config: must(t, "{"+fill.Replace(c.config)+"}"), Environ: os.Getenv, Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if c.lost {
				if s.Exported != 0 || log.Len() == 0 {
					t.Errorf("stats: %+v; the log: %s", s, &log)
				}
			} else if s.Exported != 3 || got.spans() != 3 {
				t.Errorf("stats: %+v, %d spans; the log: %s", s, got.spans(), &log)
			}
			if strings.Contains(log.String(), "hush") {
				t.Errorf("the log has the password: %s", &log)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if seen := strings.Join(p.seen, "\n"); seen != c.want {
				t.Errorf("the proxy saw %q, want %q", seen, c.want)
			}
		})
	}
}

func TestGRPCHasHTTPProxiesOnly(t *testing.T) {
	for text, wrong := range map[string]bool{
		"{endpoint: 'http://c:4317', proxy_url: 'socks5://proxy'}":                          true,
		"{endpoint: 'http://c:4318', protocol: grpc, proxy_url: 'https://proxy'}":           true,
		"{endpoint: 'http://c:4318', protocol: http/protobuf, proxy_url: 'socks5://proxy'}": false,
		"{endpoint: 'http://c:4317', proxy_url: 'http://proxy'}":                            false,
		"{endpoint: 'http://c:4317', proxy_url: none}":                                      false,
	} {
		var errs block.Errors
		root := block.Parse("perfd.yaml", []byte("tracing: "+text), &errs)
		b := &Blocks{}
		block.Decode(root, b, &errs)
		b.Check(root, t.TempDir(), &errs)
		if err := errs.Err(); (err != nil) != wrong || err != nil && !strings.Contains(err.Error(), "tracing.proxy_url: must be") {
			t.Errorf("%s: %v, want a mistake of proxy_url: %v", text, err, wrong)
		}
	}
}
