// Package grpc is the protocol gRPC: a message is compiled once into its bytes on the wire with
// slots, and sent by grpc-go with a codec that takes the bytes as they are.
//
// A method that streams opens a stream, on which this step and later ones send and receive
// messages, or listen for a time. A goroutine reads it as long as it is open, so that messages are
// counted and timed when they come, whatever its virtual user does.
//
// A request has the metadata of the configuration and, besides that, only user-agent, x-perfd,
// traceparent and what gRPC itself sends: grpc-timeout is what is left of the step's timeout.
//
// A channel is one connection, which its virtual user owns unless the target's channels says
// how many all of them share. It is replaced as every other connection is: by age, by what DNS
// says, when it broke, and when nothing at all came on it during a request.
package grpc

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

// Kind describes gRPC to the configuration.
var Kind = protocol.Kind{
	Name:   "grpc",
	Step:   func() protocol.Config { return &Config{} },
	Target: func() any { return DefaultTarget() },

	Garbage: true,
}

// A Config is the grpc block of a step.
type Config struct {
	Method      block.Text                `yaml:"method" doc:"The method, as package.Service/Method. One that streams opens a stream, and needs stream or a key that says what the step does on it: alone with stream it always opens one, with something to do it does so unless a stream is open. Steps without method use the stream that is open."`
	Message     *block.Node               `yaml:"message" doc:"The message, written as YAML in the form that Protocol Buffers have in JSON, with names of fields as in the .proto file or in JSON; may hold ${…} (default: an empty one). On a stream it is sent whenever that was opened, again after each reconnect too; where the client streams the default is none."`
	Metadata    block.Entries[block.Text] `yaml:"metadata" doc:"Metadata; it takes the place of the target's of the same name. Values may hold ${…}."`
	Compression string                    `yaml:"compression" doc:"none or gzip (default: the target's)."`
	Credentials block.Text                `yaml:"credentials" doc:"Name of the entry of credentials that the request is sent with, or none (default: the target's; none where the request has the same metadata of its own)."`

	Stream      string              `yaml:"stream" doc:"Name of the stream, of which a virtual user may have several."`
	Lifetime    block.Duration      `yaml:"lifetime" doc:"How long the stream may last, sent along as grpc-timeout (default: for ever). A step's timeout is how long the step may take."`
	Sequence    block.Text          `yaml:"sequence" doc:"The number of a message in the stream's sequence, such as json.seq: messages that are missing, come late or twice are counted. It reads the message only."`
	SequencePer string              `yaml:"sequence_per" doc:"connection (default) where the numbers begin anew whenever the stream is opened again, stream where they go on: what is missed meanwhile is missing then."`
	Each        block.Text          `yaml:"each" doc:"Condition that every message must meet, such as json.price > 0; the step during which one does not fails. It reads the message only."`
	Reconnect   *protocol.Reconnect `yaml:"reconnect" doc:"Open a stream that was lost, or that the server ended, again (default: the next step that needs it fails)."`

	Send    *block.Node    `yaml:"send" doc:"The message to send on the stream, written as message is."`
	Receive block.Text     `yaml:"receive" doc:"Wait for the message that meets this condition, such as json.status == 'PAID', or for any. The step's expect, checks and extract read that message. Messages that came since the step before are looked at first."`
	Echo    block.Text     `yaml:"echo" doc:"Wait for the message in which this has the value that it has in the message that was sent: json.id, or body."`
	Listen  block.Duration `yaml:"listen" scale:"time" doc:"Go on taking messages for this long. The step's timeout does not count meanwhile."`
	Close   string         `yaml:"close" doc:"end sends nothing more, takes what the server still sends and waits for its status; the step's expect, checks and extract read that and the last message. cancel gives the stream up."`
}

const (
	closeEnd    = "end"
	closeCancel = "cancel"
)

// Keys of a step that say how a stream is opened, and of one that waits for something on it.
var (
	ofOpening = []string{"message", "metadata", "compression", "credentials", "lifetime", "sequence", "sequence_per", "each", "reconnect"}
	ofWaiting = []string{"receive", "echo", "listen", "close"}
)

