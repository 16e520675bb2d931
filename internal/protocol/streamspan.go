package protocol

import (
	"bytes"
	"encoding/binary"

	"github.com/perfd/perfd/internal/expr"
)

// A stream has no span of its own: it outlives iterations, and may never end. The span of each request on it says what
// happened since the request before, as numbers: an event for each message would have no bound.

// streamCounts are what a span says of a stream.
var streamCounts = []struct {
	key string
	of  func(*expr.Stream) uint64
}{
	{"perfd.messages.sent", func(s *expr.Stream) uint64 { return s.Sent }},
	{"perfd.messages.received", func(s *expr.Stream) uint64 { return s.Received }},
	{"perfd.messages.missing", func(s *expr.Stream) uint64 { return s.Missing }},
	{"perfd.messages.reordered", func(s *expr.Stream) uint64 { return s.Reordered }},
	{"perfd.messages.repeated", func(s *expr.Stream) uint64 { return s.Repeated }},
	{"perfd.messages.unmet", func(s *expr.Stream) uint64 { return s.Unmet }},
	{"perfd.stream.reconnects", func(s *expr.Stream) uint64 { return s.Reconnects }},
}

// AppendStream appends to a Call.Address what happened on the stream since the request before, for CutStream.
func AppendStream(address []byte, s *expr.Stream) []byte {
	address = append(address, 0) // which no address holds
	for i := range streamCounts {
		address = binary.AppendUvarint(address, streamCounts[i].of(s))
	}
	return address
}

// CutStream returns an address without what AppendStream appended, and adds that to the span. What is 0 is left out, but for
// what was sent and received.
func CutStream(address []byte, span *Span) []byte {
	address, counts, ok := bytes.Cut(address, []byte{0})
	if !ok {
		return address
	}
	for i := range streamCounts {
		n, size := binary.Uvarint(counts)
		if size <= 0 {
			break
		}
		counts = counts[size:]
		if n > 0 || i < 2 {
			span.AddNumber(streamCounts[i].key, int64(n)) //nolint:gosec // messages are fewer
		}
	}
	return address
}
