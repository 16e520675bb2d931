package wire

import "golang.org/x/sys/unix"

// bindLater lets a socket that is bound to an address have its port chosen when it connects. A system
// that does not know the option chooses it at once, which is only less.
func bindLater(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}
