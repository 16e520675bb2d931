// Package tcp is the protocol of steps that send bytes over TCP and read bytes back: for servers whose protocol perfd
// does not know, and for probes of whether and how fast a port answers.
//
// A virtual user keeps a connection to each address, unless a step asks for a new one. What the server sends after a
// step has read what it waits for stays for the next step, if that begins by reading; a step that begins by sending
// opens another connection then, so that no answer is taken for that of another request.
package tcp

import (
	"regexp"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

// Kind describes TCP to the configuration.
var Kind = protocol.Kind{
	Name:   "tcp",
	Step:   func() protocol.Config { return &Config{Connection: keep} },
	Target: func() any { return DefaultTarget() },
}

// What becomes of a step's connection.
const (
	keep   = "keep"
	always = "new"
)

// A Config is the tcp block of a step.
type Config struct {
	Address    block.Text      `yaml:"address" doc:"Where to connect, as host:port, or as tls://host:port (default: the target's)."`
	Connection string          `yaml:"connection" doc:"keep (default) uses the connection that the virtual user has to the address, new opens one for the step and closes it."`
	OnOpen     []Exchange      `yaml:"on_open" doc:"What is sent and read whenever a connection was opened, before the step's own (default: the target's). It counts as the phase connect."`
	Send       *protocol.Bytes `yaml:"send" doc:"The bytes to send."`
	Receive    *Receive        `yaml:"receive" doc:"What to read then; the step's expect, checks and extract read it as body, and header(\"hex\") is the same in hexadecimal digits (default: nothing)."`
	Exchanges  []Exchange      `yaml:"exchanges" doc:"Several of send, receive and start_tls in order, instead of send and receive; what is received last is the step's answer."`
}

// An Exchange is one pair of bytes to send and bytes to read.
type Exchange struct {
	Send     *protocol.Bytes `yaml:"send" doc:"The bytes to send."`
	Receive  *Receive        `yaml:"receive" doc:"What to read then."`
	StartTLS bool            `yaml:"start_tls" doc:"Go on with TLS, before anything else of the exchange."`
}

// A Receive is what is read. Exactly one of its keys but expect says where it ends.
type Receive struct {
	Until        *protocol.Bytes `yaml:"until" doc:"Up to these bytes, such as \"\\r\\n\", which are no part of the answer."`
	Length       int             `yaml:"length" doc:"So many bytes."`
	LengthPrefix *LengthPrefix   `yaml:"length_prefix" doc:"As many bytes as a number before them says, which is no part of the answer."`
	Regex        block.Text      `yaml:"regex" doc:"Until what has come matches this regular expression, up to the end of the match; at most 64KiB."`
	End          bool            `yaml:"end" doc:"Until the server closes the connection."`
	For          block.Duration  `yaml:"for" doc:"Whatever comes within this time."`
	Expect       block.Text      `yaml:"expect" doc:"Regular expression that it must match, or the step fails with cause expect."`
}

// A LengthPrefix is a number of bytes before those bytes.
type LengthPrefix struct {
	Bytes    int    `yaml:"bytes" block:"required" doc:"How long the number is: 1, 2, 4 or 8."`
	Order    string `yaml:"order" doc:"Order of its bytes, big (default) or little."`
	Includes bool   `yaml:"includes_prefix" doc:"The number counts itself, too."`
}

// A TargetConfig is the tcp block of a target.
type TargetConfig struct {
	Address     block.Text           `yaml:"address" doc:"Where the target's steps connect, as host:port, or as tls://host:port (default: host and port of the target's url, with TLS where that is tls or https)."`
	OnOpen      []Exchange           `yaml:"on_open" doc:"What is sent and read whenever a connection was opened, such as a greeting, start_tls and a login."`
	MaxRead     block.Size           `yaml:"max_read" doc:"Most bytes that may be read for one receive whose end is not known before, or that expressions read (default 1MiB); more fails as overload."`
	Connections protocol.Connections `yaml:"connections" doc:"How connections live."`
	TLS         protocol.TLS         `yaml:"tls" doc:"TLS of tls://… and of start_tls."`
}

const mostRead = 1 << 30 // bytes of max_read: each virtual user may hold as much

// DefaultTarget returns the block of a target without one.
func DefaultTarget() *TargetConfig {
	return &TargetConfig{MaxRead: 1 << 20, Connections: protocol.DefaultConnections(), TLS: protocol.DefaultTLS()}
}

// Validate checks the block by itself.
func (t *TargetConfig) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("max_read"); n != nil && (t.MaxRead <= 0 || t.MaxRead > mostRead) {
		errs.Add(n.Pos, n.Path, "must be more than 0 and at most 1GiB, got %s", n.Scalar)
	}
}

