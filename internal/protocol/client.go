package protocol

import "github.com/perfd/perfd/internal/wire"

// A Client is how the load of a target speaks HTTP to it, for whoever else reads
// the target: its release, say.
type Client struct {
	TLS *wire.TLS // nil is the default
	// Header calls set with each header field of the target's requests; nil sets none. Values may differ from
	// call to call. It is safe for concurrent use.
	Header func(set func(name, value string))
	// OfFlows are the names of the fields that Header leaves out, because only a flow knows their values.
	OfFlows []string
}

// An HTTPTarget is a block of a target (Kind.Target) whose protocol is one over
// HTTP. Client reports mistakes as a Config's Compile does, and then may return nil.
type HTTPTarget interface{ Client(c *Compiler) *Client }