// streams reports whether the step is one on a stream.
func (c *Config) streams() bool {
	return c.Stream != "" || c.Lifetime != 0 || c.Sequence.Path != "" || c.SequencePer != "" || c.Each.Path != "" || c.Reconnect != nil ||
		c.Send != nil || c.Receive.Path != "" || c.Echo.Path != "" || c.Listen != 0 || c.Close != ""
}

// A TargetConfig is the grpc block of a target: defaults of its steps, and options of its channels.
type TargetConfig struct {
	Address     block.Text                `yaml:"address" doc:"Where the services are, as host:port, or as https://host:port for TLS (default: host and port of the target's url, with TLS where that is https)."`
	Descriptors Descriptors               `yaml:"descriptors" doc:"Where the services are described (default: by the server's reflection)."`
	Metadata    block.Entries[block.Text] `yaml:"metadata" doc:"Metadata of every request."`
	Authority   string                    `yaml:"authority" doc:"What requests name as their host (:authority) instead of the address."`
	Compression string                    `yaml:"compression" doc:"none (default) or gzip: how messages are sent. What the server compresses is always read."`
	Channels    int                       `yaml:"channels" doc:"How many channels all virtual users share; 0 (default) gives each its own."`
	KeepAlive   KeepAlive                 `yaml:"keep_alive" doc:"Pings that find a connection whose peer has gone (default: none)."`
	MaxRead     block.Size                `yaml:"max_read" doc:"Largest message of an answer, after decompression (default 16MiB); a larger one fails as overload."`
	MaxHeader   block.Size                `yaml:"max_header" doc:"Most that the metadata of an answer may come to (default 64KiB)."`
	Connections protocol.Connections      `yaml:"connections" doc:"How connections live."`
	TLS         protocol.TLS              `yaml:"tls" doc:"TLS of https."`

	streams *sync.Map // the methods of streams that steps open, by scenario and name of the stream
}

// KeepAlive says when a connection is asked whether its peer is there.
type KeepAlive struct {
	Every   block.Duration `yaml:"every" doc:"After how long without a byte from the peer it is pinged, at least 10s; 0 is never. Servers end connections that ping more often than they allow, by default every 5m."`
	Timeout block.Duration `yaml:"timeout" doc:"How long the peer has to answer before the connection is closed (default 20s)."`
	Idle    bool           `yaml:"idle" doc:"Ping while no request is under way, too (default false)."`
}

const (
	compressionNone = "none"
	compressionGzip = "gzip"
)

// DefaultTarget returns the block of a target without one.
func DefaultTarget() *TargetConfig {
	return &TargetConfig{
		streams:     &sync.Map{},
		Compression: compressionNone, MaxRead: 16 << 20, MaxHeader: 64 << 10,
		KeepAlive:   KeepAlive{Timeout: block.Duration(20 * time.Second)},
		Connections: protocol.DefaultConnections(), TLS: protocol.DefaultTLS(),
	}
}

const (
	mostRead     = 1 << 30 // bytes of max_read: each virtual user may hold as much
	leastHeader  = 1 << 10
	mostHeader   = 16 << 20
	mostChannels = 10000
	leastPing    = 10 * time.Second // grpc-go takes less for this
)

// Validate checks what needs no other part of the configuration.
func (t *TargetConfig) Validate(n *block.Node, errs *block.Errors) {
	checkCompression(t.Compression, n, errs)
	checkMetadata(t.Metadata, errs)
	if at := n.Get("max_read"); at != nil && (t.MaxRead <= 0 || t.MaxRead > mostRead) {
		errs.Add(at.Pos, at.Path, "must be more than 0 and at most 1GiB, got %s", at.Scalar)
	}
	if at := n.Get("max_header"); at != nil && (t.MaxHeader < leastHeader || t.MaxHeader > mostHeader) {
		errs.Add(at.Pos, at.Path, "must be from 1KiB to 16MiB, got %s", at.Scalar)
	}
	if at := n.Get("channels"); at != nil && (t.Channels < 0 || t.Channels > mostChannels) {
		errs.Add(at.Pos, at.Path, "must be between 0 and %d, got %d", mostChannels, t.Channels)
	}
}

