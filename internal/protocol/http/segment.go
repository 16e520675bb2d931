package http

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
)

// A segment is a part of a request: bytes that are the same in every request, or
// a slot that is filled for each.
type segment struct {
	literal []byte
	slot    slot // nil for a literal
}

// A slot appends the bytes of one request. It may use w.text.
type slot func(dst []byte, c *protocol.Call, w *scratch) ([]byte, error)

// An encoding appends a value in a form that is safe in its place.
type encoding func(dst, value []byte) []byte

func literal(s string) segment { return segment{literal: []byte(s)} }

// slotOf returns a template's segment. Its value is encoded unless encode is nil.
func slotOf(t *expr.Template, encode encoding) segment {
	if text, ok := t.Constant(); ok {
		if encode != nil {
			return segment{literal: encode(nil, []byte(text))}
		}
		return literal(text)
	}
	if encode == nil {
		return segment{slot: func(dst []byte, c *protocol.Call, _ *scratch) ([]byte, error) {
			return t.Append(dst, c.Scope)
		}}
	}
	return segment{slot: func(dst []byte, c *protocol.Call, w *scratch) ([]byte, error) {
		text, err := t.Append(w.text[:0], c.Scope)
		w.text = text
		if err != nil {
			return dst, err
		}
		return encode(dst, text), nil
	}}
}

// pairsOf returns the segments of a field of a form or a query, behind a separator. Where the value is a list, there is a
// field for each of its items.
func pairsOf(separator, name string, t *expr.Template) []segment {
	name = url.QueryEscape(name) + "="
	if kind := t.Type(); kind != expr.List && kind != expr.Any {
		return []segment{literal(separator + name), slotOf(t, queryValue)}
	}
	return []segment{literal(separator), {slot: func(dst []byte, c *protocol.Call, w *scratch) ([]byte, error) {
		more := false
		item := func(v expr.Value) {
			if more {
				dst = append(dst, '&')
			}
			more = true
			dst = append(dst, name...)
			w.text = v.Append(w.text[:0])
			dst = queryValue(dst, w.text)
		}
		err := t.Each(c.Scope, func(string) {}, func(v expr.Value) {
			if !v.Items(item) {
				item(v)
			}
		})
		return dst, err
	}}}
}

// jsonOf returns a JSON document's segment.
func jsonOf(j *expr.JSON) segment {
	if text, ok := j.Constant(); ok {
		return literal(text)
	}
	return segment{slot: func(dst []byte, c *protocol.Call, _ *scratch) ([]byte, error) {
		return j.Append(dst, c.Scope)
	}}
}

// urlOf returns the segment of a path and query, whose values are encoded by their place.
func urlOf(t *expr.Template) segment {
	if text, ok := t.Constant(); ok {
		return literal(text)
	}
	return segment{slot: func(dst []byte, c *protocol.Call, w *scratch) ([]byte, error) {
		encode := pathSegment
		err := t.Each(c.Scope, func(text string) {
			if strings.IndexByte(text, '?') >= 0 {
				encode = queryValue
			}
			dst = append(dst, text...)
		}, func(v expr.Value) {
			w.text = v.Append(w.text[:0])
			dst = encode(dst, w.text)
		})
		return dst, err
	}}
}

var (
	errLineEnd = errors.New("a value with a line end cannot stand in a request's head")
	// errFieldLineEnd is errLineEnd of the configuration's own field.
	errFieldLineEnd error = &expr.ValueError{Text: errLineEnd.Error()}
)

// fieldOf returns the segments of a header field.
func fieldOf(name string, t *expr.Template) []segment {
	value := slotOf(t, nil)
	if plain := value.slot; plain != nil {
		value.slot = func(dst []byte, c *protocol.Call, w *scratch) ([]byte, error) {
			from := len(dst)
			dst, err := plain(dst, c, w)
			if err == nil && hasLineEnd(dst[from:]) {
				err = errFieldLineEnd
			}
			return dst, err
		}
	}
	return []segment{literal(name + ": "), value, literal("\r\n")}
}

// credentialQuery returns the segment of what a credential adds to the query, which has begun or not.
func credentialQuery(begun bool) segment {
	separator := byte('?')
	if begun {
		separator = '&'
	}
	return segment{slot: func(dst []byte, _ *protocol.Call, w *scratch) ([]byte, error) {
		if len(w.value.Query) > 0 {
			dst = append(append(dst, separator), w.value.Query...)
		}
		return dst, nil
	}}
}

// userAgent, traceparent and identity identify a request of a run.
var (
	userAgent = segment{slot: func(dst []byte, c *protocol.Call, _ *scratch) ([]byte, error) {
		return append(dst, c.VU.Env.UserAgent...), nil
	}}
	// traceparent is the W3C trace context.
	traceparent = segment{slot: func(dst []byte, c *protocol.Call, _ *scratch) ([]byte, error) {
		return protocol.AppendTraceparent(dst, &c.Result), nil
	}}
	identity = segment{slot: func(dst []byte, c *protocol.Call, _ *scratch) ([]byte, error) {
		return append(dst, c.VU.Env.Identity()...), nil
	}}
)

// merge joins neighbouring literals.
func merge(lists ...[]segment) []segment {
	var usual [24]segment
	all, n := usual[:0], 0
	for _, list := range lists {
		all = append(all, list...)
	}
	for i := 0; i < len(all); n++ {
		from, size := i, 0
		for ; i < len(all) && all[i].slot == nil; i++ {
			size += len(all[i].literal)
		}
		switch i - from {
		case 0: // one with a slot
			all[n] = all[i]
			i++
		case 1:
			all[n] = all[from]
		default:
			text := make([]byte, 0, size)
			for _, s := range all[from:i] {
				text = append(text, s.literal...)
			}
			all[n] = segment{literal: text}
		}
	}
	return slices.Clone(all[:n])
}

// constant returns the bytes of segments without slots.
func constant(list []segment) ([]byte, bool) {
	switch {
	case len(list) == 0:
		return nil, true
	case len(list) == 1 && list[0].slot == nil:
		return list[0].literal, true
	}
	return nil, false
}

// appendAll appends segments.
func appendAll(dst []byte, list []segment, c *protocol.Call, w *scratch) (_ []byte, err error) {
	for i := range list {
		s := &list[i]
		if s.slot == nil {
			dst = append(dst, s.literal...)
		} else if dst, err = s.slot(dst, c, w); err != nil {
			return dst, err
		}
	}
	return dst, nil
}
