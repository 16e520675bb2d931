package expr

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/block"
)

// An eval is a compiled expression.
type eval func(*Scope, Response) Value

// A compiler turns one parsed expression into an eval.
type compiler struct {
	symbols *Symbols
	answer  bool // the expression may read an answer
	keep    Keep
}

// A mistake is an error of an expression with a hint.
type mistake struct{ text, hint string }

func (m *mistake) Error() string { return m.text }

func wrong(format string, args ...any) *mistake { return &mistake{text: fmt.Sprintf(format, args...)} }

// maxLength bounds an expression's text, in bytes.
const maxLength = 4096

// parserConfig disables the parser's own functions, in whose place perfd has its own.
var parserConfig = func() *conf.Config {
	c := conf.CreateNew()
	for _, f := range builtin.Builtins {
		c.Disabled[f.Name] = true
	}
	for _, name := range builtin.Names {
		c.Disabled[name] = true
		c.Functions[name] = &builtin.Function{Name: name} // or its own may want a condition as argument
	}
	return c
}()

// text compiles an expression and reports its mistakes.
func (c *compiler) text(t block.Text, errs *block.Errors) (eval, Type, bool) {
	if t.S == "" && t.Path == "" {
		return nil, Any, false // decoding said what is wrong with its place
	}
	f, kind, err := c.parse(t.S)
	if err == nil {
		return f, kind, true
	}
	e := errs.Add(t.Pos, t.Path, "in %q: %s", t.S, err)
	if m, ok := errors.AsType[*mistake](err); ok {
		e.Hint = m.hint
	}
	return nil, Any, false
}

func (c *compiler) parse(s string) (eval, Type, error) {
	if c.symbols != nil {
		if tree := c.symbols.trees[s]; tree != nil {
			return c.node(tree)
		}
	}
	if strings.TrimSpace(s) == "" {
		return nil, Any, wrong("an expression must not be empty")
	}
	if len(s) > maxLength {
		return nil, Any, wrong("an expression must not be longer than %d bytes", maxLength)
	}
	if inner, ok := strings.CutPrefix(strings.TrimSpace(s), "${"); ok && strings.HasSuffix(inner, "}") {
		m := wrong("this is an expression by itself, without ${…}")
		m.hint = "write " + strings.TrimSpace(strings.TrimSuffix(inner, "}"))
		return nil, Any, m
	}
	if m := habit(s); m != nil {
		return nil, Any, m
	}
	tree, err := parser.ParseWithConfig(rewrite(s), parserConfig)
	if err != nil {
		if at, ok := errors.AsType[*file.Error](err); ok {
			return nil, Any, wrong("%s", at.Message)
		}
		return nil, Any, wrong("%s", err)
	}
	if c.symbols != nil {
		c.symbols.trees[s] = tree.Node
	}
	return c.node(tree.Node)
}

func constant(v Value) eval { return func(*Scope, Response) Value { return v } }

// node compiles one node of the tree and returns the type that it yields.
func (c *compiler) node(n ast.Node) (eval, Type, error) {
	switch n := n.(type) {
	case *ast.NilNode:
		return constant(Value{kind: Null}), Null, nil
	case *ast.BoolNode:
		return constant(Boolean(n.Value)), Bool, nil
	case *ast.IntegerNode:
		return constant(numeral(strconv.Itoa(n.Value), float64(n.Value))), Number, nil
	case *ast.FloatNode:
		return constant(Num(n.Value)), Number, nil
	case *ast.StringNode:
		return constant(Str(n.Value)), String, nil
	case *ast.IdentifierNode:
		return c.name(n.Value)
	case *ast.ChainNode:
		return c.node(n.Node)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.ArrayNode:
		return c.array(n)
	case *ast.CallNode, *ast.BuiltinNode:
		if name, args := callOf(n); name != "" {
			return c.call(name, args)
		}
	}
	m := wrong("%s is not part of perfd's expressions", n)
	m.hint = hintOfCall(n)
	return nil, Any, m
}

// Reserved reports whether every expression defines a name, so that no variable may have it.
func Reserved(name string) bool {
	_, isFunction := functions[name]
	if slices.Contains(picks, name) && name != "first" && name != "last" && name != "random" {
		return false // a call has parentheses
	}
	return isFunction || slices.Contains(answerNames, name) || slices.Contains([]string{"vu", "iteration", "header", "regex", "nil", "true", "false"}, name)
}

