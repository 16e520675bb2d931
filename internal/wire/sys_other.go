//go:build unix && !(linux && (amd64 || arm64 || riscv64))

package wire

import (
	"errors"
	"syscall"
)

// ended reports whether the peer has closed or reset an idle connection, or sent unasked bytes.
func ended(fd uintptr) bool {
	_, err := peek(fd)
	return !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
}

// hungUp reports whether the peer has closed or reset an idle TLS connection. It
// does not notice where bytes are unread: this system has no call for that.
func hungUp(fd uintptr) bool {
	n, err := peek(fd)
	return n == 0 && err == nil || errors.Is(err, syscall.ECONNRESET)
}

func peek(fd uintptr) (int, error) {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}

// acked is not known on this system, so that no request is provably unread.
func acked(uintptr) (uint64, bool) { return 0, false }
