// Package state holds what a daemon owns of its storage folder: the lock that
// keeps a second daemon out, and the small state that survives a restart, such
// as a pause, what schedules did and the releases of targets.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// legacyFile is where versions before 0.2 kept the state. It is read once.
const legacyFile = "state.json"

// A Disk keeps values by key over restarts; [history.History] is one.
type Disk interface {
	// States returns all values by key.
	States() (map[string][]byte, error)
	// PutState keeps a value under a key, or forgets the key where value is nil, in memory until
	// FlushState. It never waits for the disk.
	PutState(key string, value []byte)
	// FlushState writes what was put. That is on disk when FlushState returns nil. Calls at once share what they write.
	FlushState() error
}

// A Store keeps small state over restarts: JSON values by key. Its methods are
// safe for concurrent use.
type Store struct {
	disk Disk

	mu   sync.Mutex // the disk is given values in the order in which keys changed
	keys map[string]json.RawMessage
}

// Open returns the state that the disk holds. State of an older version below
// dir is moved to the disk. An error says what could not be read, and comes
// with a Store that works.
func Open(dir string, disk Disk) (*Store, error) {
	s := &Store{disk: disk, keys: map[string]json.RawMessage{}}
	kept, err := disk.States()
	for key, value := range kept {
		s.keys[key] = value
	}
	return s, errors.Join(err, s.adopt(filepath.Join(dir, legacyFile)))
}

// adopt moves the state of an older version's file to the disk. Keys that the
// disk has are newer.
func (s *Store) adopt(path string) error {
	text, err := readLegacy(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	old := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &old); err != nil {
		aside := path + ".damaged"
		return errors.Join(fmt.Errorf("the state in %s is damaged and was moved to %s: %w", path, aside, err), os.Rename(path, aside))
	}
	for key, value := range old {
		if _, known := s.keys[key]; known {
			continue
		}
		s.keys[key] = value
		s.disk.PutState(key, value)
	}
	if err := s.disk.FlushState(); err != nil {
		return fmt.Errorf("move the state in %s: %w", path, err)
	}
	return os.Remove(path)
}

// mostLegacy bounds the legacy file, which held a few kilobytes.
const mostLegacy = 16 << 20

// readLegacy reads the legacy file if it can be one: a pipe would hold up the start.
func readLegacy(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > mostLegacy:
		return nil, fmt.Errorf("%s is no state of perfd's and is left alone", path)
	}
	return os.ReadFile(path)
}

// Get decodes the value of a key into v; false where there is none.
func (s *Store) Get(key string, v any) bool {
	s.mu.Lock()
	raw, ok := s.keys[key]
	s.mu.Unlock()
	return ok && json.Unmarshal(raw, v) == nil
}

// Keys lists the keys with a prefix, in no order.
func (s *Store) Keys(prefix string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.keys {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// put changes a value of this process; it reports false where there is nothing to forget.
func (s *Store) put(key string, raw json.RawMessage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.keys[key]; raw == nil && !known {
		return false
	}
	if s.keys[key] = raw; raw == nil {
		delete(s.keys, key)
	}
	s.disk.PutState(key, raw)
	return true
}

// Forget forgets a key without waiting for the disk, which learns of it with what is kept next.
func (s *Store) Forget(key string) { s.put(key, nil) }

// Set keeps v under the key on disk; nil forgets the key. Values that are set at once,
// as those of many scenarios are, go to the disk together. After an error the value
// holds for this process only.
func (s *Store) Set(key string, v any) error {
	var raw json.RawMessage
	if v != nil {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return fmt.Errorf("encode state %q: %w", key, err)
		}
	}
	if !s.put(key, raw) {
		return nil
	}
	if err := s.disk.FlushState(); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// An Entry is one key of a Store.
type Entry struct {
	store *Store
	key   string
}

// At returns the entry of a key, which need not be there yet.
func (s *Store) At(key string) Entry { return Entry{s, key} }

// Get decodes the value into v; false where there is none.
func (e Entry) Get(v any) bool { return e.store.Get(e.key, v) }

// Set keeps v as Store.Set does.
func (e Entry) Set(v any) error { return e.store.Set(e.key, v) }
