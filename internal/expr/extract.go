package expr

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/cascadia"
	"github.com/antchfx/xpath"
	"github.com/expr-lang/expr/ast"

	"github.com/perfd/perfd/internal/block"
)

// A finder finds values, most of them at most. Where it has none it returns why: a missing value that is named, or a fault.
type finder func(s *Scope, r Response, most int) (found []Value, why Value)

// finders are the functions that find several values. By itself such a call yields the first; the functions of picks
// choose others.
var finders = []string{"css", "xpath", "regex"}

// picks are the functions that choose of several values, most often written as pipes.
var picks = []string{"first", "last", "random", "all", "count"}

var errEmpty = errors.New("the body is empty")

// find compiles a call of a finder. kind is the type of one value.
func (c *compiler) find(name string, args []ast.Node) (f finder, kind Type, err error) {
	switch name {
	case "css":
		return c.css(args)
	case "xpath":
		return c.xpath(args)
	}
	return c.regex(args)
}

// finderOf compiles a node if it is a call of a finder.
func (c *compiler) finderOf(n ast.Node) (f finder, kind Type, is bool, err error) {
	name, args := callOf(n)
	if !slices.Contains(finders, name) {
		return nil, Any, false, nil
	}
	f, kind, err = c.find(name, args)
	return f, kind, true, err
}

// callOf returns the name and arguments of a call, "" if a node is none.
func callOf(n ast.Node) (name string, args []ast.Node) {
	switch n := n.(type) {
	case *ast.CallNode:
		if f, ok := n.Callee.(*ast.IdentifierNode); ok {
			return f.Value, n.Arguments
		}
	case *ast.BuiltinNode:
		return n.Name, n.Arguments
	}
	return "", nil
}

// one makes a finder an expression that yields the first value.
func one(f finder) eval {
	return func(s *Scope, r Response) Value {
		found, why := f(s, r, 1)
		if len(found) == 0 {
			return why
		}
		return found[0]
	}
}

// pick compiles what is chosen of the values of a finder.
func pick(name string, f finder, kind Type) (eval, Type) {
	switch name {
	case "first":
		return one(f), kind
	case "count":
		return func(s *Scope, r Response) Value {
			found, why := f(s, r, math.MaxInt)
			if why.kind == fault {
				return why
			}
			return Num(float64(len(found)))
		}, Number
	}
	if name == "all" {
		kind = List
	}
	return func(s *Scope, r Response) Value {
		found, why := f(s, r, math.MaxInt)
		switch {
		case len(found) == 0:
			return why
		case name == "last":
			return found[len(found)-1]
		case name == "random":
			return found[s.below(uint64(len(found)))]
		}
		text := []byte{'['}
		for i, v := range found {
			if i > 0 {
				text = append(text, ',')
			}
			text = v.AppendJSON(text)
		}
		return Value{kind: List, text: string(append(text, ']'))}
	}, kind
}

// literals returns the arguments of a call that must be text written out.
func literals(name string, args []ast.Node, least, most int, example string) ([]string, error) {
	var out []string
	for _, arg := range args {
		text, ok := arg.(*ast.StringNode)
		if !ok || len(args) > most {
			break
		}
		out = append(out, text.Value)
	}
	if len(out) != len(args) || len(out) < least {
		m := wrong("%s takes text written out, got %d arguments", name, len(args))
		if len(out) < len(args) && len(args) <= most {
			m = wrong("%s takes text written out, got %s", name, args[len(out)])
		}
		m.hint = "write " + example
		return nil, m
	}
	return out, nil
}

// reads reports a function that needs an answer where there is none.
func (c *compiler) reads(name string) error {
	if c.answer {
		return nil
	}
	m := wrong("%s: there is no answer to read here", name)
	m.hint = "extract it in the step that gets the answer, and read the variable"
	return m
}

// sourceOfCall returns a call as it is written.
func sourceOfCall(name string, args []ast.Node) string {
	parts := make([]string, len(args))
	for i, arg := range args {
		parts[i] = arg.String()
	}
	return name + "(" + strings.Join(parts, ", ") + ")"
}

