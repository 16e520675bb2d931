// Package grpc is the protocol gRPC: a message is compiled once into its bytes on the wire with
// slots, and sent by grpc-go with a codec that takes the bytes as they are.
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
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

// Kind describes gRPC to the configuration.
var Kind = protocol.Kind{
	Name:   "grpc",
	Step:   func() protocol.Config { return &Config{} },
	Target: func() any { return DefaultTarget() },
}

// A Config is the grpc block of a step.
type Config struct {
	Method      block.Text                `yaml:"method" block:"required" doc:"The method, as package.Service/Method."`
	Message     *block.Node               `yaml:"message" doc:"The message, written as YAML in the form that Protocol Buffers have in JSON, with names of fields as in the .proto file or in JSON; may hold ${…} (default: an empty one)."`
	Metadata    block.Entries[block.Text] `yaml:"metadata" doc:"Metadata; it takes the place of the target's of the same name. Values may hold ${…}."`
	Compression string                    `yaml:"compression" doc:"none or gzip (default: the target's)."`
	Credentials block.Text                `yaml:"credentials" doc:"Name of the entry of credentials that the request is sent with, or none (default: the target's; none where the request has the same metadata of its own)."`
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
	if c.Method.Path == "" {
		return
	}
	if service, method := splitMethod(c.Method.S); service == "" || method == "" || strings.Contains(c.Method.S, "${") {
		errs.Add(c.Method.Pos, c.Method.Path, "must be package.Service/Method, got %q", c.Method)
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
