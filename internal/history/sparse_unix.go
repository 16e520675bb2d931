//go:build unix

package history

import (
	"os"
	"syscall"
)

// isSparse reports whether the disk keeps much less of a file than its length.
func isSparse(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Blocks*512 < info.Size()/2
}
