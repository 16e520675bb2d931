package expr

import (
	"math"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/ast"
)

func (c *compiler) unary(n *ast.UnaryNode) (eval, Type, error) {
	f, kind, err := c.node(n.Node)
	if err != nil {
		return nil, Any, err
	}
	switch n.Operator {
	case "!", "not":
		if kind != Bool && kind != Any {
			return nil, Any, wrong("not needs true or false, %s is %s", n.Node, kind)
		}
		return func(s *Scope, r Response) Value {
			v := f(s, r)
			if v.kind == Bool {
				return Boolean(v.num == 0)
			}
			return notBool(v)
		}, Bool, nil
	case "-", "+":
		if kind != Number && kind != Duration && kind != Any {
			return nil, Any, wrong("%s needs a number, %s is %s", n.Operator, n.Node, kind)
		}
		if n.Operator == "+" {
			return f, kind, nil
		}
		return func(s *Scope, r Response) Value {
			if v := f(s, r); v.kind == Number || v.kind == Duration {
				return v.negated()
			} else if v.lacks() {
				return v
			}
			return failed("- needs a number")
		}, kind, nil
	}
	return nil, Any, wrong("operator %s is not part of perfd's expressions", n.Operator)
}

func (c *compiler) binary(n *ast.BinaryNode) (eval, Type, error) {
	a, ak, err := c.node(n.Left)
	if err != nil {
		return nil, Any, err
	}
	b, bk, err := c.node(n.Right)
	if err != nil {
		return nil, Any, err
	}
	switch n.Operator {
	case "&&", "and", "||", "or":
		for _, side := range []struct {
			n ast.Node
			k Type
		}{{n.Left, ak}, {n.Right, bk}} {
			if side.k != Bool && side.k != Any {
				m := wrong("%s needs true or false on both sides, %s is %s", n.Operator, side.n, side.k)
				if n.Operator == "||" && (ak == Any || ak == String) {
					m.hint = "for a value that stands in for another write " + n.Left.String() + " | default(" + n.Right.String() + ")"
				}
				return nil, Any, m
			}
		}
		return logical(n.Operator[0] == '&' || n.Operator == "and", a, b), Bool, nil
	case "==", "!=":
		if ak != bk && ak != Any && bk != Any && ak != Null && bk != Null {
			return nil, Any, mismatch(n, ak, bk)
		}
		same := n.Operator == "=="
		return func(s *Scope, r Response) Value {
			x, y := a(s, r), b(s, r)
			switch {
			case x.kind == fault:
				return x
			case y.kind == fault:
				return y
			}
			return Boolean(equal(x, y) == same)
		}, Bool, nil
	case "<", "<=", ">", ">=":
		return compare(n, a, ak, b, bk)
	case "+", "-", "*", "/", "%", "**", "^":
		return arithmetic(n, a, ak, b, bk)
	case "contains", "startsWith", "endsWith", "matches":
		return c.textual(n, a, ak, b, bk)
	case "??":
		kind := ak
		if ak != bk {
			kind = Any
		}
		return func(s *Scope, r Response) Value {
			if v := a(s, r); !v.IsNull() && v.kind != fault {
				return v
			}
			return b(s, r)
		}, kind, nil
	case "in":
		return func(s *Scope, r Response) Value { return among(a(s, r), b(s, r)) }, Bool, nil
	}
	return nil, Any, wrong("operator %s is not part of perfd's expressions", n.Operator)
}

func mismatch(n *ast.BinaryNode, ak, bk Type) error {
	m := wrong("%s is %s and %s is %s: they cannot be compared", n.Left, ak, n.Right, bk)
	m.hint = hintOfMismatch(n, ak, bk)
	return m
}

func logical(and bool, a, b eval) eval {
	return func(s *Scope, r Response) Value {
		v := a(s, r)
		if v.kind != Bool {
			return notBool(v)
		}
		if (v.num != 0) != and {
			return v
		}
		if v = b(s, r); v.kind != Bool {
			return notBool(v)
		}
		return v
	}
}

func notBool(v Value) Value {
	if v.lacks() {
		return v
	}
	return failed("needs true or false, got " + v.Type().String())
}

func equal(a, b Value) bool {
	if a.IsNull() || b.IsNull() {
		return a.IsNull() && b.IsNull()
	}
	if a.kind == Number && b.kind == Number {
		return order(a, b) == 0
	}
	return a.kind == b.kind && a.num == b.num && a.text == b.text
}

