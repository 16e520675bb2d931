package queue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// An FS is the folder a queue lives in. Tests put file systems there that fail,
// fill up or forget.
type FS interface {
	// Open opens a file for reading and writing, making it where it is missing.
	Open(name string) (File, error)
	Remove(name string) error
	// Names lists the folder, in no order.
	Names() ([]string, error)
	// Sync makes what Open and Remove did to the folder outlive a loss of power.
	Sync() error
}

// A File of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Size() (int64, error)
	// Sync makes what was written outlive a loss of power.
	Sync() error
}

// Dir returns the folder of a path as an FS. It is made with its first file.
func Dir(path string) FS { return dir(path) }

// Before returns an FS that calls a function before files are opened, read, written and synced, which
// fails with its error; nil is none.
func Before(fs FS, call func() error) FS {
	if call == nil {
		return fs
	}
	return &before{fs, call}
}

type before struct {
	FS
	call func() error
}

func (b *before) Open(name string) (File, error) {
	if err := b.call(); err != nil {
		return nil, err
	}
	f, err := b.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &beforeFile{f, b.call}, nil
}

type beforeFile struct {
	File
	call func() error
}

func (f *beforeFile) ReadAt(p []byte, at int64) (int, error) {
	if err := f.call(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, at)
}

func (f *beforeFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.call(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

func (f *beforeFile) Sync() error {
	if err := f.call(); err != nil {
		return err
	}
	return f.File.Sync()
}

type dir string

func (d dir) Open(name string) (File, error) {
	path := filepath.Join(string(d), name)
	if err := CheckRegular(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(string(d), 0o755); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	}
	if errors.Is(err, fs.ErrPermission) || isReadOnly(err) {
		f, err = os.Open(path) // what is there can be sent
	}
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// CheckRegular returns an error where a path leads to something that is no regular
// file, such as a folder or a pipe, which would hold up whoever opens it. A path that
// leads nowhere is fine.
func CheckRegular(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: %w", path, ErrNotAFile)
	}
	return nil
}

// ErrNotAFile says that a path leads to something that is no regular file.
var ErrNotAFile = errors.New("is not a regular file")

func (d dir) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d dir) Names() (names []string, err error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d dir) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	s, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return s.Size(), nil
}

// A memoryFile is a segment while the disk takes none.
type memoryFile struct {
	mu   sync.Mutex
	data []byte
}

func (f *memoryFile) ReadAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if end := at + int64(len(p)); end > int64(len(f.data)) {
		f.data = append(f.data, make([]byte, end-int64(len(f.data)))...)
	}
	return copy(f.data[at:], p), nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = f.data[:min(size, int64(len(f.data)))]
	return nil
}

func (f *memoryFile) Size() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memoryFile) Sync() error  { return nil }
func (f *memoryFile) Close() error { return nil }
