package expr

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/tidwall/gjson"
)

// Symbols is a table of the variables that an expression may read, each with its
// slot in a Scope. A table with a parent also has the parent's variables. The slots
// of all tables below one root are distinct, so that one Scope serves them all.
type Symbols struct {
	parent *Symbols
	names  map[string]symbol
	*common
}

// common is what all tables below one root share.
type common struct {
	next  int                 // slot
	trees map[string]ast.Node // of expressions, by their text: steps of one flow often have the same
}

type symbol struct {
	slot int
	kind Type
	read bool
	// members are the names that an Object of the symbol may have, nil where they are not known.
	members []string
}

// NewSymbols returns an empty table below parent, or a root if parent is nil.
func NewSymbols(parent *Symbols) *Symbols {
	s := &Symbols{parent: parent, names: map[string]symbol{}}
	if parent != nil {
		s.common = parent.common
	} else {
		s.common = &common{trees: map[string]ast.Node{}}
	}
	return s
}

// Declare adds a name and returns its slot. A name that the table has already
// keeps its slot; its type becomes Any if the two types differ.
func (s *Symbols) Declare(name string, t Type) (slot int) {
	if have, ok := s.names[name]; ok {
		if have.kind != t {
			have.kind = Any
			s.names[name] = have
		}
		return have.slot
	}
	slot = s.next
	s.next++
	s.names[name] = symbol{slot: slot, kind: t}
	return slot
}

// DeclareRow adds a name whose value is an Object with some of these members, in
// order; an expression that reads another is a mistake. Without members any may be read.
func (s *Symbols) DeclareRow(name string, members []string) (slot int) {
	slot = s.Declare(name, Object)
	row := s.names[name]
	row.members = members
	s.names[name] = row
	return slot
}

// membersOf returns the members that the value of a name may have, nil where they are not known.
func (s *Symbols) membersOf(name string) []string {
	for ; s != nil; s = s.parent {
		if have, found := s.names[name]; found {
			return have.members
		}
	}
	return nil
}

// Lookup finds a name in the table or its parents, and marks it as read.
func (s *Symbols) Lookup(name string) (slot int, t Type, ok bool) {
	for ; s != nil; s = s.parent {
		if have, found := s.names[name]; found {
			have.read = true
			s.names[name] = have
			return have.slot, have.kind, true
		}
	}
	return 0, Any, false
}

// Has reports whether the table or a parent has a name, and marks nothing as read.
func (s *Symbols) Has(name string) bool {
	for ; s != nil; s = s.parent {
		if _, found := s.names[name]; found {
			return true
		}
	}
	return false
}

// Read reports whether Lookup found a name in this table, not in a parent; within
// ReadsOf, since it began.
func (s *Symbols) Read(name string) bool { return s.names[name].read }

// ReadBy calls f and reports whether it looked up any of the names in this table.
func (s *Symbols) ReadBy(f func(), names ...string) bool {
	return slices.ContainsFunc(s.ReadsOf(f), func(name string) bool { return slices.Contains(names, name) })
}

// ReadsOf calls f and returns the names of this table that it looked up, in order.
func (s *Symbols) ReadsOf(f func()) (names []string) {
	before := maps.Clone(s.names)
	for name, sym := range s.names {
		sym.read = false
		s.names[name] = sym
	}
	f()
	for name, sym := range s.names {
		if sym.read {
			names = append(names, name)
		}
	}
	for name, sym := range before {
		now := s.names[name]
		now.read = now.read || sym.read
		s.names[name] = now
	}
	slices.Sort(names)
	return names
}

// Slots returns the number of slots that a Scope needs for all tables below the root.
func (s *Symbols) Slots() int { return s.next }

// known returns the names in the table and its parents.
func (s *Symbols) known() []string {
	var out []string
	for ; s != nil; s = s.parent {
		for name := range s.names {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// A Scope holds the variables of one virtual user. It is not safe for concurrent use.
type Scope struct {
	Vars      []Value   // by slot
	Rand      *rand.PCG // the VU's random source
	VU        int       // the VU's number among those of all shards
	Iteration uint64    // the iteration's number, from 1

	json uint8     // whether the body of the answer that is read is JSON
	doc  *document // of the answer that is read, nil before somebody asks for it
}

// Take makes the variables those of another scope.
func (s *Scope) Take(o *Scope) { s.Vars = append(s.Vars[:0], o.Vars...) }

// Get returns the variable in a slot, null if it is not set.
func (s *Scope) Get(slot int) Value { return s.get(slot) }

// Set sets the variable in a slot.
func (s *Scope) Set(slot int, v Value) {
	if slot >= len(s.Vars) {
		s.Vars = append(s.Vars, make([]Value, slot+1-len(s.Vars))...)
	}
	s.Vars[slot] = v
}

// get returns the variable in a slot, a missing value if it is not set.
func (s *Scope) get(slot int) Value {
	if slot >= len(s.Vars) {
		return Value{}
	}
	return s.Vars[slot]
}

// Reset makes all variables missing and keeps their memory. Those that kept names by their slots stay; nil keeps none.
func (s *Scope) Reset(kept []bool) {
	if kept == nil {
		clear(s.Vars)
		return
	}
	for slot := range s.Vars {
		if slot >= len(kept) || !kept[slot] {
			s.Vars[slot] = Value{}
		}
	}
}

// below returns a number in [0, n) from the VU's random source.
func (s *Scope) below(n uint64) uint64 { return rand.New(s.Rand).Uint64N(n) }

// isJSON reports whether the body of a response is JSON as a whole. Conditions and
// extractions of a step ask for the same body one after the other, so that the last
// answer is kept.
func (s *Scope) isJSON(r Response) bool {
	if s.json == unread {
		s.json = noJSON
		if gjson.ValidBytes(unmarked(r.Body())) {
			s.json = isJSON
		}
	}
	return s.json == isJSON
}

// unmarked returns a body without the byte order mark that it may begin with, as browsers
// read JSON (WHATWG Fetch, package data; RFC 8259 section 8.1 lets a parser ignore it).
func unmarked(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\ufeff")) }

// What is known of the answer's body.
const (
	unread = iota
	isJSON
	noJSON
)

// Answered says that the expressions to come read another answer, or none: what is known of the last one is forgotten.
func (s *Scope) Answered() { s.json, s.doc = unread, nil }

// A Response is an answer as expressions read it. Its results may point into
// buffers that the next request reuses.
type Response interface {
	Code() int    // the protocol's answer code, such as an HTTP status
	Body() []byte // as far as Keep asked for it
	Header(name string) (value string, ok bool)
	Duration() time.Duration
	Size() int64 // bytes of the whole decoded body
	Sum() uint64 // hash of the whole decoded body
}

// A CookieHolder is a Response of a protocol that has cookies.
type CookieHolder interface {
	// Cookie returns the value of a cookie that the virtual user holds for the address that answered, after the answer.
	Cookie(name string) (value string, ok bool)
}

// Keep holds the parts of an answer that expressions read.
type Keep struct {
	Body    bool
	Cookies bool     // the Response is to be a CookieHolder, where the protocol has cookies
	Headers []string // in the order first asked for
}

// Merge adds the parts that another expression reads.
func (k *Keep) Merge(o Keep) {
	k.Body, k.Cookies = k.Body || o.Body, k.Cookies || o.Cookies
	for _, h := range o.Headers {
		if !slices.Contains(k.Headers, h) {
			k.Headers = append(k.Headers, h)
		}
	}
}
