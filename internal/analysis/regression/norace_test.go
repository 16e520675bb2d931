//go:build !race

package regression

const race = false
