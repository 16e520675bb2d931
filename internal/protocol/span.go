package protocol

import "github.com/perfd/perfd/internal/load"

// SpanMapper is implemented by a Step that has conventions for spans.
type SpanMapper interface {
	// Span gives the span of a request its name and attributes; ids, times and
	// kind are set. Address is what Call.Address was. Span runs in the exporter,
	// never beside requests.
	Span(r *load.Result, address []byte, span *Span)
}

// A Span is what a SpanMapper says of a request. Its room is used again for the next one.
type Span struct {
	Name       string
	Attributes []Attribute
}

// An Attribute is a text or, where Numeric is true, a number.
type Attribute struct {
	Key     string
	Text    string
	Number  int64
	Numeric bool
}

// AddText adds an attribute that is a text.
func (s *Span) AddText(key, value string) {
	s.Attributes = append(s.Attributes, Attribute{Key: key, Text: value})
}

// AddNumber adds an attribute that is a number.
func (s *Span) AddNumber(key string, value int64) {
	s.Attributes = append(s.Attributes, Attribute{Key: key, Number: value, Numeric: true})
}
