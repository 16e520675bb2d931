// Package expr is the one expression language: ${…} templates, the conditions
// of expect, checks and when, and the pipelines of extract.
//
// The parser is expr-lang's; its tree is compiled once, when the configuration
// is loaded, into Go closures over Value, so that a comparison costs a few
// nanoseconds and allocates nothing. Types are checked then too: a name that
// nothing declares and a comparison of text with a number are errors of the
// configuration, not of a run.
//
// An expression may read variables by name, and where there is an answer
// status, duration, size, checksum, body (text), json (only the path that is
// used is read) and header("Name").
package expr

import (
	"errors"
	"fmt"

	"github.com/perfd/perfd/internal/block"
)

// A Condition is a boolean expression about an answer.
type Condition struct {
	text string
	eval eval
	keep Keep
}

// ParseCondition compiles a condition. Mistakes go to errs; it then returns nil.
func ParseCondition(t block.Text, s *Symbols, errs *block.Errors) *Condition {
	c := compiler{symbols: s, answer: true}
	f, kind, ok := c.text(t, errs)
	if !ok {
		return nil
	}
	if kind != Bool && kind != Any {
		errs.Add(t.Pos, t.Path, "must be true or false, %q is %s", t.S, kind).Hint = "compare it: status == 200, len(json.items) > 0"
		return nil
	}
	return &Condition{t.S, f, c.keep}
}

// Eval evaluates the condition. An error says that it has no answer.
func (c *Condition) Eval(s *Scope, r Response) (bool, error) {
	v := c.eval(s, r)
	if v.kind == Bool {
		return v.num != 0, nil
	}
	if v.kind == fault {
		return false, fmt.Errorf("%s: %s", c.text, v.text)
	}
	return false, fmt.Errorf("%s: is %s, not true or false", c.text, v.Type())
}

// String returns the condition as written.
func (c *Condition) String() string { return c.text }

// Keep says what the condition reads of an answer.
func (c *Condition) Keep() Keep { return c.keep }

// An Extraction takes a value out of an answer.
type Extraction struct {
	text string
	eval eval
	kind Type
	keep Keep
}

// ParseExtraction compiles an extraction. Mistakes go to errs; it then returns nil.
func ParseExtraction(t block.Text, s *Symbols, errs *block.Errors) *Extraction {
	c := compiler{symbols: s, answer: true}
	f, kind, ok := c.text(t, errs)
	if !ok {
		return nil
	}
	return &Extraction{t.S, f, kind, c.keep}
}

// Eval returns the value; a value that is not there is an error.
func (x *Extraction) Eval(s *Scope, r Response) (Value, error) {
	v := x.eval(s, r)
	if v.kind == fault {
		return Value{}, fmt.Errorf("%s: %w", x.text, errors.New(v.text))
	}
	if v.IsNull() {
		return Value{}, fmt.Errorf("%s: not in the answer", x.text)
	}
	return v, nil
}

// Type is the type of what is extracted, as far as it is known.
func (x *Extraction) Type() Type { return x.kind }

// Keep says what the extraction reads of an answer.
func (x *Extraction) Keep() Keep { return x.keep }
