package otlp

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/output"
)

// An endpoint is where spans go, and how.
type endpoint struct {
	protocol string
	// url is an address with its scheme; of HTTP, with the path that spans are posted to.
	url string
	// target is what gRPC dials where there is no url, and plain that it does so without TLS.
	target string
	plain  bool
	// variable is the environment variable that named the endpoint, empty for the configuration.
	variable string
	secret   bool // it must not be shown
}

// A wrongEndpoint is an endpoint of the environment that perfd cannot use.
type wrongEndpoint struct{ variable, text, hint string }

func (w *wrongEndpoint) Error() string {
	return fmt.Sprintf("environment %s: %s (%s)", w.variable, w.text, w.hint)
}

// resolve returns the endpoint of the configuration or else the environment, or
// else a collector on this machine, as OpenTelemetry's specification has it. Its
// error is a *wrongEndpoint.
func resolve(c *Config, env environment) (endpoint, error) {
	at, variable := c.Endpoint.S, ""
	if at == "" {
		at, variable = env.endpoint()
	}
	e := endpoint{protocol: c.Protocol, variable: variable, secret: c.Endpoint.Hidden}
	if e.protocol == "" {
		e.protocol = env.protocol(at)
	}
	switch {
	case at == "" && e.protocol == protocolGRPC:
		at = "http://localhost:4317"
	case at == "":
		at = "http://localhost:4318"
	case variable != "":
		if err := e.readVariable(at, env); err != nil {
			return e, err
		}
		if e.url == "" {
			return e, nil
		}
	}
	e.url = at
	if e.protocol == protocolGRPC || variable == tracesEndpoint { // whose path is as it is written
		return e, nil
	}
	var err error
	e.url, err = url.JoinPath(at, "v1/traces")
	return e, err
}

// grpcSchemes begin the names, other than addresses, that gRPC resolves by itself.
var grpcSchemes = []string{"dns:", "unix:", "unix-abstract:", "passthrough:"}

// readVariable reads an endpoint of the environment. It may be an address with a
// scheme. For gRPC it may also be host:port, which is with TLS unless
// OTEL_EXPORTER_OTLP_INSECURE is true, or a name that gRPC resolves.
func (e *endpoint) readVariable(at string, env environment) error {
	wrong := &wrongEndpoint{variable: e.variable}
	if scheme, _, found := strings.Cut(at, "://"); found && (scheme == "http" || scheme == "https") {
		wrong.text, wrong.hint = badAddress(at, e.protocol)
		if wrong.text != "" {
			return wrong
		}
		e.url = at
		return nil
	}
	e.plain = strings.EqualFold(env.exporter("INSECURE"), "true")
	if e.protocol == protocolGRPC {
		for _, s := range grpcSchemes {
			if strings.HasPrefix(at, s) {
				if by, found := strings.CutPrefix(at, "dns://"); found && !strings.HasPrefix(by, "/") {
					wrong.text, wrong.hint = "must not name a name server: those of the system are asked", "write dns:///host:port"
					return wrong
				}
				e.target, e.plain = at, e.plain || s[:4] == "unix"
				return nil
			}
		}
		if isHostPort(at) {
			e.target = at
			return nil
		}
	}
	wrong.text = "must be an address such as http://otel-collector:" + map[bool]string{true: "4317", false: "4318"}[e.protocol == protocolGRPC]
	if !strings.Contains(at, "@") { // what is before it may be a password
		wrong.text += ", got " + strconv.Quote(at)
	}
	wrong.hint = "write http:// or https:// before the host"
	if isHostPort(at) {
		wrong.hint = schemeHint(at) + "; without a scheme it is an address for grpc only, and OTEL_EXPORTER_OTLP_PROTOCOL is " + e.protocol
	}
	return wrong
}

// badAddress says what is wrong with an address that has a scheme, and how to mend it. Both are empty where nothing is.
func badAddress(at, protocol string) (text, hint string) {
	u, err := url.Parse(at)
	switch {
	case err != nil || u.Hostname() == "":
		return "must be an address such as http://otel-collector:4318", "write the host and the port after ://"
	case output.CheckNamed(u.Hostname()) != nil:
		return output.CheckNamed(u.Hostname()).Error(), ""
	case u.User != nil:
		return "must not hold a user or password", "send credentials in OTEL_EXPORTER_OTLP_HEADERS"
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Sprintf("must end with its port or path, got %q", at), "leave out what follows ? or #"
	case protocol == protocolGRPC && strings.Trim(u.Path, "/") != "":
		return fmt.Sprintf("must end with its port where the protocol is grpc, got %q", at), "leave out the path, or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
	}
	return "", ""
}

func schemeHint(hostPort string) string {
	return fmt.Sprintf("write http://%s, or https://%[1]s for TLS", hostPort)
}

// isHostPort reports whether a text is a host and the number of a port.
func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || strings.ContainsAny(host, "/@ ") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// shown is the endpoint as logs name it, and what may be meant otherwise.
func (e *endpoint) shown() []any {
	switch {
	case e.secret:
		return nil
	case e.target == "":
		return []any{"endpoint", e.url}
	case e.plain:
		return []any{"endpoint", e.target}
	}
	return []any{
		"endpoint", e.target, "tls",
		e.variable + " has no scheme, which means TLS: for none write http:// before it, or set OTEL_EXPORTER_OTLP_INSECURE=true",
	}
}

// checkEnvironment returns the endpoint, and reports one of the environment that cannot be used.
func (b *Blocks) checkEnvironment(errs *block.Errors) (e endpoint) {
	if !b.Enabled() {
		return e
	}
	var c Config
	if b.Tracing != nil {
		c = *b.Tracing
	}
	e, err := resolve(&c, environment{os.Getenv, discard})
	if wrong, ok := errors.AsType[*wrongEndpoint](err); ok {
		errs.Add(block.Pos{Env: wrong.variable}, "tracing.endpoint", "%s", wrong.text).Hint = wrong.hint
	}
	return e
}

// validateEndpoint checks the endpoint of the configuration.
func (c *Config) validateEndpoint(errs *block.Errors) {
	if c.Endpoint.Path == "" {
		return
	}
	problem, hint := "", ""
	u, err := url.Parse(c.Endpoint.S)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "":
		problem = "must be an address such as http://otel-collector:4317"
		if isHostPort(c.Endpoint.S) && !c.Endpoint.Hidden {
			hint = schemeHint(c.Endpoint.S)
		}
	case output.CheckNamed(u.Hostname()) != nil:
		errs.Add(c.Endpoint.Pos, c.Endpoint.Path, "%v", output.CheckNamed(u.Hostname()))
		return
	case u.User != nil:
		errs.Add(c.Endpoint.Pos, c.Endpoint.Path, "must not hold a user or password").Hint = "send credentials in headers, from ${env:…} or ${file:…}"
		return
	case u.RawQuery != "" || u.Fragment != "":
		problem = "must end with its port or path"
	case c.Protocol == protocolGRPC && strings.Trim(u.Path, "/") != "":
		problem = "must end with its port where the protocol is grpc"
	case u.Scheme == "http" && c.TLS != output.TLS{}:
		problem, hint = "must be https where there is a tls block", "write https, or leave tls out"
	default:
		return
	}
	errs.Add(c.Endpoint.Pos, c.Endpoint.Path, problem+", got %q", c.Endpoint).Hint = hint
}
