package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Files below --storage.path.
const (
	lockFile  = "lock"
	stateFile = "state.json"
)

// lockStorage takes the storage folder for this process, creating it where it
// is missing. The lock dies with the process, however that ends.
func lockStorage(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create storage path: %w", err)
	}
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, syscall.EROFS) {
		// What cannot be written cannot be spoilt by two either; a lock that is there still holds.
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

// A store keeps small state over restarts: one JSON object in one file, written
// whole and renamed into place, so that a crash leaves the old or the new one.
type store struct {
	path string

	mu   sync.Mutex
	keys map[string]json.RawMessage
}

// openStore reads the state. A file that cannot be parsed is set aside, and
// said so, rather than stopping the daemon.
func openStore(dir string) (s *store, setAside string, err error) {
	s = &store{path: filepath.Join(dir, stateFile), keys: map[string]json.RawMessage{}}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read state: %w", err)
	}
	if err := json.Unmarshal(text, &s.keys); err != nil {
		setAside = s.path + ".damaged"
		if err := os.Rename(s.path, setAside); err != nil {
			return nil, "", fmt.Errorf("set damaged state aside: %w", err)
		}
		s.keys = map[string]json.RawMessage{}
	}
	return s, setAside, nil
}

// get decodes the value of a key into v; false where there is none.
func (s *store) get(key string, v any) bool {
	s.mu.Lock()
	raw, ok := s.keys[key]
	s.mu.Unlock()
	return ok && json.Unmarshal(raw, v) == nil
}

// all lists the keys with a prefix.
func (s *store) all(prefix string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.keys {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// set keeps v under the key on disk; nil forgets the key.
func (s *store) set(key string, v any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v == nil {
		delete(s.keys, key)
	} else {
		raw, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode state %q: %w", key, err)
		}
		s.keys[key] = raw
	}
	text, err := json.MarshalIndent(s.keys, "", " ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), stateFile+".*")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}
