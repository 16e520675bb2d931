package grpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A server is grpc-go's interop server, which keeps what it last got.
type server struct {
	address string

	mu   sync.Mutex
	last metadata.MD
	left time.Duration // of the request's deadline
}

func (s *server) see(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, _ = metadata.FromIncomingContext(ctx)
	if d, ok := ctx.Deadline(); ok {
		s.left = time.Until(d)
	}
}

func (s *server) got(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.last.Get(name), ", ")
}

// serve starts a server with the services that register adds.
func serve(t testing.TB, register func(*grpc.Server), options ...grpc.ServerOption) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: l.Addr().String()}
	options = append(options, grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		s.see(ctx)
		return next(ctx, req)
	}))
	g := grpc.NewServer(options...)
	register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func interopServices(g *grpc.Server) {
	grpc_testing.RegisterTestServiceServer(g, interop.NewTestServer())
	grpc_health_v1.RegisterHealthServer(g, health.NewServer())
	reflection.Register(g)
}

// A user is a VU with all that it needs.
type user struct {
	protocol.VU
	call   protocol.Call
	shared map[protocol.Key]io.Closer
}

func newUser(t testing.TB) *user {
	zero := time.Now()
	u := &user{shared: map[protocol.Key]io.Closer{}}
	u.Env = &protocol.Env{
		Dialer: wire.NewDialer(wire.DialerOptions{}),
		Shared: func(k protocol.Key, open func() (io.Closer, error)) (io.Closer, error) {
			if c, ok := u.shared[k]; ok {
				return c, nil
			}
			c, err := open()
			u.shared[k] = c
			return c, err
		},
		Now: func() time.Duration { return time.Since(zero) }, Zero: zero,
		UserAgent: "perfd/test", Identity: func() string { return "scenario/run" },
		Connections: &load.Connections{}, Log: slog.New(slog.DiscardHandler),
	}
	t.Cleanup(func() {
		u.Close()
		for _, c := range u.shared {
			_ = c.Close()
		}
	})
	return u
}

var keepAll = &expr.Keep{Body: true, Headers: []string{"any"}}

func (u *user) do(s protocol.Step, scope *expr.Scope) *protocol.Call {
	if scope == nil {
		scope = &expr.Scope{Rand: rand.NewPCG(1, 1)}
	}
	c, now := &u.call, u.Env.Now()
	c.VU, c.Scope, c.Keep, c.Deadline = &u.VU, scope, keepAll, now+5*time.Second
	c.Result, c.Response, c.Err = load.Result{Due: int64(now), Sent: int64(now), Done: int64(now), Trace: load.TraceID{1}, Span: load.SpanID{2}, Sampled: true}, nil, nil
	s.Do(c)
	if c.Result.Cause == load.None {
		if j, ok := s.(protocol.Judge); ok {
			c.Result.Cause = j.Judge(c)
		}
	}
	return c
}

