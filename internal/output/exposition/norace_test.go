//go:build !race

package exposition

// raceEnabled says that memory is that of the race detector too.
const raceEnabled = false
