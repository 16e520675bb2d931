//go:build race

package regression

const race = true
