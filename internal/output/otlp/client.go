package otlp

import (
	"context"
	"fmt"
	"net"
	"net/http"
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
		return grpcClient(at, headers, c.Compression, timeout, &grpcTLS{credentials.NewTLS(nil), secure, o.TLSFaults}), func() {}, nil
	}

	// The client's own transport is shared by the process and cannot be closed.
	transport := wire.NewRoundTripper(&http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   timeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          2,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}, secure, o.TLSFaults)
	options := []otlptracehttp.Option{
		otlptracehttp.WithHTTPClient(&http.Client{Transport: transport, Timeout: timeout}),
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
	return otlptracehttp.NewClient(options...), transport.CloseIdleConnections, nil
}

func grpcClient(at *endpoint, headers map[string]string, compression string, timeout time.Duration, secure credentials.TransportCredentials) otlptrace.Client {
	options := []otlptracegrpc.Option{otlptracegrpc.WithTimeout(timeout)}
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
	if len(headers) > 0 {
		options = append(options, otlptracegrpc.WithHeaders(headers))
	}
	switch compression {
	case compressionGzip:
		options = append(options, otlptracegrpc.WithCompressor(compressionGzip))
	case compressionNone: // the client knows no name for none, and would take the environment's
		options = append(options, otlptracegrpc.WithDialOption(grpc.WithDefaultCallOptions(grpc.UseCompressor(encoding.Identity))))
	}
	return otlptracegrpc.NewClient(options...)
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
