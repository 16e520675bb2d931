package config

import (
	"crypto/sha256"
	"maps"
	"path/filepath"
	"sync"
)

// Sources are the files that a document was read from, as they were last seen. It is
// safe for concurrent use.
type sources struct {
	patterns []string // of scenario_files

	mu   sync.Mutex
	seen map[string][sha256.Size]byte // by path
}

// note remembers the content of a file.
func (s *sources) note(file string, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string][sha256.Size]byte{}
	}
	s.seen[file] = sha256.Sum256(text)
}

// changed reports whether a file holds something else than when it was last looked at,
// or the patterns match others. A file that cannot be read is waited for, for as long
// as it is there to be matched: a mounted ConfigMap replaces all files at once.
func (s *sources) changed(main string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := map[string][sha256.Size]byte{}
	look := func(file string) {
		file = filepath.Clean(file)
		text, err := readFile(file, maxFileSize)
		if err == nil {
			now[file] = sha256.Sum256(text)
		} else if before, ok := s.seen[file]; ok {
			now[file] = before
		}
	}
	look(main)
	for _, p := range s.patterns {
		files, err := filepath.Glob(p)
		if err != nil || len(files) == 0 && s.knows(p) {
			files = []string{p}
		}
		for _, file := range files {
			look(file)
		}
	}
	if maps.Equal(now, s.seen) {
		return false
	}
	s.seen = now
	return true
}

// knows reports whether a pattern is the plain path of a file that was read.
func (s *sources) knows(pattern string) bool {
	_, ok := s.seen[filepath.Clean(pattern)]
	return ok
}
