package dns

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
)

// schemes are how an address may begin, with the ports of the transports.
var schemes = []protocol.Scheme{
	{Name: "udp", Port: 53},
	{Name: "tcp", Port: 53},
	{Name: "dns", Port: 53},
	{Name: "tls", TLS: true, Port: 853},
	{Name: "https", TLS: true, Port: 443},
	{Name: "http", Port: 80},
}

// transportOf returns the transport of an address that begins with a scheme.
func transportOf(scheme string) string {
	switch scheme {
	case "", "dns":
		return overUDP
	case "http":
		return overHTTPS
	}
	return scheme
}

// Compile turns the block into a step.
func (c *Config) Compile(k *protocol.Compiler) protocol.Step {
	before := k.Errors.Len()
	t, ok := k.Defaults.(*TargetConfig)
	if !ok || t == nil {
		t = DefaultTarget()
	}
	s := &step{
		recursion: c.Recursion, edns: c.EDNS, retries: c.Truncated == retry, connections: t.Connections,
		tls: t.TLS.Open(k), name: expr.ParseTemplate(c.Name, k.Symbols, k.Errors), kind: strings.ToUpper(c.Type),
	}
	s.qtype, _ = typeNamed(c.Type)               // Validate reports mistakes
	s.qclass = classes[strings.ToUpper(c.Class)] // likewise
	if text, constant := s.name.Constant(); constant && k.Errors.Len() == before {
		if _, err := appendQuestionName(nil, []byte(text)); err != nil && c.Name.Hidden {
			k.Errors.Add(c.Name.Pos, c.Name.Path, "is no name of DNS: %q", c.Name)
		} else if err != nil {
			k.Errors.Add(c.Name.Pos, c.Name.Path, "%v", err)
		}
		if !c.Name.Hidden {
			s.spanName = text
		}
	}
	s.locate(c, t, k)
	if k.Errors.Len() > before {
		return nil
	}
	return s
}

// locate compiles where the step asks, and how.
func (s *step) locate(c *Config, t *TargetConfig, k *protocol.Compiler) {
	s.transport = cmp.Or(c.Transport, t.Transport)
	own := c.Address.Path != "" || t.Address.Path != ""
	if !own && s.transport != overHTTPS {
		scheme, _, found := strings.Cut(k.Base.S, "://")
		if found && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
			k.Errors.Add(c.Name.Pos, c.Name.Path, "there is no server to ask: the target's url is one of HTTP").
				Hint = "write address: host below dns here or in the target, or transport: https"
			return
		}
	}
	known := slices.Clone(schemes)
	if i := slices.IndexFunc(known, func(x protocol.Scheme) bool { return x.Name == s.transport }); i > 0 {
		known[0], known[i] = known[i], known[0]
	}
	to := k.Endpoint(known, c.Address, t.Address)
	if to == nil {
		return
	}
	s.origin = to.Origin
	s.transport = cmp.Or(s.transport, transportOf(to.Scheme))
	s.origin.TLS = s.transport == overTLS || s.transport == overHTTPS && to.Scheme != "http"
	if s.path = to.Path; s.transport != overHTTPS && s.path != "/" && own {
		k.Errors.Add(to.At.Pos, to.At.Path, "must end with its port, got %q", to.At).Hint = "a path is for https"
	} else if s.path == "/" {
		s.path = "/dns-query"
	}
	s.host = s.origin.Host
	if strings.Contains(s.host, ":") {
		s.host = "[" + s.host + "]"
	}
	if port := map[bool]uint16{false: 80, true: 443}[s.origin.TLS]; s.origin.Port != port {
		s.host = net.JoinHostPort(s.origin.Host, strconv.Itoa(int(s.origin.Port)))
	}
	s.key = protocol.Key{Kind: Kind.Name, Name: s.transport + " " + strconv.FormatBool(s.origin.TLS) + " " + to.Address()}
	s.shared = protocol.Key{Kind: Kind.Name, Name: "transport"}
	if s.transport == overHTTPS {
		s.shared.Name = "transport https" // which offers HTTP in its handshakes
	}
	if strings.ContainsFunc(s.path, func(r rune) bool { return r <= ' ' || r > '~' }) {
		k.Errors.Add(to.At.Pos, to.At.Path, "holds what must be percent-encoded, got %q", to.At)
	}
}
