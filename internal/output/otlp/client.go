package otlp

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"

	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/wire"
)

// newClient returns the exporter's client, and what gives its idle connections
// back. The client reads the environment itself, and an option takes the place
// of what is there: but for the endpoint, which it would replace by its default
// where it cannot read it, an option is passed only for what the configuration says.
func newClient(o *Options, at *endpoint, env environment, timeout time.Duration) (otlptrace.Client, func(), error) {
	c := &o.Config
	secure, err := openTLS(c, o.Dir, env)
	if err != nil {
		return nil, nil, err
	}
	headers := make(map[string]string, len(c.Headers))
	for name, value := range c.Headers {
		headers[name] = value.Value()
	}
	if at.protocol == protocolGRPC {
		client, err := grpcClient(o, at, headers, timeout, &grpcTLS{credentials.NewTLS(nil), secure, o.TLSFaults})
		return client, func() {}, err
	}

	// The client's own transport is shared by the process and cannot be closed.
	home, err := url.Parse(at.url)
	if err != nil {
		return nil, nil, output.Bare(err)
	}
	w := output.Way{
		Home: home, Guard: o.Guard, Network: o.Network, Proxy: c.ProxyURL, Timeout: timeout, TLS: secure, Faults: o.TLSFaults,
		Plain: []string{"Content-Encoding", "Content-Type", "User-Agent"},
		Like: &http.Transport{
			TLSHandshakeTimeout:   timeout,
			ForceAttemptHTTP2:     true,
			MaxIdleConns:          2,
			IdleConnTimeout:       90 * time.Second,
			ExpectContinueTimeout: time.Second,
		},
	}
	client := w.Client()
	client.Timeout = timeout
	options := []otlptracehttp.Option{
		otlptracehttp.WithHTTPClient(client),
		otlptracehttp.WithTLSClientConfig(nil), // the transport has it
		otlptracehttp.WithTimeout(timeout),
		otlptracehttp.WithEndpointURL(at.url),
	}
	if c.Protocol != "" {
		options = append(options, otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf))
	}
	if len(headers) > 0 {
		options = append(options, otlptracehttp.WithHeaders(headers))
	}
	switch c.Compression {
	case compressionGzip:
		options = append(options, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	case compressionNone:
		options = append(options, otlptracehttp.WithCompression(otlptracehttp.NoCompression))
	}
	return otlptracehttp.NewClient(options...), client.CloseIdleConnections, nil
}

func grpcClient(o *Options, at *endpoint, headers map[string]string, timeout time.Duration, secure credentials.TransportCredentials) (otlptrace.Client, error) {
	c, options := &o.Config, []otlptracegrpc.Option{otlptracegrpc.WithTimeout(timeout)}
	plain := at.plain
	if at.url != "" {
		options = append(options, otlptracegrpc.WithEndpointURL(at.url))
		plain = strings.HasPrefix(at.url, "http:")
	} else {
		options = append(options, otlptracegrpc.WithEndpoint(at.target))
	}
	// Certificates of the environment would win over the scheme.
	if plain {
		secure = insecure.NewCredentials()
	}
	options = append(options, otlptracegrpc.WithTLSCredentials(secure))
	by, err := at.dial(o)
	if err != nil {
		return nil, err
	}
	options = append(options, by...)
	if len(headers) > 0 {
		options = append(options, otlptracegrpc.WithHeaders(headers))
	}
	switch c.Compression {
	case compressionGzip:
		options = append(options, otlptracegrpc.WithCompressor(compressionGzip))
	case compressionNone: // the client knows no name for none, and would take the environment's
		options = append(options, otlptracegrpc.WithDialOption(grpc.WithDefaultCallOptions(grpc.UseCompressor(encoding.Identity))))
	}
	return otlptracegrpc.NewClient(options...), nil
}

// dial returns the options by which gRPC connects under guard: to the collector that is
// named, by the proxy of the key proxy_url or, where that is empty, of the environment.
func (e *endpoint) dial(o *Options) ([]otlptracegrpc.Option, error) {
	to, ok := e.hostPort()
	if !ok {
		return nil, nil // no network
	}
	host, _, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	d := wire.DialerOptions{Guard: o.Guard.Naming(host)}
	if find := output.Proxy(o.Config.ProxyURL); find != nil {
		u, err := find(&http.Request{URL: &url.URL{Scheme: "https", Host: to}})
		if err == nil && u != nil {
			u.Scheme = "http" // all that gRPC knows
			d.Proxy, err = wire.ParseProxy(u.String())
			d.Guard = d.Guard.Naming(u.Hostname())
		}
		if err != nil {
			return nil, fmt.Errorf("tracing: proxy_url: %w", output.Bare(err))
		}
	}
	by := o.Network.NewDialer(d)
	return []otlptracegrpc.Option{
		otlptracegrpc.WithEndpoint("passthrough:///" + to), // the dialer resolves the name, or its proxy
		otlptracegrpc.WithDialOption(grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return by.DialContext(ctx, "tcp", address)
		})),
	}, nil
}

// hostPort returns the host and port that gRPC connects to; ok is false for a socket of this machine.
func (e *endpoint) hostPort() (to string, ok bool) {
	if strings.HasPrefix(e.target, "unix") {
		return "", false
	}
	to = e.target
	if u, err := url.Parse(e.url); err == nil && e.url != "" {
		to = u.Host
	}
	for _, scheme := range []string{"dns:", "passthrough:"} {
		if rest, found := strings.CutPrefix(to, scheme); found {
			to = rest[strings.LastIndexByte(rest, '/')+1:] // what is before it is a name server
		}
	}
	if _, _, err := net.SplitHostPort(to); err != nil {
		to = net.JoinHostPort(strings.Trim(to, "[]"), "443") // as gRPC has it, with TLS and without
	}
	return to, true
}

// grpcTLS is TLS by gRPC whose files are read again when they change.
type grpcTLS struct {
	credentials.TransportCredentials // what does not depend on the files
	tls                              *wire.TLS
	faults                           *wire.TLSFaults
}

// ClientHandshake makes a connection secure with what the files hold at this moment.
func (g *grpcTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(g.tls.Current(g.faults)).ClientHandshake(ctx, authority, conn)
}

// Clone returns a copy.
func (g *grpcTLS) Clone() credentials.TransportCredentials {
	c := *g
	c.TransportCredentials = g.TransportCredentials.Clone()
	return &c
}

// openTLS returns what the configuration or else the environment says of TLS,
// nil for nothing.
func openTLS(c *Config, dir string, env environment) (*wire.TLS, error) {
	t := c.TLS
	if t == (output.TLS{}) {
		t = output.TLS{
			CAFile:   env.exporter("CERTIFICATE"),
			CertFile: env.exporter("CLIENT_CERTIFICATE"),
			KeyFile:  env.exporter("CLIENT_KEY"),
		}
		if t == (output.TLS{}) {
			return nil, nil
		}
		dir = ""
	}
	out, err := t.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("tracing: tls: %w", err)
	}
	return out, nil
}
