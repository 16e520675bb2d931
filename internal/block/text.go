package block

import "strconv"

// A Text is a string as it was written, with its place; what it means (a
// template, a condition, a path) is its reader's to say. It prints as its text,
// or as <secret> where a secret is in it: who needs the text itself takes S.
type Text struct {
	S      string
	Pos    Pos
	Path   string
	Hidden bool // S holds a secret: never print it
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
