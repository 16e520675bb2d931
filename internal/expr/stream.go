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

// A streamMember is what expressions read of a Stream: a count, or a time.
type streamMember struct {
	name  string
	count func(*Stream) uint64
	time  func(*Stream) time.Duration
}

var streamMembers = []streamMember{
	{name: "sent", count: func(s *Stream) uint64 { return s.Sent }},
	{name: "received", count: func(s *Stream) uint64 { return s.Received }},
	{name: "missing", count: func(s *Stream) uint64 { return s.Missing }},
	{name: "reordered", count: func(s *Stream) uint64 { return s.Reordered }},
	{name: "repeated", count: func(s *Stream) uint64 { return s.Repeated }},
	{name: "unmet", count: func(s *Stream) uint64 { return s.Unmet }},
	{name: "reconnects", count: func(s *Stream) uint64 { return s.Reconnects }},
	{name: "first", time: func(s *Stream) time.Duration { return s.First }},
	{name: "gap", time: func(s *Stream) time.Duration { return s.LongestGap }},
	{name: "round_trip", time: func(s *Stream) time.Duration { return s.RoundTrip }},
}

// streamNames lists the names of the members.
func streamNames() (names []string) {
	for _, m := range streamMembers {
		names = append(names, m.name)
	}
	return names
}

// ofStream reports whether a node is the name stream, of which no variable is.
func (c *compiler) ofStream(n ast.Node) bool {
	name, ok := n.(*ast.IdentifierNode)
	if !ok || name.Value != "stream" || !c.answer {
		return false
	}
	_, _, shadowed := c.symbols.Lookup(name.Value)
	return !shadowed
}

// ofStreamMember compiles a member of stream.
func ofStreamMember(n *ast.MemberNode) (eval, Type, error) {
	key, ok := n.Property.(*ast.StringNode)
	i := -1
	if ok {
		i = slices.IndexFunc(streamMembers, func(m streamMember) bool { return m.name == key.Value })
	}
	if i < 0 {
		m := wrong("stream has no %s", n.Property)
		if m.hint = "it has " + strings.Join(streamNames(), ", "); ok {
			m.hint = block.Nearest(key.Value, streamNames())
		}
		return nil, Any, m
	}
	member, kind := &streamMembers[i], Number
	if member.time != nil {
		kind = Duration
	}
	none := Value{}.named("stream." + member.name)
	return func(_ *Scope, r Response) Value {
		streamed, ok := r.(Streamed)
		if !ok {
			return failed("the answer is no stream")
		}
		s := streamed.Stream()
		if member.time == nil {
			return Num(float64(member.count(s)))
		}
		if d := member.time(s); d != 0 {
			return Dur(d)
		}
		return none
	}, kind, nil
}
