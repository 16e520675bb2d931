package block

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sketch writes a tree in one line, with kinds and positions.
func sketch(n *Node) string {
	if n == nil {
		return "nil"
	}
	at := fmt.Sprintf("@%d:%d", n.Pos.Line, n.Pos.Col)
	switch n.Kind {
	case Map:
		var parts []string
		for _, k := range n.Keys {
			parts = append(parts, k.Name+": "+sketch(k.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case List:
		var parts []string
		for _, i := range n.Items {
			parts = append(parts, sketch(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case Null:
		return "null" + at
	case String:
		return fmt.Sprintf("%q%s", n.Scalar, at)
	}
	return n.Scalar + at
}

func messages(errs *Errors) string {
	if err := errs.Err(); err != nil {
		return err.Error()
	}
	return ""
}

func TestParseKeepsTextAsWritten(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an empty file is an empty mapping", "", "{}"},
		{"comments only", "# nothing\n", "{}"},
		{"a null document", "~\n", "{}"},
		{"order and places", "b: 1\na: two\n", `{b: 1@1:4, a: "two"@2:4}`},
		{"octal-looking, dotted, hex and underscored numbers", "a: [0123, 1.50, 0x1F, 1_000]", `{a: [0123@1:5, 1.50@1:11, 0x1F@1:17, 1_000@1:23]}`},
		{"quoted numbers are text", `a: ["12", '3', "true"]`, `{a: ["12"@1:5, "3"@1:11, "true"@1:16]}`},
		{"words that YAML 1.1 took for booleans are text", "a: [yes, off, true]", `{a: ["yes"@1:5, "off"@1:10, true@1:15]}`},
		{"dates are text", "a: 2026-01-02", `{a: "2026-01-02"@1:4}`},
		{"keys keep their case and dots", "a.b: 1\nA.B: 2", `{a.b: 1@1:6, A.B: 2@2:6}`},
		{"free keys are left out at any depth", "x-a: &n {b: 1, x-c: [2], x-d: &s 3}\nd: *n", `{d: {b: 1@1:13}}`},
		{"but not one with a plain scalar, which may be a header", "d: {x-id: 1}", `{d: {x-id: 1@1:11}}`},
		{"no key of a json block is free", "http: {json: {x-a: {b: 1}, c: [{x-d: [2]}], x-e: &s 3}}", `{http: {json: {x-a: {b: 1@1:24}, c: [{x-d: [2@1:39]}], x-e: 3@1:50}}}`},
		{"nor one that comes to it by an alias or a merge", "a: &m {x-a: {b: 1}}\njson: *m\nc: {json: [{<<: *m}]}\nd: *m", `{a: {}, json: {x-a: {b: 1@1:17}}, c: {json: [{x-a: {b: 1@1:17}}]}, d: {}}`},
		{"but those beside it", "json: 1\njsonx: {x-a: {b: 1}}\nx-b: {json: {c: 1}}", `{json: 1@1:7, jsonx: {}}`},
		{"a merge key gives way to keys written out", "x-a: &n {b: 1, c: 2}\nd: {<<: *n, c: 3}", `{d: {c: 3@2:16, b: 1@1:13}}`},
		{"several merges, the first wins", "x-a: [&n {b: 1}, &m {b: 2, c: 2}]\nd: {<<: [*n, *m]}", `{d: {b: 1@1:14, c: 2@1:31}}`},
		{"a block of text", "a: |\n  x\n  y\n", `{a: "x\ny\n"@1:4}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs Errors
			if got := sketch(Parse("f", []byte(c.text), &errs)); got != c.want || errs.Len() > 0 {
				t.Errorf("Parse(%q) = %s %s, want %s", c.text, got, messages(&errs), c.want)
			}
		})
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	bomb := "x-a: &a [1,1,1,1,1,1,1,1,1,1]\n"
	for i := 'b'; i < 'j'; i++ {
		bomb += fmt.Sprintf("x-%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat("*"+string(i-1)+",", 10), ","))
	}
	for _, c := range []struct{ name, text, want string }{
		{"a key twice", "a: {b: 1, b: 2}", `f:1:11: a.b: key "b" is written twice in one mapping, first at f:1:5`},
		{"a key twice in a list of a list", "a: [[{b: 1, b: 2}]]", `f:1:13: a[0][0].b: key "b" is written twice in one mapping, first at f:1:7`},
		{"a free key twice", "x-a: 1\nx-a: 2", `f:2:1: x-a: key "x-a" is written twice in one mapping, first at f:1:1`},
		{"a list as a key", "? [a]\n: 1", "f:1:3: a key must be plain text"},
		{"a tag", "a: !secret b", "f:1:4: a: has the tag !secret, which means nothing here"},
		{"a second document", "a: 1\n---\nb: 2", "f:2:1: a second document begins here; a file holds one\n\thint: put it into a file of its own and name that in scenario_files"},
		{"an alias inside its anchor", "a: &a {b: *a}", "f:1:11: a.b: alias *a stands inside its own anchor"},
		{"an alias bomb", bomb + "k: *i", "f:1:1: more than 200000 values after aliases are expanded"},
		{"brackets without end", "a: " + strings.Repeat("[", 150) + strings.Repeat("]", 150), "f:1:104: nested more than 100 deep"},
		{"a merge of a scalar", "a: {<<: 5}", "f:1:9: a.<<: only a mapping can be merged, got 5"},
		{"a tab", "a:\n\tb: 1", "f:2: not valid YAML: found character that cannot start any token\n\thint: indent with spaces, not tabs; a value that begins with @, ` or % needs quotes"},
		{"a colon in plain text", "a: b: c", "f:1: not valid YAML: mapping values are not allowed in this context\n\thint: a text that holds \": \" needs quotes; keys of one mapping begin in one column"},
		{"a reference without quotes", "a: {b: ${c}}", "f:1: not valid YAML: did not find expected ',' or '}'\n\thint: between {…} and […] a value with ${…}, a comma or a bracket needs quotes"},
		{"an unknown anchor", "a: *.example.com", "f:1: not valid YAML: did not find expected alphabetic or numeric character\n\thint: a value that begins with * needs quotes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs Errors
			Parse("f", []byte(c.text), &errs)
			if diff := cmp.Diff(c.want, messages(&errs)); diff != "" {
				t.Errorf("Parse(%.60q) (-want +got):\n%s", c.text, diff)
			}
		})
	}
}

func TestPathsNameThePlace(t *testing.T) {
	var errs Errors
	n := Parse("f", []byte("x-m: &m {k: [1]}\na:\n  - b: {c: 1}\n  - *m\n  - {<<: [*m], l: 2}\n"), &errs)
	if errs.Len() > 0 {
		t.Fatal(errs.Err())
	}
	var got []string
	var walk func(*Node)
	walk = func(n *Node) {
		got = append(got, n.Path)
		for _, k := range n.Keys {
			walk(k.Value)
		}
		for _, i := range n.Items {
			walk(i)
		}
	}
	walk(n)
	want := []string{"", "a", "a[0]", "a[0].b", "a[0].b.c", "a[1]", "a[1].k", "a[1].k[0]", "a[2]", "a[2].l", "a[2].k", "a[2].k[0]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: 1", "a: &a [*a]", "<<: {a: 1}\nb: {<<: [1]}", "? [a]\n: b", "a: !!binary x", "---\n---\n", "\t", "a: {b: 1, b: 2}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var errs Errors
		if n := Parse("f", text, &errs); n == nil && errs.Len() == 0 {
			t.Error("no tree and no reason")
		}
	})
}
