package expr

import (
	"github.com/perfd/perfd/internal/block"
)

// A JSON is a JSON document with ${…} in it, written as YAML and compiled once.
type JSON struct{ parts []jsonPart }

// A jsonPart is literal JSON text, or an expression whose value is a JSON value
// or, inText, part of a string.
type jsonPart struct {
	part
	inText bool
}

// ParseJSON compiles a document. A leaf that is exactly one ${…} keeps the
// expression's type; inside text the value becomes text. Mistakes go to errs.
func ParseJSON(n *block.Node, s *Symbols, errs *block.Errors) *JSON {
	j := &JSON{}
	j.node(n, s, errs)
	return j
}

// Append appends the document to dst. An expression without a value is a *ValueError;
// null is a value of its own outside of text.
func (j *JSON) Append(dst []byte, s *Scope) ([]byte, error) {
	for i := range j.parts {
		switch p := &j.parts[i]; {
		case p.eval == nil:
			dst = append(dst, p.text...)
		case p.inText:
			v, err := p.within(s)
			if err != nil {
				return dst, err
			}
			if v.kind == String {
				dst = appendEscaped(dst, v.text)
			} else {
				dst = appendEscaped(dst, v.String())
			}
		default:
			v, err := p.value(s)
			if err != nil {
				return dst, err
			}
			dst = v.AppendJSON(dst)
		}
	}
	return dst, nil
}

// Constant returns the document's text if it has no expressions.
func (j *JSON) Constant() (string, bool) {
	switch {
	case len(j.parts) == 0:
		return "", true
	case len(j.parts) == 1 && j.parts[0].eval == nil:
		return j.parts[0].text, true
	}
	return "", false
}

func (j *JSON) literal(text string) {
	if n := len(j.parts); n > 0 && j.parts[n-1].eval == nil {
		j.parts[n-1].text += text
		return
	}
	j.parts = append(j.parts, jsonPart{part: part{text: text}})
}

func (j *JSON) node(n *block.Node, s *Symbols, errs *block.Errors) {
	switch n.Kind {
	case block.Map:
		j.literal("{")
		for i, k := range n.Keys {
			if i > 0 {
				j.literal(",")
			}
			key := k.Value.Text()
			key.S, key.Pos = k.Name, k.Pos
			j.string(key, s, errs)
			j.literal(":")
			j.node(k.Value, s, errs)
		}
		j.literal("}")
	case block.List:
		j.literal("[")
		for i, item := range n.Items {
			if i > 0 {
				j.literal(",")
			}
			j.node(item, s, errs)
		}
		j.literal("]")
	case block.Null:
		j.literal("null")
	case block.String:
		if parts, _ := parseParts(n.Text(), s, errs); len(parts) == 1 && parts[0].eval != nil {
			j.parts = append(j.parts, jsonPart{part: parts[0]})
			return
		}
		j.string(n.Text(), s, errs)
	default: // some numbers and booleans of YAML are not JSON
		j.literal(string(scalar(n).AppendJSON(nil)))
	}
}

func (j *JSON) string(t block.Text, s *Symbols, errs *block.Errors) {
	before := errs.Len()
	parts, _ := parseParts(t, s, errs)
	if errs.Len() > before {
		return
	}
	j.literal(`"`)
	for _, p := range parts {
		if p.eval == nil {
			j.literal(string(appendEscaped(nil, p.text)))
		} else {
			j.parts = append(j.parts, jsonPart{part: p, inText: true})
		}
	}
	j.literal(`"`)
}