// Validate checks what needs no other part of the configuration.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("connection"); n != nil && c.Connection != keep && c.Connection != always {
		errs.Add(n.Pos, n.Path, "must be keep or new, got %q", c.Connection).Hint = block.Nearest(c.Connection, []string{keep, always})
	}
	if n := at.Get("exchanges"); n != nil && (c.Send != nil || c.Receive != nil) {
		errs.Add(n.Pos, n.Path, "stands instead of send and receive").Hint = "write them as its first entry: - {send: …, receive: …}"
	}
}

// HintOf returns what probers' users mean by a key.
func (*Config) HintOf(k block.Key) string {
	switch k.Name {
	case "query_response", "query":
		return "write exchanges: [{send: …, receive: {until: \"\\n\", expect: …}}]"
	case "expect", "response":
		return "write receive: {until: \"\\n\", expect: …}, or expect beside tcp for a condition"
	case "host", "port", "url":
		return "write address: host:port"
	case "tls", "ssl":
		return "write address: tls://host:port, and tls: {…} in the tcp block of the target for its options"
	case "timeout":
		return "write it beside tcp"
	}
	return ""
}

// HintOf returns what probers' users mean by a key.
func (*Exchange) HintOf(k block.Key) string {
	switch k.Name {
	case "starttls":
		return "write start_tls"
	case "expect":
		return "write receive: {until: \"\\n\", expect: …}"
	}
	return ""
}

// Validate checks the exchange by itself.
func (x *Exchange) Validate(at *block.Node, errs *block.Errors) {
	if x.Send == nil && x.Receive == nil && !x.StartTLS {
		errs.Add(at.Pos, at.Path, "does nothing").Hint = "write send, receive or start_tls: true"
	}
}

// ends are the keys that say where what is read ends.
var ends = []string{"until", "length", "length_prefix", "regex", "end", "for"}

// Validate checks the receive by itself.
func (r *Receive) Validate(at *block.Node, errs *block.Errors) {
	var written []string
	for _, key := range ends {
		if at.Get(key) != nil {
			written = append(written, key)
		}
	}
	if len(written) != 1 {
		got := "none of them"
		if len(written) > 1 {
			got = strings.Join(written, " and ")
		}
		errs.Add(at.Pos, at.Path, "must have one of until, length, length_prefix, regex, end and for, got %s", got).Hint = `write {until: "\r\n"} for a line`
	}
	if n := at.Get("length"); n != nil && r.Length < 1 {
		errs.Add(n.Pos, n.Path, "must be at least 1, got %s", n.Scalar)
	}
	if n := at.Get("end"); n != nil && !r.End {
		errs.Add(n.Pos, n.Path, "must be true").Hint = "write where else what is read ends"
	}
	if n := at.Get("for"); n != nil && r.For <= 0 {
		errs.Add(n.Pos, n.Path, "must be more than 0, got %s", n.Scalar)
	}
	checkRegex(r.Regex, errs)
	checkRegex(r.Expect, errs)
}

func checkRegex(t block.Text, errs *block.Errors) {
	switch _, err := regexp.Compile(t.S); {
	case err == nil:
	case t.Hidden:
		errs.Add(t.Pos, t.Path, "must be a regular expression, got %q", t)
	default:
		errs.Add(t.Pos, t.Path, "%v", err)
	}
}

// Validate checks the prefix by itself.
func (p *LengthPrefix) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("bytes"); n != nil && p.Bytes != 1 && p.Bytes != 2 && p.Bytes != 4 && p.Bytes != 8 {
		errs.Add(n.Pos, n.Path, "must be 1, 2, 4 or 8, got %s", n.Scalar)
	}
	if n := at.Get("order"); n != nil && p.Order != "big" && p.Order != "little" {
		errs.Add(n.Pos, n.Path, "must be big or little, got %q", p.Order)
	}
}
