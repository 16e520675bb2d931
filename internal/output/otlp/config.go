package otlp

import (
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/output"
)

// Config is the block tracing. What it leaves out is taken from OpenTelemetry's
// environment variables, and only then from the defaults.
type Config struct {
	Endpoint      block.Text              `yaml:"endpoint" doc:"Where spans are sent, such as http://otel-collector:4317 (default: OTEL_EXPORTER_OTLP_ENDPOINT, or a collector on this machine)."`
	Protocol      string                  `yaml:"protocol" doc:"grpc or http/protobuf (default: OTEL_EXPORTER_OTLP_PROTOCOL, or by the endpoint's port: grpc for 4317)."`
	SamplingRatio *float64                `yaml:"sampling_ratio" doc:"Share of the iterations that are traced, target included, 0 to 1 (default: OTEL_TRACES_SAMPLER, or 0.01)."`
	KeepFailures  *bool                   `yaml:"keep_failures" doc:"Every 10 s, also export the first failure of each step and cause (default true)."`
	KeepSlowest   *bool                   `yaml:"keep_slowest" doc:"Every 10 s, also export the slowest request of each step (default true)."`
	Headers       map[string]block.Secret `yaml:"headers" doc:"Header fields of every export, for credentials say."`
	Timeout       block.Duration          `yaml:"timeout" doc:"Longest time for one export, repeats included (default: OTEL_EXPORTER_OTLP_TIMEOUT, or 10s)."`
	Compression   string                  `yaml:"compression" doc:"gzip or none (default: OTEL_EXPORTER_OTLP_COMPRESSION, or none)."`
	ProxyURL      block.Secret            `yaml:"proxy_url" doc:"Proxy by which the collector is reached, such as http://proxy:3128, user and password allowed; none is no proxy (default: HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment)."`
	TLS           output.TLS              `yaml:"tls" doc:"How an https endpoint is verified, and how perfd proves who it is."`
	QueueSize     int                     `yaml:"queue_size" doc:"Most spans that wait for export; iterations beyond are dropped and counted (default 2048)."`
	BatchSize     int                     `yaml:"batch_size" doc:"Spans in one export (default 512); an iteration is never split."`
	Delay         block.Duration          `yaml:"delay" doc:"Longest time that a span waits for others (default 5s)."`
}

// The names of protocols and compressions, as the configuration and
// OpenTelemetry's environment write them.
const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
	protocolJSON = "http/json" // by the environment only

	compressionGzip = "gzip"
	compressionNone = "none"
)

// Validate checks what each key says.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	fail := func(key, format string, args ...any) {
		n := at.Get(key)
		if n == nil {
			n = at
		}
		errs.Add(n.Pos, n.Path, format, args...)
	}
	c.validateEndpoint(errs)
	switch c.Protocol {
	case "", protocolGRPC, protocolHTTP:
	default:
		fail("protocol", "must be grpc or http/protobuf, got %q", c.Protocol)
	}
	switch c.Compression {
	case "", compressionGzip, compressionNone:
	default:
		fail("compression", "must be gzip or none, got %q", c.Compression)
	}
	if r := c.SamplingRatio; r != nil && (*r < 0 || *r > 1) {
		fail("sampling_ratio", "must be between 0 and 1, got %g", *r)
	}
	for name, value := range c.Headers {
		n := at.Get("headers").Get(name)
		switch {
		case !isToken(name):
			errs.Add(n.Pos, n.Path, "is no name of a header field: letters, digits and -, got %q", name)
		case strings.ContainsFunc(value.Value(), isControl):
			errs.Add(n.Pos, n.Path, "must not hold line ends or control characters").Hint = "does the file end with a newline?"
		}
	}
	for key, size := range map[string]int{"queue_size": c.QueueSize, "batch_size": c.BatchSize} {
		if at.Get(key) != nil && size <= 0 {
			fail(key, "must be more than 0, got %d", size)
		}
	}
	for key, d := range map[string]block.Duration{"timeout": c.Timeout, "delay": c.Delay} {
		if at.Get(key) != nil && d <= 0 {
			fail(key, "must be more than 0, got %s", d)
		}
	}
}

// isToken reports whether a name can be that of an HTTP header field and of gRPC metadata.
func isToken(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return name != "" && strings.Trim(strings.ToLower(name), letters+"0123456789-_.") == ""
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