// All three ways to describe a service are the same, and the answer is read as JSON.
func TestUnaryByEachDescription(t *testing.T) {
	v1 := serve(t, interopServices)
	alpha := serve(t, func(g *grpc.Server) {
		grpc_testing.RegisterTestServiceServer(g, interop.NewTestServer())
		grpc_reflection_v1alpha.RegisterServerReflectionServer(g, reflection.NewServer(reflection.ServerOptions{Services: g}))
	})
	step := `{method: grpc.testing.TestService/UnaryCall, message: {response_size: "${size}", payload: {body: aGVsbG8=}, fill_username: true}}`
	symbols := expr.NewSymbols(nil)
	scope := &expr.Scope{Rand: rand.NewPCG(1, 1)}
	scope.Set(symbols.Declare("size", expr.Number), expr.Num(3))
	proto, err := protoDir(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, address, target string }{
		{"reflection v1", v1.address, ""},
		{"reflection v1alpha", alpha.address, ""},
		{"protoset", v1.address, "{descriptors: {protoset: [" + interopSet(t) + "]}}"},
		{".proto files", v1.address, "{descriptors: {proto: [grpc/testing/test.proto], import_paths: [" + proto + "]}}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUser(t)
			s := mustCompile(t, "http://"+c.address, c.target, step, symbols)
			for range 2 {
				call := u.do(s, scope)
				if call.Result.Cause != load.None {
					t.Fatalf("cause %v: %v", call.Result.Cause, call.Err)
				}
				if !call.Result.Coded || call.Result.Code != 0 {
					t.Errorf("code %d, an answer's: %t, want OK", call.Result.Code, call.Result.Coded)
				}
				if got, want := string(call.Response.Body()), `{"payload":{"type":"COMPRESSABLE","body":"AAAA"},"username":"","oauthScope":"","serverId":"","grpclbRouteType":"GRPCLB_ROUTE_TYPE_UNKNOWN","hostname":""}`; got != want {
					t.Errorf("body = %s\nwant   %s", got, want)
				}
			}
			if n := u.Env.Connections.Opened.Load(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

// protoDir writes the definitions of the interop services to a folder.
func protoDir(t testing.TB) (string, error) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"grpc/testing/test.proto": `syntax = "proto3"; package grpc.testing; import "grpc/testing/messages.proto"; service TestService { rpc UnaryCall(SimpleRequest) returns (SimpleResponse); }`,
		"grpc/testing/messages.proto": `syntax = "proto3"; package grpc.testing;
			enum PayloadType { COMPRESSABLE = 0; } enum GrpclbRouteType { GRPCLB_ROUTE_TYPE_UNKNOWN = 0; }
			message Payload { PayloadType type = 1; bytes body = 2; }
			message SimpleRequest { PayloadType response_type = 1; int32 response_size = 2; Payload payload = 3; bool fill_username = 4; }
			message SimpleResponse { Payload payload = 1; string username = 2; string oauth_scope = 3; string server_id = 4; GrpclbRouteType grpclb_route_type = 5; string hostname = 6; }`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// A request says who it is, and has the metadata of the configuration, what it says of time included.
func TestMetadataAndDeadline(t *testing.T) {
	srv := serve(t, interopServices)
	u := newUser(t)
	symbols := expr.NewSymbols(nil)
	scope := &expr.Scope{Rand: rand.NewPCG(1, 1)}
	scope.Set(symbols.Declare("user", expr.String), expr.Str("ann"))
	s := mustCompile(t, "http://"+srv.address, "{metadata: {X-Team: red, x-two: target, x-grpc-test-echo-initial: hi}, authority: shop.example, compression: gzip}",
		`{method: grpc.testing.TestService/UnaryCall, metadata: {X-Two: "step ${user}"}}`, symbols)
	c := u.do(s, scope)
	if c.Result.Cause != load.None {
		t.Fatalf("cause %v: %v", c.Result.Cause, c.Err)
	}
	for name, want := range map[string]string{
		"x-team": "red", "x-two": "step ann", "x-perfd": "scenario/run", ":authority": "shop.example",
		"traceparent": "00-01000000000000000000000000000000-0200000000000000-01",
	} {
		if got := srv.got(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := srv.got("user-agent"); !strings.HasPrefix(got, "perfd/test") {
		t.Errorf("user-agent = %q", got)
	}
	if srv.left <= 4*time.Second || srv.left > 5*time.Second {
		t.Errorf("the server has %v left, want what is left of 5s", srv.left)
	}
	if got, ok := c.Response.Header("x-grpc-test-echo-initial"); got != "hi" || !ok {
		t.Errorf("the answer's metadata = %q, %t", got, ok)
	}
	if c.Result.SentBytes == 0 || c.Result.ReceivedBytes == 0 {
		t.Errorf("bytes = %d, %d", c.Result.SentBytes, c.Result.ReceivedBytes)
	}
	// A value that cannot be metadata fails before anything is sent.
	scope.Set(symbols.Declare("user", expr.String), expr.Str("a\nb"))
	if c = u.do(s, scope); c.Result.Cause != load.Input || !strings.Contains(c.Err.Error(), "must be printable ASCII") {
		t.Errorf("cause %v: %v", c.Result.Cause, c.Err)
	}
}

// A status other than OK is a failure of cause status, with its code and message; the connection goes on.
func TestStatuses(t *testing.T) {
	srv := serve(t, interopServices)
	u := newUser(t)
	for _, code := range []codes.Code{codes.Canceled, codes.Unknown, codes.DeadlineExceeded, codes.NotFound, codes.ResourceExhausted, codes.Internal, codes.Unavailable, codes.Unauthenticated} {
		s := mustCompile(t, "http://"+srv.address, "", fmt.Sprintf(`{method: grpc.testing.TestService/UnaryCall, message: {response_status: {code: %d, message: no such thing}}}`, code), nil)
		c := u.do(s, nil)
		if c.Result.Cause != load.Status || c.Result.Code != int32(code) {
			t.Errorf("%v: cause %v, code %d: %v", code, c.Result.Cause, c.Result.Code, c.Err)
			continue
		}
		if want := "status " + codeName(code) + ": no such thing"; c.Err.Error() != want {
			t.Errorf("error = %v, want %s", c.Err, want)
		}
		if got, _ := c.Response.Header("grpc-message"); got != "no such thing" {
			t.Errorf("grpc-message = %q", got)
		}
		var span protocol.Span
		s.(protocol.SpanMapper).Span(&c.Result, c.Address, &span)
		if span.Name != "grpc.testing.TestService/UnaryCall" || !slices.Contains(span.Attributes, protocol.Attribute{Key: "error.type", Text: codeName(code)}) {
			t.Errorf("span = %v", span)
		}
	}
	s := mustCompile(t, "http://"+srv.address, "", `{method: grpc.testing.TestService/UnimplementedCall}`, nil)
	if c := u.do(s, nil); c.Result.Code != int32(codes.Unimplemented) {
		t.Errorf("code %d, cause %v: %v", c.Result.Code, c.Result.Cause, c.Err)
	}
	if n := u.Env.Connections.Opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// What the server lacks, or answers, and the configuration does not go with is said in words.
func TestFailures(t *testing.T) {
	plain := serve(t, func(g *grpc.Server) { grpc_testing.RegisterTestServiceServer(g, interop.NewTestServer()) })
	full := serve(t, interopServices)
	for _, c := range []struct {
		name, address, target, step string
		cause                       load.Cause
		want                        string
	}{
		{"no reflection", plain.address, "", `{method: grpc.testing.TestService/EmptyCall}`, load.Input, "the server has no reflection; describe its services by descriptors"},
		{"no service", full.address, "", `{method: grpc.testing.NoService/EmptyCall}`, load.Status, "the server has no service grpc.testing.NoService"},
		{"no method", full.address, "", `{method: grpc.testing.TestService/EmptyCal}`, load.Input, `grpc.testing.TestService has no method EmptyCal; did you mean "EmptyCall"?`},
		{"no field", full.address, "", `{method: grpc.testing.TestService/UnaryCall, message: {response_sise: 1}}`, load.Input, "step.yaml:1:56: message.response_sise: grpc.testing.SimpleRequest has no field"},
		{"too large", full.address, "{max_read: 1KiB}", `{method: grpc.testing.TestService/UnaryCall, message: {response_size: 10000}}`, load.Overload, "larger than 1024 bytes (max_read)"},
		{"TLS where there is none", full.address, "{address: https://" + full.address + "}", `{method: grpc.testing.TestService/EmptyCall}`, load.TLS, "TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUser(t)
			s := mustCompile(t, "http://"+c.address, c.target, c.step, nil)
			for range 2 {
				call := u.do(s, nil)
				if call.Result.Cause != c.cause || !strings.Contains(call.Err.Error(), c.want) {
					t.Errorf("cause %v: %v, want %v: %s", call.Result.Cause, call.Err, c.cause, c.want)
				}
			}
		})
	}
}

// Health is a service like any other.
func TestHealth(t *testing.T) {
	checks := health.NewServer()
	srv := serve(t, func(g *grpc.Server) {
		grpc_health_v1.RegisterHealthServer(g, checks)
		reflection.Register(g)
	})
	u := newUser(t)
	s := mustCompile(t, "http://"+srv.address, "", `{method: grpc.health.v1.Health/Check, message: {service: ""}}`, nil)
	for status, want := range map[grpc_health_v1.HealthCheckResponse_ServingStatus]string{
		grpc_health_v1.HealthCheckResponse_SERVING:     `{"status":"SERVING"}`,
		grpc_health_v1.HealthCheckResponse_NOT_SERVING: `{"status":"NOT_SERVING"}`,
	} {
		checks.SetServingStatus("", status)
		if c := u.do(s, nil); c.Result.Cause != load.None || string(c.Response.Body()) != want {
			t.Errorf("%v: cause %v: %v", status, c.Result.Cause, c.Err)
		}
	}
}

// A redeployed server is met again on a new connection, without a request that fails.
func TestRestart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	u := newUser(t)
	s := mustCompile(t, "http://"+address, "", `{method: grpc.testing.TestService/EmptyCall}`, nil)
	for i := range 3 {
		g := grpc.NewServer()
		interopServices(g)
		done := make(chan error, 1)
		go func() { done <- g.Serve(l) }()
		for range 3 {
			if c := u.do(s, nil); c.Result.Cause != load.None {
				t.Fatalf("server %d: cause %v: %v", i, c.Result.Cause, c.Err)
			}
		}
		g.GracefulStop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", address); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	if c := u.do(s, nil); c.Result.Cause != load.Refused {
		t.Errorf("without a server: cause %v: %v", c.Result.Cause, c.Err)
	}
	if n := u.Env.Connections.Opened.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// A broken is a connection whose writes fail, and that has an error to read.
type broken struct {
	net.Conn
	said error
}

func (broken) Write([]byte) (int, error)       { return 0, syscall.EPIPE }
func (b broken) Read([]byte) (int, error)      { return 0, b.said }
func (broken) SetReadDeadline(time.Time) error { return nil }

// The alert by which a server refuses a certificate says why a write failed that came first.
func TestWhyAWriteFails(t *testing.T) {
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	for _, c := range []struct {
		name string
		tls  bool
		said error
		want load.Cause
	}{
		{"an alert", true, alert, load.TLS},
		{"nothing else", true, io.EOF, load.Reset},
		{"no TLS", false, alert, load.Reset},
	} {
		nc := &conn{Conn: broken{said: c.said}, of: &channel{line: &line{to: &endpoint{origin: wire.Origin{TLS: c.tls}}}}}
		_, err := nc.Write([]byte("x"))
		if got := wire.Classify(err); got != c.want || wire.Classify(*nc.failure.Load()) != c.want {
			t.Errorf("%s: %v (%v), want %v", c.name, got, err, c.want)
		}
	}
}

// TLS verifies the server, shows the client's certificate, and names the authority that is missing.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	authority, pair := certificates(t, dir)
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	srv := serve(t, interopServices, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	})))
	step, set := `{method: grpc.testing.TestService/EmptyCall}`, interopSet(t)
	for _, c := range []struct {
		name, tls string
		cause     load.Cause
	}{
		{"both", "{ca_file: " + dir + "/ca.pem, cert_file: " + dir + "/cert.pem, key_file: " + dir + "/key.pem}", load.None},
		{"no certificate", "{ca_file: " + dir + "/ca.pem}", load.TLS},
		{"no authority", "{cert_file: " + dir + "/cert.pem, key_file: " + dir + "/key.pem}", load.TLS},
		{"another name", "{ca_file: " + dir + "/ca.pem, server_name: other.example}", load.TLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUser(t)
			call := u.do(mustCompile(t, "https://"+srv.address, "{descriptors: {protoset: ["+set+"]}, tls: "+c.tls+"}", step, nil), nil)
			if call.Result.Cause != c.cause {
				t.Errorf("cause %v: %v, want %v", call.Result.Cause, call.Err, c.cause)
			}
			if c.cause == load.None && call.Result.Phases[load.PhaseTLS] == 0 {
				t.Error("the handshake was not timed")
			}
		})
	}
}

// certificates writes an authority and a certificate of 127.0.0.1 to a folder.
func certificates(t *testing.T, dir string) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	of, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: of})
	for name, content := range map[string][]byte{"ca.pem": cert, "cert.pem": cert, "key.pem": private} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(cert, private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, pair
}

