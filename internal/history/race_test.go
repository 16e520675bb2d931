//go:build race

package history

// raced says that the race detector makes everything many times slower.
const raced = true
