package otlp

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // servers decode what they know
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/proto"
)

// received is what a collector got.
type received struct {
	mu       sync.Mutex
	requests []*collector.ExportTraceServiceRequest
	paths    []string
	headers  []map[string][]string
}

func (r *received) add(req *collector.ExportTraceServiceRequest, path string, headers map[string][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req)
	r.paths = append(r.paths, path)
	r.headers = append(r.headers, headers)
}

func (r *received) spans() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, req := range r.requests {
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				n += len(ss.Spans)
			}
		}
	}
	return n
}

// answer is what the collectors answer.
func answer(rejected int64) *collector.ExportTraceServiceResponse {
	if rejected == 0 {
		return &collector.ExportTraceServiceResponse{}
	}
	return &collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: rejected, ErrorMessage: "too old"}}
}

func (r *received) handler(t *testing.T, rejected int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body := io.Reader(req.Body)
		if req.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		raw, err := io.ReadAll(body)
		var decoded collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(raw, &decoded)
		}
		if err != nil {
			t.Error(err)
			return
		}
		r.add(&decoded, req.URL.Path, req.Header)
		out, err := proto.Marshal(answer(rejected))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(out)
	})
}

// export sends one iteration of three spans by a real connection.
func export(t *testing.T, o Options) Stats {
	t.Helper()
	o.Config.Delay = 1 // ns
	e := build(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { e.Run(ctx) })
	e.tracer(shop()).Trace(iteration(true, 1, 2))
	for end := time.Now().Add(10 * time.Second); e.Stats().Queued > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	run.Wait()
	if err := e.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	return e.Stats()
}

func TestHTTP(t *testing.T) {
	for _, c := range []struct {
		name, config, path, encoding string
	}{
		{"the default", "{endpoint: 'URL', protocol: http/protobuf, headers: {Authorization: Bearer x}}", "/v1/traces", ""},
		{"no compression", "{endpoint: 'URL', protocol: http/protobuf, compression: none, headers: {Authorization: Bearer x}}", "/v1/traces", ""},
		{"below a path", "{endpoint: 'URL/otlp/', compression: gzip, headers: {Authorization: Bearer x}}", "/otlp/v1/traces", "gzip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got received
			server := httptest.NewServer(got.handler(t, 0))
			defer server.Close()
			s := export(t, Options{Config: must(t, strings.ReplaceAll(c.config, "URL", server.URL))})
			if s.Exported != 3 || s.Failed != 0 || got.spans() != 3 {
				t.Fatalf("stats: %+v, %d spans", s, got.spans())
			}
			h := http.Header(got.headers[0])
			if got.paths[0] != c.path || h.Get("Authorization") != "Bearer x" || h.Get("Content-Encoding") != c.encoding {
				t.Errorf("%s %v", got.paths[0], h)
			}
		})
	}
}

func TestHTTPByTheEnvironment(t *testing.T) {
	var got received
	server := httptest.NewServer(got.handler(t, 0))
	defer server.Close()
	// The client reads the process's environment itself.
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=7")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
	if s := export(t, Options{Environ: os.Getenv}); s.Exported != 3 || got.spans() != 3 {
		t.Fatalf("stats: %+v", s)
	}
	h := http.Header(got.headers[0])
	if got.paths[0] != "/v1/traces" || h.Get("X-Scope") != "7" || h.Get("Content-Encoding") != "" {
		t.Errorf("%s %v", got.paths[0], h)
	}
}

// The client writes JSON of messages that it knows, and not of encoded ones.
func TestHTTPWithJSON(t *testing.T) {
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		body = string(raw)
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = w.Write([]byte("{}"))
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
	if s := export(t, Options{Environ: os.Getenv}); s.Exported != 3 {
		t.Fatalf("stats: %+v", s)
	}
	if got := strings.Count(body, `"spanId"`); got != 3 || !strings.Contains(body, `"perfd.outcome"`) {
		t.Errorf("%d spans in %s", got, body)
	}
}

func TestHTTPPartialSuccess(t *testing.T) {
	var got received
	server := httptest.NewServer(got.handler(t, 1))
	defer server.Close()
	if s := export(t, Options{Config: must(t, "endpoint: "+server.URL)}); s.Exported != 0 || s.Dropped[ExportFailed] != 3 {
		t.Errorf("stats: %+v", s)
	}
}