// A mistake of the configuration is at its place.
func TestMistakesOfTheConfiguration(t *testing.T) {
	set := interopSet(t)
	files := "descriptors: {protoset: [" + set + "]}"
	for _, c := range []struct{ target, step, want string }{
		{"{" + files + "}", `{method: grpc.testing.TestServise/EmptyCall}`, "step.yaml:1:10: method: there is no service grpc.testing.TestServise\n\thint: did you mean \"grpc.testing.TestService\"?"},
		{"{" + files + "}", `{method: grpc.testing.TestService/UnaryCal}`, "method: grpc.testing.TestService has no method UnaryCal\n\thint: did you mean \"UnaryCall\"?"},
		{"{" + files + "}", `{method: grpc.testing.TestService/UnaryCall, message: {payload: {bodi: x}}}`, "step.yaml:1:66: message.payload.bodi: grpc.testing.Payload has no field bodi"},
		{"", `{method: UnaryCall}`, "method: must be package.Service/Method, got \"UnaryCall\""},
		{"", `{message: {}}`, "method: is required"},
		{"", `{method: a.B/C, compression: zip}`, "compression: must be none or gzip, got \"zip\""},
		{"", `{method: a.B/C, metadata: {x-perfd: a}}`, "x-perfd is written by perfd itself"},
		{"", `{method: a.B/C, metadata: {grpc-timeout: 1S}}`, "grpc-timeout is written by perfd itself"},
		{"", `{method: a.B/C, metadata: {"a b": a}}`, `"a b" is not a name of metadata`},
		{"", `{method: a.B/C, metadata: {a: "é"}}`, "metadata.a: must be printable ASCII"},
		{"", `{method: a.B/C, message: {a: "${nobody}"}}`, "message.a: "},
		{"{channels: -1}", `{method: a.B/C}`, "channels: must be between 0 and 10000, got -1"},
		{"{keep_alive: {every: 1s}}", `{method: a.B/C}`, "keep_alive.every: must be at least 10s, got 1s"},
		{"{max_read: 2GiB}", `{method: a.B/C}`, "max_read: must be more than 0 and at most 1GiB"},
		{"{max_header: 1}", `{method: a.B/C}`, "max_header: "},
		{"{address: ftp://a}", `{method: a.B/C}`, "address: must be host:port or https://host:port"},
		{"{descriptors: {protoset: [none.binpb]}}", `{method: a.B/C}`, "target.yaml:1:27: descriptors.protoset[0]: none.binpb: no such file or directory\n\thint: write it by protoc"},
		{"{descriptors: {protoset: [testdata/kinds.proto]}}", `{method: a.B/C}`, "testdata/kinds.proto is no file of descriptors"},
		{"{descriptors: {proto: [none.proto]}}", `{method: a.B/C}`, "descriptors.proto[0]: "},
		{"{descriptors: {proto: [edition2024.proto], import_paths: [testdata]}}", `{method: a.B/C}`, "edition2024.proto:1:11: edition value \"2024\" not recognized"},
		{"{descriptors: {proto: [edition2024.proto], import_paths: [testdata]}}", `{method: a.B/C}`, "hint: perfd compiles proto2, proto3 and edition 2023; let protoc or buf compile the files and give the result as protoset"},
		{"{descriptors: {proto: [kinds.proto], import_paths: [testdata]}}", `{method: perfd.test.Mirror/Watch}`, "perfd.test.Mirror.Watch streams, and the step does not say what it does on the stream"},
	} {
		_, err := compile(t, "http://127.0.0.1:1", c.target, c.step, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v\nwant %s", c.target, c.step, err, c.want)
		}
	}
}

