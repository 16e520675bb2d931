package app

import (
	"sync/atomic"

	"github.com/perfd/perfd/internal/config"
)

// secrets are what must not leave the process in a log line, a page, an answer or a
// span: those of the newest document, and of the one before, whose runs may still
// drain. Its zero value has none.
type secrets struct {
	of atomic.Pointer[[2]*config.Document]
}

// add has the secrets of a document struck out too. Where the document does not come
// into force, undo forgets them.
func (s *secrets) add(d *config.Document) (undo func()) {
	was := s.of.Load()
	both := [2]*config.Document{d}
	if was != nil {
		both[1] = was[0]
	}
	s.of.Store(&both)
	return func() { s.of.Store(was) }
}

// strike strikes every secret out of a text.
func (a *App) strike(text string) string {
	of := a.secrets.of.Load()
	if of == nil {
		return text
	}
	for _, d := range of {
		if d != nil {
			text = d.Strike(text)
		}
	}
	return text
}
