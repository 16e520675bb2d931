// Package udp is the protocol of steps that send a datagram over UDP and wait for the one that answers it.
//
// Nothing in UDP says to which request a datagram is the answer. A virtual user has a connected socket for each address,
// which datagrams of others never reach. What has come before a step is dropped, and after a step that got no answer the
// next one has a socket with another port, so that no late answer is taken for its own. An answer that comes twice is
// told by id, echo or a condition of receive, or by a socket for each step.
package udp

import (
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

// Kind describes UDP to the configuration.
var Kind = protocol.Kind{
	Name:   "udp",
	Step:   func() protocol.Config { return &Config{Socket: keep} },
	Target: func() any { return DefaultTarget() },
}

// What becomes of a step's socket.
const (
	keep   = "keep"
	always = "new"
)

// largest is the most that a datagram over IPv4 holds, in bytes.
const largest = 65507

// A Config is the udp block of a step.
type Config struct {
	Address block.Text      `yaml:"address" doc:"Where to send, as host:port (default: the target's)."`
	Socket  string          `yaml:"socket" doc:"keep (default) uses the socket that the virtual user has for the address, as long as each request is answered; new uses one for the step, and with it another port."`
	Send    *protocol.Bytes `yaml:"send" block:"required" doc:"The datagram to send."`
	Receive block.Text      `yaml:"receive" doc:"any (default) takes the next datagram as the answer, a condition such as json.type == 'pong' the next that meets it, none waits for nothing. The step's expect, checks and extract read the answer as body, header(\"hex\") is the same in hexadecimal digits."`
	Echo    block.Text      `yaml:"echo" doc:"Waits for the datagram in which this has the value that it has in the one that was sent: json.id, or body."`
	ID      *ID             `yaml:"id" doc:"Bytes of what was sent that the answer must hold, too."`
}

// An ID is a part of a datagram that its answer repeats.
type ID struct {
	At       int  `yaml:"at" doc:"Where it begins in what is sent; 0 (default) is the first byte."`
	Bytes    int  `yaml:"bytes" block:"required" doc:"How long it is."`
	AnswerAt *int `yaml:"answer_at" doc:"Where it begins in the answer (default: at)."`
}

// A TargetConfig is the udp block of a target.
type TargetConfig struct {
	Address     block.Text           `yaml:"address" doc:"Where the target's steps send their datagrams, as host:port (default: host and port of the target's url)."`
	Connections protocol.Connections `yaml:"connections" doc:"How sockets live."`
}

// DefaultTarget returns the block of a target without one.
func DefaultTarget() *TargetConfig {
	return &TargetConfig{Connections: protocol.DefaultConnections()}
}

// Validate checks what needs no other part of the configuration.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("socket"); n != nil && c.Socket != keep && c.Socket != always {
		errs.Add(n.Pos, n.Path, "must be keep or new, got %q", c.Socket).Hint = block.Nearest(c.Socket, []string{keep, always})
	}
	var waits []string
	for _, key := range []string{"receive", "echo"} {
		if at.Get(key) != nil {
			waits = append(waits, key)
		}
	}
	if len(waits) > 1 {
		errs.Add(at.Pos, at.Path, "a step waits for one thing, got %s", strings.Join(waits, " and "))
	}
	if n := at.Get("id"); n != nil && c.Receive.S == none {
		errs.Add(n.Pos, n.Path, "is of an answer, and receive: none waits for none")
	}
}

// HintOf returns what probers' users mean by a key.
func (*Config) HintOf(k block.Key) string {
	switch k.Name {
	case "expect", "response":
		return "write expect beside udp for a condition, or receive: for which datagram is the answer"
	case "host", "port", "url":
		return "write address: host:port"
	case "timeout":
		return "write it beside udp"
	}
	return ""
}

// Validate checks the id by itself.
func (i *ID) Validate(at *block.Node, errs *block.Errors) {
	check := func(key string, v, least int) {
		if n := at.Get(key); n != nil && (v < least || v > largest) {
			errs.Add(n.Pos, n.Path, "must be from %d to %d, got %s", least, largest, n.Scalar)
		}
	}
	check("at", i.At, 0)
	check("bytes", i.Bytes, 1)
	if i.AnswerAt != nil {
		check("answer_at", *i.AnswerAt, 0)
	}
}
