//go:build unix

package web

import (
	"math"
	"syscall"
)

// descriptors is how many files the process may have open, 0 where that is unknown or unlimited.
func descriptors() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > math.MaxInt32 {
		return 0
	}
	return int(r.Cur)
}
