package block

import "strconv"

// A Text is a string as it was written, with its place. Its reader decides what it
// means (a template, a condition, a path). It prints as its text, or as <secret>
// where it contains a secret; S is always the text itself.
type Text struct {
	S      string
	Pos    Pos
	Path   string
	Hidden bool // S contains a secret and must not be printed
}

// String returns the text, or <secret>.
func (t Text) String() string {
	if t.Hidden {
		return concealed
	}
	return t.S
}

// GoString returns String in quotes.
func (t Text) GoString() string { return strconv.Quote(t.String()) }

// MarshalText returns String.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
