//go:build unix && !linux

package wire

// bindLater does nothing: the system chooses the port of a bound socket at once.
func bindLater(uintptr) {}