// answerNames lists the names of parts of an answer that are read without a call.
var answerNames = []string{"status", "duration", "size", "checksum", "body", "json", "stream"}

func (c *compiler) name(name string) (eval, Type, error) {
	if slot, kind, ok := c.symbols.Lookup(name); ok {
		return func(s *Scope, _ Response) Value { return s.get(slot).named(name) }, kind, nil
	}
	if c.answer {
		switch name {
		case "status":
			return func(_ *Scope, r Response) Value { return Num(float64(r.Code())) }, Number, nil
		case "duration":
			return func(_ *Scope, r Response) Value { return Dur(r.Duration()) }, Duration, nil
		case "size":
			return func(_ *Scope, r Response) Value { return Num(float64(r.Size())) }, Number, nil
		case "checksum":
			return func(_ *Scope, r Response) Value { return Str(fmt.Sprintf("%016x", r.Sum())) }, String, nil
		case "body":
			c.keep.Body = true
			return func(_ *Scope, r Response) Value { return Str(string(r.Body())) }, String, nil
		case "json":
			return c.jsonPath("", name)
		case "stream":
			m := wrong("stream has members")
			m.hint = "write stream.received, or another of " + strings.Join(streamNames(), ", ")
			return nil, Any, m
		}
	}
	switch name {
	case "vu":
		return func(s *Scope, _ Response) Value { return Num(float64(s.VU)) }, Number, nil
	case "iteration":
		return func(s *Scope, _ Response) Value { return Num(float64(s.Iteration)) }, Number, nil
	}
	return nil, Any, c.unknown(name)
}

func (c *compiler) unknown(name string) error {
	m := wrong("unknown name %q", name)
	known := append(c.symbols.known(), "vu", "iteration")
	if c.answer {
		known = append(known, answerNames...)
	}
	if slices.Contains(Functions(), name) {
		m.hint = fmt.Sprintf("%s is a function: write %s(…)", name, name)
		return m
	}
	if m.hint = hintOfName(name); m.hint == "" {
		m.hint = block.Nearest(name, known)
	}
	return m
}

// member compiles x.name and x[index]. A path that begins with json is read
// from the body without decoding the rest of it.
func (c *compiler) member(n *ast.MemberNode) (eval, Type, error) {
	if n.Method {
		return nil, Any, wrong("%s: values have no methods", n)
	}
	if path, ok := c.pathOf(n); ok {
		return c.jsonPath(path, strings.ReplaceAll(n.String(), `["`+each+`"]`, each))
	}
	if c.ofStream(n.Node) {
		return ofStreamMember(n)
	}
	if key, ok := n.Property.(*ast.StringNode); ok && key.Value == each {
		m := wrong("[*] is part of a path that begins with json")
		m.hint = "write json.items[*].id in extract, or repeat over each of a variable"
		return nil, Any, m
	}
	of, kind, err := c.node(n.Node)
	if err != nil {
		return nil, Any, err
	}
	if err := c.known(n); err != nil {
		return nil, Any, err
	}
	if kind != Any && kind != Object && kind != List {
		return nil, Any, wrong("%s is %s and has no members", n.Node, kind)
	}
	key, keyKind, err := c.node(n.Property)
	if err != nil {
		return nil, Any, err
	}
	if keyKind != Any && keyKind != String && keyKind != Number {
		return nil, Any, wrong("an index must be a number or text, %s is %s", n.Property, keyKind)
	}
	name := n.String()
	return func(s *Scope, r Response) Value {
		from := of(s, r)
		if from.lacks() {
			return from
		}
		at := key(s, r)
		if at.lacks() {
			return at
		}
		return from.member(at).named(name)
	}, Any, nil
}

// known checks a member of a row whose members are known.
func (c *compiler) known(n *ast.MemberNode) error {
	row, named := n.Node.(*ast.IdentifierNode)
	if !named {
		return nil
	}
	members := c.symbols.membersOf(row.Value)
	if _, index := n.Property.(*ast.IntegerNode); index && members != nil {
		m := wrong("%s is one row, which each iteration gets, and not the list of rows", row.Value)
		m.hint = "write " + row.Value + "." + members[0]
		return m
	}
	key, constant := n.Property.(*ast.StringNode)
	if !constant || members == nil || slices.Contains(members, key.Value) {
		return nil
	}
	m := wrong("%s has no %q", row.Value, key.Value)
	m.hint = block.Nearest(key.Value, members)
	return m
}

