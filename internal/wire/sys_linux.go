//go:build amd64 || arm64 || riscv64

package wire

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ended reports whether the peer has closed or reset an idle connection, or sent unasked bytes.
func ended(fd uintptr) bool {
	var b byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return errno != syscall.EAGAIN && errno != syscall.EINTR
}

// hungUp reports whether the peer has closed or reset a connection, unread bytes
// or not: those of an idle TLS connection may be session tickets.
func hungUp(fd uintptr) bool {
	p := unix.PollFd{Fd: int32(fd), Events: unix.POLLRDHUP}
	var now unix.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return errno == 0 && n > 0
}

// acked returns how many bytes the peer's system has acknowledged since the connection was opened.
func acked(fd uintptr) (uint64, bool) {
	var info unix.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	enough := uint32(unsafe.Offsetof(info.Bytes_acked) + unsafe.Sizeof(info.Bytes_acked))
	return info.Bytes_acked, errno == 0 && size >= enough
}