// An address that load may not go to is refused when the configuration is read.
func TestTheAllowList(t *testing.T) {
	var errs block.Errors
	c := Kind.Step()
	block.Decode(block.Parse("step.yaml", []byte("{method: a.B/C}"), &errs), c, &errs)
	c.Compile(&protocol.Compiler{
		Base: block.Text{S: "http://shop.example", Path: "url"}, Symbols: expr.NewSymbols(nil), Errors: &errs,
		Allowed: func(host string) error { return fmt.Errorf("%s is not allowed", host) },
	})
	if err := errs.Err(); err == nil || !strings.Contains(err.Error(), "shop.example is not allowed") {
		t.Errorf("error = %v", err)
	}
}

// Branches of a user use its one connection.
func TestBranches(t *testing.T) {
	srv := serve(t, interopServices)
	u := newUser(t)
	s := mustCompile(t, "http://"+srv.address, "{descriptors: {protoset: ["+interopSet(t)+"]}}", `{method: grpc.testing.TestService/EmptyCall}`, nil)
	if c := u.do(s, nil); c.Result.Cause != load.None {
		t.Fatal(c.Err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			branch := &user{}
			u.Branch(&branch.VU)
			defer branch.Close()
			if c := branch.do(s, nil); c.Result.Cause != load.None {
				t.Error(c.Err)
			}
		})
	}
	wg.Wait()
	if n := u.Env.Connections.Opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}
