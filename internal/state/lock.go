package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const lockFile = "lock"

// Lock takes a storage folder for this process, creating it where it is
// missing. The operating system releases the lock when the process ends,
// however that happens.
func Lock(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create storage path: %w", err)
	}
	path := filepath.Join(dir, lockFile)
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("storage lock %s is not a regular file; move it away", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, syscall.EROFS) {
		// Two processes cannot spoil a folder that neither can write; a lock that exists is still honoured.
		if f, err = os.Open(path); errors.Is(err, fs.ErrNotExist) {
			return func() error { return nil }, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open storage lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path)
		f.Close()
		return nil, fmt.Errorf("storage path %s is in use by another perfd (process %s); give this one its own --storage.path: %w",
			dir, strings.TrimSpace(string(holder)), err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("write storage lock: %w", err)
		}
	}
	return f.Close, nil
}
