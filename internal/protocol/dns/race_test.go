//go:build race

package dns

// pooled is how much a request allocates: with the race detector a pool forgets some of its buffers.
const pooled = 2
