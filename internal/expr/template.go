package expr

import (
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

// A Template is text with ${…} in it, compiled once.
type Template struct {
	parts []part
	kind  Type
}

// A part is literal text, or an expression where eval is set.
type part struct {
	text   string
	eval   eval
	source string // of the expression
}

// A ValueError says that an expression of a request has no value that can be sent:
// what it reads is missing, or it failed.
type ValueError struct{ Text string }

func (e *ValueError) Error() string { return e.Text }

// Cause returns load.Input.
func (e *ValueError) Cause() load.Cause { return load.Input }

// value returns the expression's value. It is an error if there is none.
func (p *part) value(s *Scope) (Value, error) {
	v := p.eval(s, nil)
	if v.lacks() {
		return v, &ValueError{v.why()}
	}
	return v, nil
}

// within returns the expression's value inside text, where null is an error too.
func (p *part) within(s *Scope) (Value, error) {
	v, err := p.value(s)
	if err == nil && v.kind == Null {
		err = &ValueError{p.source + " is null"}
	}
	return v, err
}

// ParseTemplate compiles a template; "$${" is a literal "${". Mistakes go to
// errs; with any, the template must not be used.
func ParseTemplate(t block.Text, s *Symbols, errs *block.Errors) *Template {
	parts, kinds := parseParts(t, s, errs)
	out := &Template{parts: parts, kind: String}
	if len(parts) == 1 && parts[0].eval != nil {
		out.kind = kinds[0]
	}
	return out
}

// ParseScalar compiles a template that is one scalar of the document: a number
// or boolean that is not in quotes keeps its type.
func ParseScalar(n *block.Node, s *Symbols, errs *block.Errors) *Template {
	if kind := n.Typed(); kind == block.Int || kind == block.Float || kind == block.Bool {
		typed := *n
		typed.Kind = kind
		v := scalar(&typed)
		return &Template{parts: []part{{eval: constant(v)}}, kind: v.Type()}
	}
	return ParseTemplate(n.Text(), s, errs)
}

// Constant returns the template's text if it has no expressions.
func (t *Template) Constant() (string, bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].eval == nil:
		return t.parts[0].text, true
	}
	return "", false
}

// Prefix returns the literal text that the template begins with.
func (t *Template) Prefix() string {
	if len(t.parts) > 0 {
		return t.parts[0].text
	}
	return ""
}

// Type returns the type of Value: of the expression if the template is exactly one
// ${…}, else String.
func (t *Template) Type() Type { return t.kind }

// Append appends the template's text to dst. An expression without a value is a *ValueError.
func (t *Template) Append(dst []byte, s *Scope) ([]byte, error) {
	for i := range t.parts {
		p := &t.parts[i]
		if p.eval == nil {
			dst = append(dst, p.text...)
			continue
		}
		v, err := p.within(s)
		if err != nil {
			return dst, err
		}
		dst = v.Append(dst)
	}
	return dst, nil
}

// Each calls literal with each piece of literal text and value with the value of
// each expression, in order, for protocols that encode values. An expression without
// a value is a *ValueError, and ends the calls.
func (t *Template) Each(s *Scope, literal func(string), value func(Value)) error {
	for i := range t.parts {
		p := &t.parts[i]
		if p.eval == nil {
			literal(p.text)
			continue
		}
		v, err := p.within(s)
		if err != nil {
			return err
		}
		value(v)
	}
	return nil
}

// Literals calls f with each piece of literal text, in order.
func (t *Template) Literals(f func(string)) {
	for i := range t.parts {
		if p := &t.parts[i]; p.eval == nil {
			f(p.text)
		}
	}
}

// Value returns the template's value, for another expression to read: one that cannot
// be sent says so where it is sent.
func (t *Template) Value(s *Scope) Value {
	if len(t.parts) == 1 && t.parts[0].eval != nil {
		return t.parts[0].eval(s, nil)
	}
	if text, ok := t.Constant(); ok {
		return Str(text)
	}
	out, err := t.Append(nil, s)
	if err != nil {
		return failed(err.Error())
	}
	return Str(string(out))
}

func parseParts(t block.Text, s *Symbols, errs *block.Errors) (parts []part, kinds []Type) {
	if m := mustaches.FindStringSubmatch(t.S); m != nil {
		errs.Add(t.Pos, t.Path, "in %q: %s is the notation of other tools", t.String(), m[0]).Hint = "write ${" + m[1] + "}; to send the braces themselves write ${\"" + m[0] + "\"}"
		return parts, kinds
	}
	rest := t.S
	literal := ""
	flush := func() {
		if literal != "" {
			parts, kinds = append(parts, part{text: literal}), append(kinds, String)
			literal = ""
		}
	}
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			break
		}
		if i > 0 && rest[i-1] == '$' {
			literal += rest[:i-1] + "${"
			rest = rest[i+2:]
			continue
		}
		literal += rest[:i]
		end := closing(rest, i+2)
		if end < 0 {
			errs.Add(t.Pos, t.Path, "in %q: ${ is not closed", t.S).Hint = "write $${ for a literal ${"
			return parts, kinds
		}
		flush()
		inner := t
		inner.S = rest[i+2 : end]
		c := compiler{symbols: s}
		if f, kind, ok := c.text(inner, errs); ok {
			parts, kinds = append(parts, part{eval: f, source: sourceOf(inner)}), append(kinds, kind)
		}
		rest = rest[end+1:]
	}
	literal += rest
	flush()
	return parts, kinds
}

// sourceOf returns an expression as it is written, unless a secret is in it.
func sourceOf(t block.Text) string {
	if t.Hidden {
		return "a value"
	}
	return t.S
}

// closing returns the index of the brace that closes a ${ whose text begins at i, -1 if there is none.
func closing(s string, i int) int {
	depth := 0
	for i < len(s) {
		switch s[i] {
		case '"', '\'', '`':
			i = quoted(s, i)
			continue
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
		}
		i++
	}
	return -1
}