func TestHTTPS(t *testing.T) {
	var got received
	server := httptest.NewTLSServer(got.handler(t, 0))
	defer server.Close()
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"ca_file", Options{Dir: dir, Config: must(t, "{endpoint: '"+server.URL+"', tls: {ca_file: ca.pem}}")}},
		{"another name", Options{Dir: dir, Config: must(t, "{endpoint: '"+server.URL+"', tls: {ca_file: ca.pem, server_name: example.com}}")}},
		{"unverified", Options{Config: must(t, "{endpoint: '"+server.URL+"', tls: {insecure_skip_verify: true}}")}},
		{"the environment's", Options{Config: must(t, "endpoint: "+server.URL), Environ: environ("OTEL_EXPORTER_OTLP_CERTIFICATE", filepath.Join(dir, "ca.pem"))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s := export(t, c.o); s.Exported != 3 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

func TestOwnCertificate(t *testing.T) {
	var got received
	server := httptest.NewUnstartedServer(got.handler(t, 0))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	pair := server.TLS.Certificates[0] // the server's serves as the client's
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Dir: dir, Config: must(t, "{endpoint: '"+server.URL+"', tls: {ca_file: cert.pem, cert_file: cert.pem, key_file: key.pem}}")}
	if s := export(t, o); s.Exported != 3 {
		t.Errorf("stats: %+v", s)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ config, want string }{
		{"{endpoint: 'https://h:4317', tls: {ca_file: none.pem}}", "ca_file: "},
		{"{endpoint: 'https://h:4317', tls: {ca_file: empty.pem}}", "holds no certificate"},
		{"{endpoint: 'https://h:4318', tls: {cert_file: empty.pem, key_file: empty.pem}}", "cert_file: "},
	} {
		_, err := New(Options{Config: must(t, c.config), Dir: dir, Environ: noEnviron})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.config, err)
		}
	}
}

// grpcCollector is a real server.
type grpcCollector struct {
	collector.UnimplementedTraceServiceServer
	received
	rejected int64
	encoding string
}

func (c *grpcCollector) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	c.add(req, "", md)
	return answer(c.rejected), nil
}

func (c *grpcCollector) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (c *grpcCollector) HandleRPC(_ context.Context, s stats.RPCStats) {
	if h, ok := s.(*stats.InHeader); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.encoding = h.Compression
	}
}

func (c *grpcCollector) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}

func (c *grpcCollector) HandleConn(context.Context, stats.ConnStats) {}

func (c *grpcCollector) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.StatsHandler(c))
	collector.RegisterTraceServiceServer(server, c)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	return "http://" + l.Addr().String()
}

func TestGRPC(t *testing.T) {
	for _, c := range []struct {
		config, encoding string
		env              []string
	}{
		{"{endpoint: 'URL', protocol: grpc, compression: gzip, headers: {Authorization: Bearer x}}", "gzip", nil},
		{"{endpoint: 'URL', protocol: grpc, compression: none, headers: {Authorization: Bearer x}}", "", nil},
		{"{endpoint: 'URL', protocol: grpc, compression: none, headers: {Authorization: Bearer x}}", "", []string{"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"}},
		{"{headers: {Authorization: Bearer x}}", "", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "URL", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}},
	} {
		server := &grpcCollector{}
		url := server.serve(t)
		t.Run(c.config, func(t *testing.T) {
			for i := 0; i < len(c.env); i += 2 {
				t.Setenv(c.env[i], strings.ReplaceAll(c.env[i+1], "URL", url))
			}
			s := export(t, Options{Config: must(t, strings.ReplaceAll(c.config, "URL", url)), Environ: os.Getenv})
			if s.Exported != 3 || s.Failed != 0 || server.spans() != 3 {
				t.Fatalf("stats: %+v, %d spans", s, server.spans())
			}
			if got := server.headers[0]["authorization"]; len(got) != 1 || got[0] != "Bearer x" {
				t.Errorf("headers: %v", server.headers[0])
			}
			server.mu.Lock()
			defer server.mu.Unlock()
			if got := strings.TrimPrefix(server.encoding, "identity"); got != c.encoding {
				t.Errorf("compression %q", server.encoding)
			}
		})
	}
}

func TestGRPCPartialSuccess(t *testing.T) {
	server := &grpcCollector{rejected: 1}
	if s := export(t, Options{Config: must(t, "{protocol: grpc, endpoint: '"+server.serve(t)+"'}")}); s.Exported != 0 || s.Dropped[ExportFailed] != 3 {
		t.Errorf("stats: %+v", s)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, protocol := range []string{protocolGRPC, protocolHTTP} {
		s := export(t, Options{Config: must(t, "{timeout: 200ms, protocol: "+protocol+", endpoint: 'http://"+l.Addr().String()+"'}")})
		if s.Exported != 0 || s.Dropped[ExportFailed] != 3 || s.Failed != 1 {
			t.Errorf("%s: %+v", protocol, s)
		}
	}
}
