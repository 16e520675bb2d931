//go:build !race

package http

const pooled = 0
