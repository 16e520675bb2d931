package otlp

import (
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The defaults of what neither the configuration nor the environment says.
const (
	defaultRatio     = 0.01
	defaultTimeout   = 10 * time.Second
	defaultQueueSize = 2048
	defaultBatchSize = 512
	defaultDelay     = 5 * time.Second
)

// Enabled reports whether spans are to be exported: c is the block tracing, nil
// where there is none.
func Enabled(c *Config, environ func(string) string) bool {
	if strings.EqualFold(environ("OTEL_SDK_DISABLED"), "true") || environ("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return c != nil || environ(tracesEndpoint) != "" || environ("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
}

// An environment is OpenTelemetry's environment variables. As its specification
// asks, a value that cannot be read is logged and otherwise ignored.
type environment struct {
	get func(string) string
	log *slog.Logger
}

// exporter returns a variable of the exporter, that for traces before that for all signals.
func (e environment) exporter(name string) string {
	if v := strings.TrimSpace(e.get("OTEL_EXPORTER_OTLP_TRACES_" + name)); v != "" {
		return v
	}
	return strings.TrimSpace(e.get("OTEL_EXPORTER_OTLP_" + name))
}

// tracesEndpoint is the variable whose value is the whole address that spans are posted to.
const tracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"

// endpoint returns the environment's endpoint and the variable that has it, both empty where there is none.
func (e environment) endpoint() (at, variable string) {
	for _, variable := range []string{tracesEndpoint, "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if at := strings.TrimSpace(e.get(variable)); at != "" {
			return at, variable
		}
	}
	return "", ""
}

var discard = slog.New(slog.DiscardHandler)

func (e environment) ignored(name string) {
	e.log.Warn("an environment variable has a value that perfd cannot use and is ignored", "name", name)
}

// count reads a number above zero, 0 for none.
func (e environment) count(name string) int {
	v := strings.TrimSpace(e.get(name))
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n <= 0 {
		e.ignored(name)
		return 0
	}
	return n
}

// timeout reads the exporter's timeout, 0 for none.
func (e environment) timeout() time.Duration {
	v := e.exporter("TIMEOUT")
	if v == "" {
		return 0
	}
	ms, err := strconv.Atoi(v)
	if err != nil || ms <= 0 {
		e.ignored("OTEL_EXPORTER_OTLP_TIMEOUT")
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// ratio reads the sampler. perfd begins every trace itself, so that what a
// sampler does with a parent's decision makes no difference.
func (e environment) ratio() float64 {
	const name = "OTEL_TRACES_SAMPLER"
	switch sampler := strings.TrimPrefix(strings.TrimSpace(e.get(name)), "parentbased_"); sampler {
	case "":
		return defaultRatio
	case "always_on":
		return 1
	case "always_off":
		return 0
	case "traceidratio":
		arg := strings.TrimSpace(e.get(name + "_ARG"))
		if arg == "" {
			return 1 // so the specification says
		}
		r, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(r >= 0 && r <= 1) {
			e.ignored(name + "_ARG")
			return defaultRatio
		}
		return r
	default:
		e.ignored(name)
		return defaultRatio
	}
}

// protocol returns the transport for an endpoint, which is empty where neither
// the configuration nor the environment has one.
func (e environment) protocol(endpoint string) string {
	switch p := e.exporter("PROTOCOL"); p {
	case protocolGRPC, protocolHTTP, protocolJSON:
		return p
	case "":
	default:
		e.ignored("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	port := ""
	if u, err := url.Parse(endpoint); err == nil {
		port = u.Port()
	}
	// The environment's endpoint may be written without its scheme.
	if endpoint == "" || port == "4317" || strings.HasSuffix(endpoint, ":4317") {
		return protocolGRPC
	}
	return protocolHTTP
}

// resource reads the attributes of the resource, in their order.
func (e environment) resource() (names, values []string) {
	const name = "OTEL_RESOURCE_ATTRIBUTES"
	for pair := range strings.SplitSeq(e.get(name), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		plain, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || key == "" || err != nil {
			e.ignored(name)
			continue
		}
		names, values = append(names, key), append(values, plain)
	}
	if service := e.get("OTEL_SERVICE_NAME"); service != "" {
		names, values = append(names, "service.name"), append(values, service)
	}
	return names, values
}
