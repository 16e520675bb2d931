package expr

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/expr-lang/expr/ast"
	"github.com/tidwall/gjson"
)

// element compiles first, last, random or count of a list at a path of JSON, or of a member of all of its elements: the
// elements are looked at in the body, and no list is made of them. Where there is no such list, or nothing in it, the
// value is what other makes of it, which is the same call. is says whether a node is such a path.
func (c *compiler) element(pick string, n ast.Node, other eval) (f eval, is bool) {
	if !slices.Contains([]string{"first", "last", "random", "count"}, pick) {
		return nil, false
	}
	path, ok := c.pathOf(n)
	if !ok {
		return nil, false
	}
	steps := strings.Split(path, ".")
	if slices.ContainsFunc(steps, func(s string) bool { return strings.HasSuffix(s, `\`) }) {
		return nil, false // a key with a dot in it
	}
	member := ""
	if i := slices.Index(steps, "#"); i >= 0 {
		steps, member = steps[:i], strings.Join(steps[i+1:], ".")
		if slices.Contains(strings.Split(member, "."), "#") {
			return nil, false
		}
	}
	path = strings.Join(steps, ".")
	return func(s *Scope, r Response) Value {
		if !s.isJSON(r) {
			return other(s, r)
		}
		list := gjson.Parse(view(unmarked(r.Body())))
		if path != "" {
			list = list.Get(path)
		}
		if !list.IsArray() {
			return other(s, r)
		}
		var seen [64]string // most lists are shorter, and looked at once
		have, last := 0, ""
		list.ForEach(func(_, x gjson.Result) bool {
			if member != "" {
				if x = x.Get(member); !x.Exists() {
					return true
				}
			}
			if have < len(seen) {
				seen[have] = x.Raw
			}
			last = x.Raw
			have++
			return pick != "first"
		})
		switch {
		case have == 0:
			return other(s, r)
		case pick == "count":
			return Num(float64(have))
		case pick == "random":
			if at := int(s.below(uint64(have))); at < len(seen) {
				last = seen[at]
			} else if at < have-1 {
				last = nth(list, member, at)
			}
		}
		v := jsonValue(gjson.Parse(last))
		v.text = strings.Clone(v.text)
		return v
	}, true
}

// nth returns element at of a list, or of those that have a member the member of that, as JSON text.
func nth(list gjson.Result, member string, at int) (found string) {
	list.ForEach(func(_, x gjson.Result) bool {
		if member != "" {
			if x = x.Get(member); !x.Exists() {
				return true
			}
		}
		found = x.Raw
		at--
		return at >= 0
	})
	return found
}

// view returns a body as text without a copy. What is made of it must not outlive the answer.
func view(body []byte) string { return unsafe.String(unsafe.SliceData(body), len(body)) }