// css compiles css("selector"), the text of elements, and css("selector", "attribute").
func (c *compiler) css(args []ast.Node) (finder, Type, error) {
	if err := c.reads("css"); err != nil {
		return nil, Any, err
	}
	text, err := literals("css", args, 1, 2, `css(".price"), or css("input[name=token]", "value") for an attribute`)
	if err != nil {
		return nil, Any, err
	}
	selector, err := cascadia.ParseGroup(text[0])
	if err != nil {
		m := wrong("%q is no CSS selector: %s", text[0], err)
		m.hint = hintOfSelector(text[0])
		return nil, Any, m
	}
	attribute := ""
	if len(text) == 2 {
		attribute = strings.ToLower(strings.TrimPrefix(text[1], "@"))
	}
	source := sourceOfCall("css", args)
	c.keep.Body = true
	return func(s *Scope, r Response, most int) ([]Value, Value) {
		body := r.Body()
		if len(body) == 0 {
			return nil, failed(errEmpty.Error())
		}
		root, err := s.document().asHTML(body)
		if err != nil {
			return nil, failed(err.Error())
		}
		texts, bare := selectCSS(root, selector, attribute, most)
		if bare {
			return nil, Value{}.named("attribute " + attribute + " of " + source)
		}
		found := make([]Value, len(texts))
		for i, text := range texts {
			found[i] = Str(text)
		}
		return found, Value{}.named(source)
	}, String, nil
}

// hintOfSelector returns the hint for a selector that is none.
func hintOfSelector(s string) string {
	switch {
	case strings.HasPrefix(s, "/"), strings.HasPrefix(s, "("):
		return "this looks like XPath: write xpath(" + strconv.Quote(s) + ")"
	case strings.Contains(s, "::attr("):
		before, after, _ := strings.Cut(s, "::attr(")
		return fmt.Sprintf("write css(%q, %q)", before, strings.TrimSuffix(after, ")"))
	case strings.Contains(s, "::"):
		before, _, _ := strings.Cut(s, "::")
		return fmt.Sprintf("css yields the text of elements: write css(%q)", before)
	case strings.Contains(s, "@"):
		before, after, _ := strings.Cut(s, "@")
		return fmt.Sprintf("write css(%q, %q)", strings.TrimRight(before, "/ "), after)
	case strings.Contains(s, ":eq("), strings.Contains(s, ":first"), strings.Contains(s, ":last"), strings.Contains(s, ":visible"):
		return "that is of jQuery: write css(…) | first, | last, or :nth-child(1)"
	}
	return ""
}

// xpath compiles xpath("path").
func (c *compiler) xpath(args []ast.Node) (finder, Type, error) {
	if err := c.reads("xpath"); err != nil {
		return nil, Any, err
	}
	text, err := literals("xpath", args, 1, 1, `xpath("//order/@id")`)
	if err != nil {
		return nil, Any, err
	}
	if _, err := compilePath(text[0]); err != nil {
		m := wrong("%q is no XPath: %s", text[0], err)
		if strings.ContainsAny(text[0], "#>") || strings.HasPrefix(text[0], ".") && !strings.HasPrefix(text[0], "./") {
			m.hint = "this looks like CSS: write css(" + strconv.Quote(text[0]) + ")"
		}
		return nil, Any, m
	}
	// A compiled path has a state while it is evaluated.
	paths := &sync.Pool{New: func() any { path, _ := compilePath(text[0]); return path }}
	source := sourceOfCall("xpath", args)
	c.keep.Merge(Keep{Body: true, Headers: []string{contentType}})
	return func(s *Scope, r Response, most int) ([]Value, Value) {
		in, err := s.navigator(r)
		if err != nil {
			return nil, failed(err.Error())
		}
		path, ok := paths.Get().(*xpath.Expr)
		if !ok {
			return nil, failed("no XPath")
		}
		found, err := searchPath(path, in, most)
		if err != nil {
			return nil, failed(source + ": " + err.Error())
		}
		paths.Put(path)
		return found, Value{}.named(source)
	}, Any, nil
}

func compilePath(text string) (path *xpath.Expr, err error) {
	defer func() {
		if p := recover(); p != nil {
			path, err = nil, fmt.Errorf("%v", p)
		}
	}()
	return xpath.Compile(text)
}