func compare(n *ast.BinaryNode, a eval, ak Type, b eval, bk Type) (eval, Type, error) {
	ordered := func(k Type) bool { return k == Number || k == String || k == Duration || k == Any }
	if !ordered(ak) || !ordered(bk) || ak != bk && ak != Any && bk != Any {
		return nil, Any, mismatch(n, ak, bk)
	}
	less, orEqual := n.Operator[0] == '<', len(n.Operator) == 2
	return func(s *Scope, r Response) Value {
		x, y := a(s, r), b(s, r)
		if x.kind != y.kind || !ordered(x.kind) || x.IsNull() {
			switch {
			case x.lacks():
				return x
			case y.lacks():
				return y
			}
			return failed("cannot compare " + x.Type().String() + " with " + y.Type().String())
		}
		if !less {
			x, y = y, x
		}
		if x.kind == String {
			return Boolean(x.text < y.text || orEqual && x.text == y.text)
		}
		return Boolean(order(x, y) < 0 || orEqual && order(x, y) == 0)
	}, Bool, nil
}

func arithmetic(n *ast.BinaryNode, a eval, ak Type, b eval, bk Type) (eval, Type, error) {
	op := n.Operator
	if op == "+" && (ak == String || bk == String) {
		return func(s *Scope, r Response) Value { return joined(a(s, r), b(s, r)) }, String, nil
	}
	numeric := func(k Type) bool { return k == Number || k == Duration || k == Any }
	if !numeric(ak) || !numeric(bk) {
		return nil, Any, wrong("%s needs numbers, %s is %s and %s is %s", op, n.Left, ak, n.Right, bk)
	}
	kind := Number
	switch {
	case ak == Any || bk == Any:
		kind = Any
	case (ak == Duration) != (bk == Duration) && (op == "*" || op == "/" && ak == Duration):
		kind = Duration
	case ak == Duration && bk == Duration && op != "/":
		kind = Duration
	case ak != bk:
		return nil, Any, wrong("%s cannot join %s with %s", op, ak, bk)
	}
	return func(s *Scope, r Response) Value {
		x, y := a(s, r), b(s, r)
		if op == "+" && (x.kind == String || y.kind == String) {
			return joined(x, y)
		}
		switch {
		case x.lacks():
			return x
		case y.lacks():
			return y
		}
		if x.IsNull() || y.IsNull() || !numeric(x.kind) || !numeric(y.kind) {
			return failed(op + " needs numbers, got " + x.Type().String() + " and " + y.Type().String())
		}
		out := Value{kind: Number, num: operate(op, x.num, y.num)}
		if (x.kind == Duration || y.kind == Duration) && (op != "/" || y.kind != Duration) {
			out.kind = Duration
		}
		if big, ok := exact(op, x, y, out.num); ok && out.kind == Number {
			return big
		}
		if math.IsNaN(out.num) || math.IsInf(out.num, 0) {
			return failed(op + " has no result")
		}
		return out
	}, kind, nil
}

// joined returns the text of two values one after the other.
func joined(x, y Value) Value {
	switch {
	case x.lacks():
		return x
	case y.lacks():
		return y
	case x.IsNull() || y.IsNull():
		return failed("+ needs a value on both sides, got nothing")
	}
	return Str(x.String() + y.String())
}

func operate(op string, x, y float64) float64 {
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		return x / y
	case "%":
		return math.Mod(x, y)
	}
	return math.Pow(x, y)
}

func (c *compiler) textual(n *ast.BinaryNode, a eval, ak Type, b eval, bk Type) (eval, Type, error) {
	if ak != String && ak != Any || bk != String && bk != Any {
		return nil, Any, wrong("%s needs text on both sides, %s is %s and %s is %s", n.Operator, n.Left, ak, n.Right, bk)
	}
	var holds func(x, y string) bool
	switch n.Operator {
	case "contains":
		holds = strings.Contains
	case "startsWith":
		holds = strings.HasPrefix
	case "endsWith":
		holds = strings.HasSuffix
	default:
		re, err := constantPattern(n.Right)
		if err != nil {
			return nil, Any, err
		}
		holds = func(x, _ string) bool { return re.MatchString(x) }
	}
	return func(s *Scope, r Response) Value {
		x, y := a(s, r), b(s, r)
		switch { // what an answer need not have contains nothing
		case x.kind == fault || x.missing() && !c.answer:
			return x
		case y.kind == fault || y.missing() && !c.answer:
			return y
		}
		return Boolean(holds(x.String(), y.String()))
	}, Bool, nil
}

// constantPattern compiles a regular expression, which must be a literal so that it is compiled once.
func constantPattern(n ast.Node) (*regexp.Regexp, error) {
	text, ok := n.(*ast.StringNode)
	if !ok {
		return nil, wrong("a regular expression must be text written out, got %s", n)
	}
	re, err := regexp.Compile(text.Value)
	if err != nil {
		return nil, wrong("%s", err)
	}
	return re, nil
}

func among(x, list Value) Value {
	if x.kind == fault {
		return x
	}
	if list.lacks() {
		return list
	}
	if list.kind != List {
		return failed("in needs a list, got " + list.Type().String())
	}
	for i := range list.len() {
		if equal(x, list.at(i)) {
			return Boolean(true)
		}
	}
	return Boolean(false)
}
