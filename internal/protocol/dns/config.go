// Package dns is the protocol of steps that ask a server of DNS, over UDP, TCP, TLS (RFC 7858) or HTTPS (RFC 8484).
//
// An answer is taken for that of a query only if it has its number and its question; others are dropped and counted. An
// answer over UDP that is truncated is asked for again over TCP, as resolvers do, in the same request.
package dns

import (
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

// Kind describes DNS to the configuration.
var Kind = protocol.Kind{
	Name: "dns",
	Step: func() protocol.Config {
		return &Config{Type: "A", Class: "IN", Recursion: true, Truncated: retry, EDNS: EDNS{Size: 1232}}
	},
	Target: func() any { return DefaultTarget() },
}

// Transports.
const (
	overUDP   = "udp"
	overTCP   = "tcp"
	overTLS   = "tls"
	overHTTPS = "https"
)

var transports = []string{overUDP, overTCP, overTLS, overHTTPS}

// What becomes of a truncated answer.
const (
	retry  = "retry"
	accept = "accept"
)

// A Config is the dns block of a step.
type Config struct {
	Name      block.Text `yaml:"name" block:"required" doc:"The name to ask for, such as shop.example.com; may hold ${…}."`
	Type      string     `yaml:"type" doc:"Type of the records, such as A (default), AAAA, MX, TXT, SRV, or TYPE65 for one by its number."`
	Class     string     `yaml:"class" doc:"Class of the records: IN (default), CH or HS."`
	Address   block.Text `yaml:"address" doc:"The server to ask, as host or host:port, or beginning with udp://, tcp://, tls:// or https:// (default: the target's)."`
	Transport string     `yaml:"transport" doc:"udp, tcp, tls or https (default: that of the address, which is udp where it says none)."`
	Recursion bool       `yaml:"recursion" doc:"Ask the server to ask others where it does not know (default true)."`
	EDNS      EDNS       `yaml:"edns" doc:"Extensions of DNS (RFC 6891)."`
	Truncated string     `yaml:"truncated" doc:"retry (default) asks again over TCP where an answer over UDP is truncated, accept takes it as it is."`
}

// EDNS says which extensions a query has.
type EDNS struct {
	Size     int  `yaml:"size" doc:"Largest answer over UDP to ask for, in bytes, from 512 (default 1232); 0 sends a query without extensions."`
	DNSSECOK bool `yaml:"dnssec_ok" doc:"Ask for the records of DNSSEC too (default false)."`
}

// A TargetConfig is the dns block of a target.
type TargetConfig struct {
	Address     block.Text           `yaml:"address" doc:"The server to ask, as host or host:port, or beginning with udp://, tcp://, tls:// or https:// with a path, /dns-query by default (default: the target's url, where that begins so)."`
	Transport   string               `yaml:"transport" doc:"udp, tcp, tls or https (default: that of the address)."`
	Connections protocol.Connections `yaml:"connections" doc:"How sockets and connections live."`
	TLS         protocol.TLS         `yaml:"tls" doc:"TLS of tls and https."`
}

// DefaultTarget returns the block of a target without one.
func DefaultTarget() *TargetConfig {
	return &TargetConfig{Connections: protocol.DefaultConnections(), TLS: protocol.DefaultTLS()}
}

// Validate checks the block by itself.
func (t *TargetConfig) Validate(at *block.Node, errs *block.Errors) {
	checkTransport(t.Transport, at, errs)
}

func checkTransport(transport string, at *block.Node, errs *block.Errors) {
	if n := at.Get("transport"); n != nil && !slices.Contains(transports, transport) {
		errs.Add(n.Pos, n.Path, "must be udp, tcp, tls or https, got %q", transport).Hint = block.Nearest(transport, transports)
	}
}

// Validate checks what needs no other part of the configuration.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	checkTransport(c.Transport, at, errs)
	if n := at.Get("type"); n != nil {
		if _, ok := typeNamed(c.Type); !ok {
			errs.Add(n.Pos, n.Path, "is no type of records: %q", c.Type).Hint = block.Nearest(strings.ToUpper(c.Type), typeNames())
		}
	}
	if n := at.Get("class"); n != nil {
		if _, ok := classes[strings.ToUpper(c.Class)]; !ok {
			errs.Add(n.Pos, n.Path, "must be IN, CH or HS, got %q", c.Class)
		}
	}
	if n := at.Get("truncated"); n != nil && c.Truncated != retry && c.Truncated != accept {
		errs.Add(n.Pos, n.Path, "must be retry or accept, got %q", c.Truncated)
	}
}

// Validate checks the extensions by themselves.
func (e *EDNS) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("size"); n != nil && e.Size != 0 && (e.Size < 512 || e.Size > 65535) {
		errs.Add(n.Pos, n.Path, "must be from 512 to 65535, or 0 for none, got %s", n.Scalar)
	}
	if n := at.Get("dnssec_ok"); n != nil && e.DNSSECOK && e.Size == 0 {
		errs.Add(n.Pos, n.Path, "is an extension, and size: 0 sends none")
	}
}

// HintOf returns what probers' users mean by a key.
func (*Config) HintOf(k block.Key) string {
	switch k.Name {
	case "query_name", "query", "question", "host", "domain":
		return "write name"
	case "query_type", "qtype", "rrtype":
		return "write type"
	case "transport_protocol", "protocol":
		return "write transport: udp, tcp, tls or https"
	case "dns_over_tls":
		return "write transport: tls"
	case "server", "resolver", "target":
		return "write address"
	case "recursion_desired":
		return "write recursion"
	case "valid_rcodes":
		return "write expect beside dns: status == 0, or header(\"rcode\") == \"NXDOMAIN\""
	case "validate_answer_rrs", "validate_authority_rrs", "validate_additional_rrs", "expect":
		return "write checks or expect beside dns, such as json.answers[0].data == '192.0.2.1'"
	case "timeout":
		return "write it beside dns"
	}
	return ""
}
