//go:build !race

package dns

const pooled = 0
