//go:build race

package http

// pooled is how much a request with a stream allocates: with the race detector a pool forgets some of its buffers.
const pooled = 2