// Validate checks what needs no other part of the configuration.
func (k *KeepAlive) Validate(n *block.Node, errs *block.Errors) {
	if at := n.Get("every"); at != nil && k.Every != 0 && k.Every.D() < leastPing {
		errs.Add(at.Pos, at.Path, "must be at least 10s, got %s", at.Scalar)
	}
	if at := n.Get("timeout"); at != nil && k.Timeout <= 0 {
		errs.Add(at.Pos, at.Path, "must be more than 0")
	}
}

// Validate checks what needs no other part of the configuration.
func (c *Config) Validate(n *block.Node, errs *block.Errors) {
	if n.Get("compression") != nil {
		checkCompression(c.Compression, n, errs)
	}
	checkMetadata(c.Metadata, errs)
	if c.streams() {
		c.validateStream(n, errs)
	} else if n.Get("method") == nil {
		errs.Add(n.Pos, block.Join(n.Path, "method"), "is required")
	}
	if c.Method.Path == "" {
		return
	}
	if service, method := splitMethod(c.Method.S); service == "" || method == "" || strings.Contains(c.Method.S, "${") {
		errs.Add(c.Method.Pos, c.Method.Path, "must be package.Service/Method, got %q", c.Method)
	}
}

// validateStream checks the block of a step on a stream.
func (c *Config) validateStream(n *block.Node, errs *block.Errors) {
	if n.Get("method") == nil {
		for _, key := range ofOpening {
			if at := n.Get(key); at != nil {
				errs.Add(at.Pos, at.Path, "is said where the stream is opened: the step has no method").Hint = "write it beside method"
			}
		}
	}
	protocol.ValidateSequence(n, errs)
	var waits []string
	for _, key := range ofWaiting {
		if n.Get(key) != nil {
			waits = append(waits, key)
		}
	}
	switch {
	case len(waits) > 1:
		errs.Add(n.Pos, n.Path, "a step waits for one thing, got %s", strings.Join(waits, " and ")).Hint = "write a step for each"
	case len(waits) == 0 && c.Send == nil && n.Get("method") == nil:
		errs.Add(n.Pos, n.Path, "does nothing").Hint = "write method to open a stream, send, receive, echo, listen or close"
	}
	if at := n.Get("echo"); at != nil && c.Send == nil {
		errs.Add(at.Pos, at.Path, "is an answer to the message of send, and there is none").Hint = "write receive to wait for a message"
	}
	for key, d := range map[string]block.Duration{"listen": c.Listen, "lifetime": c.Lifetime} {
		if at := n.Get(key); at != nil && d <= 0 {
			errs.Add(at.Pos, at.Path, "must be more than 0, got %s", at.Scalar)
		}
	}
	if at, known := n.Get("close"), []string{closeEnd, closeCancel}; at != nil && !slices.Contains(known, c.Close) {
		errs.Add(at.Pos, at.Path, "must be end or cancel, got %s", at.Found()).Hint = block.Nearest(c.Close, known)
	}
}

// splitMethod returns the service and the method of a name such as package.Service/Method.
func splitMethod(name string) (service, method string) {
	name = strings.TrimPrefix(name, "/")
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		i = strings.LastIndexByte(name, '.')
	}
	if i < 0 {
		return "", ""
	}
	return name[:i], name[i+1:]
}

func checkCompression(name string, in *block.Node, errs *block.Errors) {
	if known := []string{compressionNone, compressionGzip}; !slices.Contains(known, name) {
		at := in.Get("compression")
		errs.Add(at.Pos, at.Path, "must be none or gzip, got %q", name).Hint = block.Nearest(name, known)
	}
}

// own lists the metadata that perfd or gRPC writes.
var own = []string{"x-perfd", "content-type", "te", "user-agent", "connection"}

// checkMetadata reports invalid names, and those that perfd or gRPC writes.
func checkMetadata(list block.Entries[block.Text], errs *block.Errors) {
	for _, e := range list {
		name := strings.ToLower(e.Name.S)
		switch {
		case !isName(name):
			errs.Add(e.Name.Pos, e.Name.Path, "%q is not a name of metadata", e.Name.S)
		case slices.Contains(own, name) || strings.HasPrefix(name, "grpc-"):
			errs.Add(e.Name.Pos, e.Name.Path, "%s is written by perfd itself", name)
		}
	}
}

// isName reports whether text may be the name of metadata.
func isName(text string) bool {
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return text != ""
}
