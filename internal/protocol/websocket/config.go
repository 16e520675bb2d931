// Package websocket is the WebSocket protocol (RFC 6455). A step opens a stream with
// its url, and this step and later ones send and receive messages on it, or listen
// for a time; between steps, while the virtual user thinks, the stream is attended:
// pings are answered, and messages counted and timed when they come.
package websocket

import (
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

// Kind describes WebSocket to the configuration.
var Kind = protocol.Kind{
	Name:   "websocket",
	Step:   func() protocol.Config { return &Config{} },
	Target: func() any { return DefaultTarget() },
}

// A Config is the websocket block of a step.
type Config struct {
	URL          block.Text                `yaml:"url" doc:"Path and query below the target's url, or a whole URL with ws, wss, http or https: the step opens a stream there. Alone it always opens one; with something to do it does so unless a stream is open. Steps without url use the stream that is open."`
	Stream       string                    `yaml:"stream" doc:"Name of the stream, where a virtual user has several."`
	Headers      block.Entries[block.Text] `yaml:"headers" doc:"Header fields of the opening request; they take the place of those of the target's http block of the same name."`
	Credentials  block.Text                `yaml:"credentials" doc:"Name of the entry of credentials that the opening request is sent with, or none (default: the target's)."`
	Subprotocols []block.Text              `yaml:"subprotocols" doc:"Subprotocols to offer, the preferred first. The server must choose one."`
	Compression  string                    `yaml:"compression" doc:"none or permessage-deflate, which is offered then, without windows that last: messages are compressed if the server agrees (default none)."`
	OnOpen       []Message                 `yaml:"on_open" doc:"Messages to send whenever the stream was opened, again after each reconnect too: subscriptions, say."`
	PingEvery    block.Duration            `yaml:"ping_every" scale:"time" doc:"Send a ping this often as long as the stream is open."`
	Sequence     block.Text                `yaml:"sequence" doc:"The number of a message in the stream's sequence, such as json.seq: messages that are missing, come late or twice are counted. It reads the message only."`
	SequencePer  string                    `yaml:"sequence_per" doc:"connection (default) where the numbers begin anew whenever the stream is opened again, stream where they go on: what is missed meanwhile is missing then."`
	Each         block.Text                `yaml:"each" doc:"Condition that every message must meet, such as json.type != nil; the step during which one does not fails. It reads the message only."`
	Reconnect    *protocol.Reconnect       `yaml:"reconnect" doc:"Open a stream that was lost again (default: the next step that needs it fails)."`

	Send    *Message       `yaml:"send" doc:"The message to send."`
	Receive block.Text     `yaml:"receive" doc:"Wait for the message that meets this condition, such as json.type == 'order', or for any. The step's expect, checks and extract read that message. Messages that came since the step before are looked at first."`
	Echo    block.Text     `yaml:"echo" doc:"Wait for the message in which this has the value that it has in the message that was sent: json.id, or body."`
	Listen  block.Duration `yaml:"listen" scale:"time" doc:"Go on taking messages for this long. The step's timeout does not count meanwhile."`
	Ping    bool           `yaml:"ping" doc:"Send a ping and wait for its pong."`
	Close   *int           `yaml:"close" doc:"Close the stream with this code, such as 1000, and wait for the server to close it too."`
}

// A Message is a message to send. One of its keys is the message.
type Message struct {
	Text   *block.Text `yaml:"text" doc:"Text; may hold ${…}."`
	JSON   *block.Node `yaml:"json" doc:"JSON as text, written as YAML; a value that is exactly one ${…} keeps its type."`
	Binary *block.Text `yaml:"binary" doc:"Bytes in base64."`
}

// A TargetConfig is the websocket block of a target.
type TargetConfig struct {
	MaxMessage block.Size `yaml:"max_message" doc:"Largest message that is taken; a larger one fails as overload (default 1MiB)."`
}

const defaultMaxMessage = 1 << 20

// compressionNone is the value of compression that offers none.
const compressionNone = "none"

// DefaultTarget returns the block of a target without one.
func DefaultTarget() *TargetConfig { return &TargetConfig{MaxMessage: defaultMaxMessage} }

// Validate checks the block by itself.
func (t *TargetConfig) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("max_message"); n != nil && (t.MaxMessage <= 0 || t.MaxMessage > 1<<30) {
		errs.Add(n.Pos, n.Path, "must be more than 0 and at most 1GiB, got %s", n.Scalar)
	}
}

// Validate checks the message by itself.
func (m *Message) Validate(at *block.Node, errs *block.Errors) {
	n := 0
	for _, key := range []string{"text", "json", "binary"} {
		if at.Get(key) != nil {
			n++
		}
	}
	if n != 1 {
		errs.Add(at.Pos, at.Path, "must have one of text, json and binary").Hint = "write {json: {type: subscribe}}"
	}
}

// ofOpening are the keys that say how a stream is opened.
var ofOpening = []string{"headers", "credentials", "subprotocols", "compression", "on_open", "ping_every", "sequence", "sequence_per", "each", "reconnect"}

// Validate checks what needs no other part of the configuration.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	if at.Get("url") == nil {
		for _, key := range ofOpening {
			if n := at.Get(key); n != nil {
				errs.Add(n.Pos, n.Path, "is said where the stream is opened: the step has no url").Hint = "write it beside url"
			}
		}
	}
	protocol.ValidateSequence(at, errs)
	if n, known := at.Get("compression"), []string{compressionNone, deflateName}; n != nil && !slices.Contains(known, c.Compression) {
		errs.Add(n.Pos, n.Path, "must be none or %s, got %s", deflateName, n.Found()).Hint = block.Nearest(c.Compression, known)
	}
	var waits []string
	for _, key := range []string{"receive", "echo", "listen", "ping", "close"} {
		if at.Get(key) != nil {
			waits = append(waits, key)
		}
	}
	switch {
	case len(waits) > 1:
		errs.Add(at.Pos, at.Path, "a step waits for one thing, got %s", strings.Join(waits, " and ")).Hint = "write a step for each"
	case len(waits) == 0 && c.Send == nil && at.Get("url") == nil:
		errs.Add(at.Pos, at.Path, "does nothing").Hint = "write url to open a stream, send, receive, echo, listen, ping or close"
	}
	if n := at.Get("echo"); n != nil && c.Send == nil {
		errs.Add(n.Pos, n.Path, "is an answer to the message of send, and there is none").Hint = "write receive to wait for a message"
	}
	if n := at.Get("send"); n != nil && c.Close != nil {
		errs.Add(n.Pos, n.Path, "cannot stand beside close").Hint = "write a step before it"
	}
	for key, d := range map[string]block.Duration{"listen": c.Listen, "ping_every": c.PingEvery} {
		if n := at.Get(key); n != nil && d <= 0 {
			errs.Add(n.Pos, n.Path, "must be more than 0, got %s", n.Scalar)
		}
	}
	if n := at.Get("ping"); n != nil && !c.Ping {
		errs.Add(n.Pos, n.Path, "must be true").Hint = "leave it out for none"
	}
	if n := at.Get("close"); n != nil && (c.Close == nil || *c.Close != closeNormal && *c.Close != 1001 && (*c.Close < firstOfLibrary || *c.Close > 4999)) {
		errs.Add(n.Pos, n.Path, "must be 1000, 1001 or a code from 3000 to 4999, got %s", n.Found()).Hint = "write close: 1000"
	}
}