// regex compiles regex(text, "pattern"), which yields the first group of a match or all of it if the pattern has
// none, and regex(text, "pattern", group) for a group by number or name.
func (c *compiler) regex(args []ast.Node) (finder, Type, error) {
	if len(args) != 2 && len(args) != 3 {
		m := wrong("regex takes a text and a pattern, got %d arguments", len(args))
		m.hint = `write regex(body, "id=(\\d+)"), with the number or name of a group as third where there are several`
		return nil, Any, m
	}
	re, err := constantPattern(args[1])
	if err != nil {
		return nil, Any, err
	}
	group := min(1, re.NumSubexp())
	if len(args) == 3 {
		if group, err = groupOf(re, args[2]); err != nil {
			return nil, Any, err
		}
	}
	missing := Value{}.named(sourceOfCall("regex", args))
	if name, isName := args[0].(*ast.IdentifierNode); isName && name.Value == "body" && c.answer && !c.symbols.Has("body") {
		c.keep.Body = true
		return func(_ *Scope, r Response, most int) ([]Value, Value) {
			body := r.Body()
			if most == 1 {
				if at := re.FindSubmatchIndex(body); at != nil && at[2*group] >= 0 {
					return []Value{Str(string(body[at[2*group]:at[2*group+1]]))}, missing
				}
				return nil, missing
			}
			return matches(re.FindAllSubmatchIndex(body, -1), group, func(from, to int) string { return string(body[from:to]) }), missing
		}, String, nil
	}
	of, kind, err := c.node(args[0])
	if err != nil {
		return nil, Any, err
	}
	if kind != String && kind != Any {
		return nil, Any, wrong("regex needs text, %s is %s", args[0], kind)
	}
	return func(s *Scope, r Response, most int) ([]Value, Value) {
		v := of(s, r)
		if v.lacks() {
			return nil, v
		}
		if most > 1 {
			most = -1
		}
		text := v.String()
		return matches(re.FindAllStringSubmatchIndex(text, most), group, func(from, to int) string { return strings.Clone(text[from:to]) }), missing
	}, String, nil
}

// matches returns the texts of one group in all matches where it took part.
func matches(all [][]int, group int, text func(from, to int) string) (found []Value) {
	for _, at := range all {
		if at[2*group] >= 0 {
			found = append(found, Str(text(at[2*group], at[2*group+1])))
		}
	}
	return found
}

// groupOf returns the number of the group of a pattern that an argument names.
func groupOf(re *regexp.Regexp, n ast.Node) (int, error) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		if n.Value >= 0 && n.Value <= re.NumSubexp() {
			return n.Value, nil
		}
		return 0, wrong("the pattern has %d groups, and no group %d", re.NumSubexp(), n.Value)
	case *ast.StringNode:
		if i := re.SubexpIndex(n.Value); i >= 0 {
			return i, nil
		}
		m := wrong("the pattern has no group named %q", n.Value)
		if names := slices.DeleteFunc(re.SubexpNames(), func(s string) bool { return s == "" }); len(names) > 0 {
			m.hint = block.Nearest(n.Value, names)
		} else {
			m.hint = "a group gets a name by (?P<" + n.Value + ">…)"
		}
		return 0, m
	}
	return 0, wrong("a group is a number or a name, got %s", n)
}

// cookie compiles cookie("name").
func (c *compiler) cookie(args []ast.Node) (eval, Type, error) {
	if err := c.reads("cookie"); err != nil {
		return nil, Any, err
	}
	text, err := literals("cookie", args, 1, 1, `cookie("session")`)
	if err != nil {
		return nil, Any, err
	}
	c.keep.Cookies = true
	missing := Value{}.named(sourceOfCall("cookie", args))
	return func(_ *Scope, r Response) Value {
		holder, ok := r.(CookieHolder)
		if !ok {
			return failed("answers of this protocol set no cookies")
		}
		if v, ok := holder.Cookie(text[0]); ok {
			return Str(strings.Clone(v))
		}
		return missing
	}, String, nil
}

// orElse compiles default(x, y), which is y where x is missing, null or cannot be evaluated.
func (c *compiler) orElse(args []ast.Node) (eval, Type, error) {
	if len(args) != 2 {
		m := wrong("default takes a value and what stands in for it, got %d arguments", len(args))
		m.hint = `write json.id | default(0)`
		return nil, Any, m
	}
	return c.binary(&ast.BinaryNode{Operator: "??", Left: args[0], Right: args[1]})
}
