//go:build !race

package udp

const pooled = 0
