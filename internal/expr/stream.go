package expr

import (
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/perfd/perfd/internal/block"
)

// A Stream says what happened on a stream of messages while a step performed its
// request: what expressions read as stream.received, say.
type Stream struct {
	Sent, Received                      uint64
	Missing, Reordered, Repeated, Unmet uint64
	Reconnects                          uint64
	First, LongestGap, RoundTrip        time.Duration // 0 for none; RoundTrip is the last
}

// A Streamed is a Response of a protocol with streams.
type Streamed interface{ Stream() *Stream }

var streamMembers = []string{"sent", "received", "missing", "reordered", "repeated", "unmet", "reconnects", "first", "gap", "round_trip"}

// ofStream reports whether a node is the name stream, of which no variable is.
func (c *compiler) ofStream(n ast.Node) bool {
	name, ok := n.(*ast.IdentifierNode)
	if !ok || name.Value != "stream" || !c.answer {
		return false
	}
	_, _, shadowed := c.symbols.Lookup(name.Value)
	return !shadowed
}

// streamMember compiles a member of stream.
func streamMember(n *ast.MemberNode) (eval, Type, error) {
	key, ok := n.Property.(*ast.StringNode)
	if !ok || !slices.Contains(streamMembers, key.Value) {
		m := wrong("stream has no %s", n.Property)
		if m.hint = "it has " + strings.Join(streamMembers, ", "); ok {
			m.hint = block.Nearest(key.Value, streamMembers)
		}
		return nil, Any, m
	}
	name, kind := key.Value, Number
	if slices.Contains([]string{"first", "gap", "round_trip"}, name) {
		kind = Duration
	}
	return func(_ *Scope, r Response) Value {
		s, ok := r.(Streamed)
		if !ok {
			return failed("the answer is no stream")
		}
		return s.Stream().member(name)
	}, kind, nil
}

func (s *Stream) member(name string) Value {
	count := func(n uint64) Value { return Num(float64(n)) }
	span := func(d time.Duration) Value {
		if d == 0 {
			return Value{}.named("stream." + name)
		}
		return Dur(d)
	}
	switch name {
	case "sent":
		return count(s.Sent)
	case "received":
		return count(s.Received)
	case "missing":
		return count(s.Missing)
	case "reordered":
		return count(s.Reordered)
	case "repeated":
		return count(s.Repeated)
	case "unmet":
		return count(s.Unmet)
	case "reconnects":
		return count(s.Reconnects)
	case "first":
		return span(s.First)
	case "gap":
		return span(s.LongestGap)
	}
	return span(s.RoundTrip)
}
