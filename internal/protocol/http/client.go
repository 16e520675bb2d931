package http

import "github.com/perfd/perfd/internal/protocol"

// Client returns how steps speak to the target where they say nothing else.
func (t *TargetConfig) Client(k *protocol.Compiler) *protocol.Client {
	return &protocol.Client{TLS: t.TLS.compile(k)}
}
