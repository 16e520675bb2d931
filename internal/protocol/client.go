package protocol

import "crypto/tls"

// A Client is how the load of a target speaks HTTP to it, for whoever else reads
// the target: its release, say.
type Client struct {
	TLS *tls.Config // nil is the default
}

// An HTTPTarget is a block of a target (Kind.Target) whose protocol is one over
// HTTP. Client reports mistakes as a Config's Compile does, and then may return nil.
type HTTPTarget interface{ Client(c *Compiler) *Client }
