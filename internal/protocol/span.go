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

// AddServer adds where the request went.
func (s *Span) AddServer(host string, port uint16) {
	s.AddText("server.address", host)
	s.AddNumber("server.port", int64(port))
}

// AddError adds why a request failed: the protocol's code for that, or the cause where it has none.
func (s *Span) AddError(r *load.Result, code string) {
	switch {
	case r.Cause == load.None || r.Cause == load.Canceled:
	case code != "":
		s.AddText("error.type", code)
	default:
		s.AddText("error.type", r.Cause.String())
	}
}
