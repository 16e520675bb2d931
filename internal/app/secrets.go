package app

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/perfd/perfd/internal/config"
)

// secrets are what must not leave the process in a log line, a page, an answer or a
// span: those of the newest document, and of the one before, whose runs may still
// drain. Its zero value has none.
type secrets struct {
	of atomic.Pointer[[2]func(string) string] // the newest first, nil for none

	mu     sync.Mutex
	tokens []string // of credentials, the newest last
	strike atomic.Pointer[func(string) string]
}

// keptTokens is how many tokens are remembered: those in use, and those before them of which somebody may still speak.
const keptTokens = 256

// token has a text struck out that no document holds.
func (s *secrets) token(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" || slices.Contains(s.tokens, text) {
		return
	}
	s.tokens = append(s.tokens[max(0, len(s.tokens)+1-keptTokens):], text)
	strike := config.Striker(s.tokens)
	s.strike.Store(&strike)
}

// add has the secrets of a document struck out too. Where the document does not come
// into force, undo forgets them.
func (s *secrets) add(d *config.Document) (undo func()) {
	was := s.of.Load()
	both := [2]func(string) string{d.Striker()} // and not the documents, which are large
	if was != nil {
		both[1] = was[0]
	}
	s.of.Store(&both)
	return func() { s.of.Store(was) }
}

// strike strikes every secret out of a text.
func (a *App) strike(text string) string {
	if strike := a.secrets.strike.Load(); strike != nil {
		text = (*strike)(text)
	}
	of := a.secrets.of.Load()
	if of == nil {
		return text
	}
	for _, strike := range of {
		if strike != nil {
			text = strike(text)
		}
	}
	return text
}
