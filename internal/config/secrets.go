package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/perfd/perfd/internal/block"
)

// maxSecretSize bounds the file behind a ${file:…}, in bytes.
const maxSecretSize = 1 << 20

// concealed stands where a secret would.
const concealed = "<secret>"

// Secrets are the values that came from the environment and from files, none
// of which may be printed, and the files to look at again.
type secrets struct {
	dir    string // that relative paths start from
	values map[string]bool

	mu    sync.Mutex
	files map[string][sha256.Size]byte // by path: what was last seen of them
}

func newSecrets(dir string) *secrets {
	return &secrets{dir: dir, values: map[string]bool{}, files: map[string][sha256.Size]byte{}}
}

func (s *secrets) add(text string) {
	if text != "" {
		s.values[text] = true
	}
}

// read returns a file's content without the newline at its end.
func (s *secrets) read(path string) (string, error) {
	if path == "" {
		return "", errors.New("${file:} names no file")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.dir, path)
	}
	text, err := readFile(path, maxSecretSize)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.files[path] = sha256.Sum256(text)
	s.mu.Unlock()
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

// peek reads a file that holds a secret and is not watched, because it is read again for each use.
func (s *secrets) peek(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.dir, path)
	}
	text, err := readFile(path, maxSecretSize)
	return strings.TrimSpace(string(text)), err
}

// changed reports whether a file holds something else than when it was last
// looked at. One that cannot be read is waited for.
func (s *secrets) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for path, before := range s.files {
		text, err := readFile(path, maxSecretSize)
		if err != nil {
			continue
		}
		if now := sha256.Sum256(text); now != before {
			s.files[path] = now
			changed = true
		}
	}
	return changed
}

func (s *secrets) paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.files))
}

// shortest is the length from which on a secret is struck out of any text. A
// shorter one would strike out parts of words; it is struck out of messages
// about the value that it stands in.
const shortest = 4

// censor replaces every secret in messages.
func (s *secrets) censor(all block.Mistakes, root *block.Node) block.Mistakes {
	var long []string
	for v := range s.values {
		if len(v) >= shortest {
			long = append(long, v)
		}
	}
	everywhere := striker(long)
	places := map[block.Pos]string{}
	hiddenScalars(root, places)
	out := make(block.Mistakes, len(all))
	for i, e := range all {
		c := *e
		c.Text, c.Hint = everywhere.Replace(e.Text), everywhere.Replace(e.Hint)
		if text := places[e.Pos]; text != "" {
			c.Text, c.Hint = strikeWord(text, c.Text), strikeWord(text, c.Hint)
		}
		out[i] = &c
	}
	return out
}

// strikeWord replaces a text where it is not a part of a longer word.
func strikeWord(text, in string) string {
	return regexp.MustCompile(`(^|\W)`+regexp.QuoteMeta(text)+`(\W|$)`).ReplaceAllString(in, "${1}"+concealed+"${2}")
}

// hiddenScalars collects the scalars that hold a secret, by their places.
func hiddenScalars(n *block.Node, into map[block.Pos]string) {
	if n == nil {
		return
	}
	if n.Hidden {
		into[n.Pos] = n.Scalar
	}
	for _, k := range n.Keys {
		hiddenScalars(k.Value, into)
	}
	for _, i := range n.Items {
		hiddenScalars(i, into)
	}
}

// striker replaces texts, plain and as %q prints them, the longest first.
func striker(texts []string) *strings.Replacer {
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, t := range texts {
		pairs = append(pairs, t, concealed)
		if q := strconv.Quote(t); q[1:len(q)-1] != t {
			pairs = append(pairs, q[1:len(q)-1], concealed)
		}
	}
	return strings.NewReplacer(pairs...)
}

// readFile reads a file that is no longer than most bytes. Only regular files
// are read: a pipe would block.
func readFile(path string, most int64) ([]byte, error) {
	i, err := os.Stat(path)
	if err != nil {
		return nil, short(err, path)
	}
	if !i.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, short(err, path)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, short(err, path)
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return text, nil
}

// short says what is wrong with a path without the system call's name.
func short(err error, path string) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", path, p.Err)
	}
	return err
}
