// Package expr is perfd's expression language: ${…} templates, the conditions of
// expect and checks, and the pipelines of extract.
//
// The parser is expr-lang's. When the configuration is loaded, its tree is
// compiled once into Go closures over Value, so that a comparison costs a few
// nanoseconds and allocates nothing. Types are checked at the same time: an
// undeclared name and a comparison of text with a number are errors of the
// configuration, not of a run.
//
// An expression may read variables by name. One about an answer may also read
// status, duration, size, checksum, body (text), json (only the path that is used
// is decoded) and header("Name").
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

// Eval evaluates the condition. An error says why it is neither true nor false.
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

// Keep returns the parts of an answer that the condition reads.
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

// Eval returns the value. A missing value is an error.
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

// Type returns the type of the value, Any if it is not known before Eval.
func (x *Extraction) Type() Type { return x.kind }

// Keep returns the parts of an answer that the extraction reads.
func (x *Extraction) Keep() Keep { return x.keep }
