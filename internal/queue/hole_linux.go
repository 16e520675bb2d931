package queue

import (
	"io"
	"syscall"
)

// seekData has lseek(2) look for the next content that is no hole.
const seekData = 3

// nextContent returns the offset of the first content at or after an offset that is
// not in a hole of a sparse file, size where there is none.
func nextContent(f io.ReaderAt, at, size int64) int64 {
	c, ok := f.(syscall.Conn)
	if !ok {
		return at
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return at
	}
	next := at
	err = raw.Control(func(fd uintptr) {
		to, err := syscall.Seek(int(fd), at, seekData)
		switch err {
		case syscall.ENXIO:
			next = size
		case nil:
			next = to
		}
	})
	if err != nil {
		return at
	}
	return min(next, size)
}
