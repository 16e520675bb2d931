package expr

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Symbols are the variables that an expression may read, each with its slot in
// a Scope. A table made from a parent sees the parent's variables; slots of all
// tables that share a root are distinct, so one Scope serves them all.
type Symbols struct {
	parent *Symbols
	names  map[string]symbol
	next   *int
}

type symbol struct {
	slot int
	kind Type
	read bool
}

// NewSymbols returns an empty table inside parent, or a root where parent is nil.
func NewSymbols(parent *Symbols) *Symbols {
	s := &Symbols{parent: parent, names: map[string]symbol{}}
	if parent != nil {
		s.next = parent.next
	} else {
		s.next = new(int)
	}
	return s
}

// Declare makes a name visible and returns its slot. A name declared again in
// the same table keeps its slot; its type becomes Any where the two differ.
func (s *Symbols) Declare(name string, t Type) (slot int) {
	if have, ok := s.names[name]; ok {
		if have.kind != t {
			have.kind = Any
			s.names[name] = have
		}
		return have.slot
	}
	slot = *s.next
	*s.next++
	s.names[name] = symbol{slot: slot, kind: t}
	return slot
}

// Lookup finds a name here or in the tables around.
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

// Read reports whether an expression looked a name of this very table up.
func (s *Symbols) Read(name string) bool { return s.names[name].read }

// ReadBy reports whether f looks any of the names of this very table up.
func (s *Symbols) ReadBy(f func(), names ...string) (read bool) {
	before := maps.Clone(s.names)
	for name, sym := range s.names {
		sym.read = false
		s.names[name] = sym
	}
	f()
	for _, name := range names {
		read = read || s.names[name].read
	}
	for name, sym := range before {
		now := s.names[name]
		now.read = now.read || sym.read
		s.names[name] = now
	}
	return read
}

// Slots is how many slots a Scope needs for all tables that share the root.
func (s *Symbols) Slots() int { return *s.next }

// known lists every visible name.
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

// A Scope holds one virtual user's variables, by slot.
type Scope struct {
	Vars      []Value
	Rand      *rand.PCG
	VU        int
	Iteration uint64
}

// Set gives the variable in a slot a value.
func (s *Scope) Set(slot int, v Value) {
	if slot >= len(s.Vars) {
		s.Vars = append(s.Vars, make([]Value, slot+1-len(s.Vars))...)
	}
	s.Vars[slot] = v
}

// get returns the variable in a slot; null where it was never set.
func (s *Scope) get(slot int) Value {
	if slot >= len(s.Vars) {
		return Value{}
	}
	return s.Vars[slot]
}

// Reset forgets all variables and keeps the room for them.
func (s *Scope) Reset() { clear(s.Vars) }

// below returns a number in [0, n) from the VU's random source.
func (s *Scope) below(n uint64) uint64 { return rand.New(s.Rand).Uint64N(n) }

// A Response is what expressions read of an answer. What it returns may point
// into buffers that the next request reuses.
type Response interface {
	Code() int
	Body() []byte // as far as it was kept
	Header(name string) (value string, ok bool)
	Duration() time.Duration
	Size() int64 // bytes of the whole body, decoded
	Sum() uint64 // hash of the whole body
}

// Keep says what of an answer must outlive its reading.
type Keep struct {
	Body    bool
	Headers []string // in the order first asked for
}

// Merge adds what another expression keeps.
func (k *Keep) Merge(o Keep) {
	k.Body = k.Body || o.Body
	for _, h := range o.Headers {
		if !slices.Contains(k.Headers, h) {
			k.Headers = append(k.Headers, h)
		}
	}
}