// pathOf returns the gjson path of a chain such as json.products[0].id.
func (c *compiler) pathOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.ChainNode:
		return c.pathOf(n.Node)
	case *ast.IdentifierNode:
		_, _, shadowed := c.symbols.Lookup("json")
		return "", n.Value == "json" && c.answer && !shadowed
	case *ast.MemberNode:
		before, ok := c.pathOf(n.Node)
		if !ok {
			return "", false
		}
		var key string
		switch p := n.Property.(type) {
		case *ast.StringNode:
			if key = escapePath(p.Value); p.Value == each {
				key = "#"
			}
		case *ast.IntegerNode:
			if p.Value < 0 {
				return "", false
			}
			key = fmt.Sprint(p.Value)
		default:
			return "", false
		}
		if before == "" {
			return key, true
		}
		return before + "." + key, true
	}
	return "", false
}

// escapePath escapes a key for a gjson path.
func escapePath(key string) string {
	var b strings.Builder
	for _, r := range key {
		if r != '_' && r != '-' && ('0' > r || r > '9') && ('a' > r || r > 'z') && ('A' > r || r > 'Z') && r <= 127 {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// each stands for every element of a list in a path of JSON. rewrite puts it in quotes.
const each = "[*]"

func (c *compiler) jsonPath(path, name string) (eval, Type, error) {
	c.keep.Body = true
	kind := Any
	if steps := strings.Split(path, "."); slices.Contains(steps, "#") {
		kind = List
		nested := strings.Count(path, "#") - strings.Count(path, `\#`) - 1
		if steps[len(steps)-1] == "#" { // the elements themselves; # at the end would be their number
			steps = steps[:len(steps)-1]
		}
		path = strings.Join(steps, ".") + strings.Repeat("|@flatten", nested)
	}
	return func(s *Scope, r Response) Value {
		switch {
		case !s.isJSON(r): // a path may be found in what comes before the mistake
			return failed("the body is not JSON")
		case path == "" && (kind == Any || gjson.ParseBytes(unmarked(r.Body())).IsArray()):
			return jsonValue(gjson.ParseBytes(unmarked(r.Body())))
		}
		v := jsonValue(gjson.GetBytes(unmarked(r.Body()), path))
		if kind == List && v.kind != List {
			v = Value{}
		}
		return v.named(name)
	}, kind, nil
}

func (c *compiler) conditional(n *ast.ConditionalNode) (eval, Type, error) {
	cond, kind, err := c.node(n.Cond)
	if err != nil {
		return nil, Any, err
	}
	if kind != Bool && kind != Any {
		return nil, Any, wrong("%s must be true or false, it is %s", n.Cond, kind)
	}
	yes, yesKind, err := c.node(n.Exp1)
	if err != nil {
		return nil, Any, err
	}
	no, noKind, err := c.node(n.Exp2)
	if err != nil {
		return nil, Any, err
	}
	if yesKind != noKind {
		yesKind = Any
	}
	return func(s *Scope, r Response) Value {
		switch v := cond(s, r); {
		case v.kind != Bool:
			return notBool(v)
		case v.num != 0:
			return yes(s, r)
		}
		return no(s, r)
	}, yesKind, nil
}

func (c *compiler) array(n *ast.ArrayNode) (eval, Type, error) {
	items := make([]eval, len(n.Nodes))
	for i, item := range n.Nodes {
		f, _, err := c.node(item)
		if err != nil {
			return nil, Any, err
		}
		items[i] = f
	}
	return func(s *Scope, r Response) Value {
		text := []byte{'['}
		for i, f := range items {
			if i > 0 {
				text = append(text, ',')
			}
			v := f(s, r)
			if v.kind == fault || v.missing() && !c.answer {
				return v
			}
			text = v.AppendJSON(text)
		}
		return Value{kind: List, text: string(append(text, ']'))}
	}, List, nil
}
