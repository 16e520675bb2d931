//go:build unix && (race || !(linux && (amd64 || arm64 || riscv64)))

package wire

import (
	"errors"
	"syscall"
)

// The race detector instruments package syscall: it then knows that what a peer
// in the same process did before a write happens before what follows the read.

func read(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		if n, errno := result(syscall.Read(int(fd), p)); errno != syscall.EINTR {
			return n, errno
		}
	}
}

func write(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		if n, errno := result(syscall.Write(int(fd), p)); errno != syscall.EINTR {
			return n, errno
		}
	}
}

func result(n int, err error) (int, syscall.Errno) {
	if err == nil {
		return n, 0
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return 0, errno
	}
	return 0, syscall.EIO
}
