// Package block decodes blocks of configuration strictly and with positions. Every
// unknown key, wrong type and bad value is collected in [Errors], with the place
// where it was written and a hint where one is known; none stops the decoding.
//
// [Parse] reads a YAML document into a tree of nodes, [Decode] decodes a node into
// a struct, whose fields are named by yaml tags and described by doc tags, and
// [Schema] returns the JSON schema of such a struct.
//
// A package that owns a block of the configuration declares the struct for it, with
// the types of this package where a value has a unit ([Duration], [Rate], [Size],
// [Ratio]), a position that matters ([Text], [Entries]) or must not be shown
// ([Secret]).
package block

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Pos is the place where a value was written: a file, an environment variable or
// a flag.
type Pos struct {
	File      string // as it was named on the command line or by another file
	Line, Col int    // from 1; 0 where unknown
	Env       string // the environment variable, where the value came from one
	Flag      string // the flag without dashes, where the value came from one
}

// String returns "file:line:col", "environment NAME" or "flag --name".
func (p Pos) String() string {
	switch {
	case p.Env != "":
		return "environment " + p.Env
	case p.Flag != "":
		return "flag --" + p.Flag
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// An Error is one mistake in the configuration.
type Error struct {
	Pos  Pos
	Path string // of the value: "scenarios[1].workload.rate"
	Text string // what is wrong, and what was found
	Hint string // how to correct it; empty where unknown
}

// Error returns "where: path: text" and, on a line of its own, the hint.
func (e *Error) Error() string {
	var b strings.Builder
	for _, part := range []string{e.Pos.String(), e.Path} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(e.Text)
	if e.Hint != "" {
		b.WriteString("\n\thint: " + e.Hint)
	}
	return b.String()
}

// Errors collects mistakes. The zero value is ready to use. It is not safe for
// concurrent use.
type Errors struct{ list []*Error }

// Add adds a mistake at a value. The result is there to set its Hint.
func (e *Errors) Add(at Pos, path, format string, args ...any) *Error {
	err := &Error{Pos: at, Path: path, Text: fmt.Sprintf(format, args...)}
	e.list = append(e.list, err)
	return err
}

// Join adds the mistakes of more.
func (e *Errors) Join(more *Errors) { e.list = append(e.list, more.list...) }

// Len is the number of mistakes so far.
func (e *Errors) Len() int { return len(e.list) }

// In reports whether there is a mistake at a value or below it.
func (e *Errors) In(n *Node) bool {
	return slices.ContainsFunc(e.list, func(m *Error) bool {
		return m.Pos.File == n.Pos.File && len(m.Path) >= len(n.Path) && related(m.Path, n.Path)
	})
}

// AddUnrelated adds the mistakes of more that do not follow from the ones in the block
// at a place that e has had since its length was before: those at another value than
// any of them, and not at the block itself.
func (e *Errors) AddUnrelated(more *Errors, before int, block Pos) {
	found := slices.Clone(e.list[before:]) // e.list grows below
	for _, m := range more.list {
		follows := len(found) > 0 && m.Pos == block
		for _, f := range found {
			follows = follows || related(m.Path, f.Path)
		}
		if !follows {
			e.list = append(e.list, m)
		}
	}
}

// related reports whether one path is a prefix of the other, or equal to it.
func related(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return strings.HasPrefix(b, a) && (len(a) == len(b) || a == "" || b[len(a)] == '.' || b[len(a)] == '[')
}

// Err returns Mistakes as an error, or nil where there are none.
func (e *Errors) Err() error {
	if len(e.list) == 0 {
		return nil
	}
	return e.Mistakes()
}

// Mistakes returns all mistakes so far, ordered by place. A mistake that was added
// twice, for a flow that two scenarios use, is returned once.
func (e *Errors) Mistakes() Mistakes {
	sorted := slices.Clone(e.list)
	slices.SortStableFunc(sorted, func(a, b *Error) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col),
			cmp.Compare(a.Pos.Env, b.Pos.Env), cmp.Compare(a.Pos.Flag, b.Pos.Flag),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Text, b.Text))
	})
	return slices.CompactFunc(sorted, func(a, b *Error) bool { return *a == *b })
}

// Mistakes are all mistakes of a configuration, ordered by place.
type Mistakes []*Error

// Error returns the mistakes, each on a line of its own.
func (l Mistakes) Error() string {
	var b strings.Builder
	for i, e := range l {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return b.String()
}
