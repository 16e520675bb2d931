package block

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of one document, far above any configuration. They stop documents that
// expand aliases, or nest brackets, without end.
const (
	maxNodes = 200_000 // after aliases are expanded
	maxDepth = 100
)

// Parse reads one YAML document into a tree of nodes with paths. Keys that begin
// with "x-" are free for anchors and are left out, unless their value is a plain
// scalar or they are in a block named json. An empty text is an empty Map. Where the text is no YAML, Parse reports it
// and returns nil.
func Parse(file string, text []byte, errs *Errors) *Node {
	start := Pos{File: file, Line: 1, Col: 1}
	empty := &Node{Kind: Map, Pos: start}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return empty
	case err != nil:
		syntaxError(file, err, errs)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		errs.Add(Pos{File: file, Line: second.Line, Col: second.Column}, "", "a second document begins here; a file holds one").
			Hint = "put it into a file of its own and name that in scenario_files"
	case !errors.Is(err, io.EOF):
		syntaxError(file, err, errs)
		return nil
	}
	if len(doc.Content) == 0 {
		return empty
	}
	p := parser{file: file, errs: errs, open: map[*yaml.Node]bool{}}
	n := p.node(doc.Content[0], "")
	if p.stop != "" {
		errs.Add(p.stopAt, "", "%s", p.stop)
		return nil
	}
	if n.Kind == Null {
		return empty
	}
	return n
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

func syntaxError(file string, err error, errs *Errors) {
	text := err.Error()
	at := Pos{File: file, Line: 1}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	e := errs.Add(at, "", "not valid YAML: %s", strings.TrimPrefix(text, "yaml: "))
	switch {
	case strings.Contains(text, "cannot start any token"):
		e.Hint = "indent with spaces, not tabs; a value that begins with @, ` or % needs quotes"
	case strings.Contains(text, "mapping values are not allowed"):
		e.Hint = `a text that holds ": " needs quotes; keys of one mapping begin in one column`
	case strings.Contains(text, "expected ',' or"):
		e.Hint = "between {…} and […] a value with ${…}, a comma or a bracket needs quotes"
	case strings.Contains(text, "unknown anchor"), strings.Contains(text, "alphabetic or numeric"):
		e.Hint = `a value that begins with * needs quotes`
	}
}

type parser struct {
	file   string
	errs   *Errors
	open   map[*yaml.Node]bool // nodes being read, each below the one before
	count  int
	depth  int
	stop   string // why reading was stopped
	stopAt Pos
}

func (p *parser) pos(y *yaml.Node) Pos { return Pos{File: p.file, Line: y.Line, Col: y.Column} }

// room counts a node and reports whether the bounds allow it.
func (p *parser) room(y *yaml.Node) bool {
	p.count++
	switch {
	case p.stop != "":
	case p.count > maxNodes:
		p.stop, p.stopAt = "more than "+strconv.Itoa(maxNodes)+" values after aliases are expanded", Pos{File: p.file, Line: 1, Col: 1}
	case p.depth > maxDepth:
		p.stop, p.stopAt = "nested more than "+strconv.Itoa(maxDepth)+" deep", p.pos(y)
	}
	return p.stop == ""
}

func (p *parser) node(y *yaml.Node, path string) *Node {
	n := &Node{Pos: p.pos(y), Path: path}
	if !p.room(y) {
		return n
	}
	p.depth++
	p.open[y] = true
	defer func() { p.depth--; delete(p.open, y) }()
	switch y.Kind {
	case yaml.AliasNode:
		if p.open[y.Alias] {
			p.errs.Add(n.Pos, path, "alias *%s stands inside its own anchor", y.Value)
			return n
		}
		n = p.node(y.Alias, path)
	case yaml.MappingNode:
		n.Kind = Map
		p.tag(y, n, "!!map")
		p.mapping(y, n)
	case yaml.SequenceNode:
		n.Kind = List
		p.tag(y, n, "!!seq")
		n.Items = make([]*Node, 0, len(y.Content))
		for i, item := range y.Content {
			n.Items = append(n.Items, p.node(item, Index(path, i)))
		}
	default:
		n.Scalar = y.Value
		n.Kind = kindOf(y)
		p.tag(y, n, "!!null", "!!bool", "!!int", "!!float", "!!str", "!!timestamp", "!!merge")
	}
	return n
}

// tag reports a tag other than those of YAML's core schema, which no field reads.
func (p *parser) tag(y *yaml.Node, n *Node, plain ...string) {
	for _, t := range plain {
		if y.ShortTag() == t {
			return
		}
	}
	p.errs.Add(n.Pos, n.Path, "has the tag %s, which means nothing here", y.ShortTag())
}

// kindOf returns the kind that YAML's core schema gives a scalar.
func kindOf(y *yaml.Node) Kind {
	switch y.ShortTag() {
	case "!!null":
		return Null
	case "!!bool":
		return Bool
	case "!!int":
		return Int
	case "!!float":
		return Float
	}
	return String
}

// mapping reads the keys of a mapping. Keys of the mapping itself take precedence over those of a merge key (<<).
func (p *parser) mapping(y *yaml.Node, n *Node) {
	first := make(map[string]Pos, len(y.Content)/2)
	n.Keys = make([]Key, 0, len(y.Content)/2)
	var merged []*Node
	for i := 0; i+1 < len(y.Content) && p.stop == ""; i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			p.errs.Add(p.pos(k), n.Path, "a key must be plain text")
			continue
		}
		path := Join(n.Path, k.Value)
		if at, twice := first[k.Value]; twice {
			p.errs.Add(p.pos(k), path, "key %q is written twice in one mapping, first at %s", k.Value, at)
			continue
		}
		first[k.Value] = p.pos(k)
		switch {
		case k.ShortTag() == "!!merge":
			merged = p.merge(v, n)
		case !free(k.Value, v) || verbatim(n.Path):
			n.Keys = append(n.Keys, Key{Name: k.Value, Pos: p.pos(k), Value: p.node(v, path)})
		}
	}
	for _, m := range merged {
		for _, k := range m.Keys {
			if _, own := first[k.Name]; !own {
				first[k.Name] = k.Pos
				n.Keys = append(n.Keys, k)
			}
		}
	}
}

// merge returns the mappings that a merge key of n names.
func (p *parser) merge(v *yaml.Node, n *Node) []*Node {
	from := []*Node{p.node(v, n.Path)}
	if from[0].Kind == List {
		from = from[0].Items
		for _, m := range from {
			m.SetPaths(n.Path)
		}
	}
	for _, m := range from {
		if m.Kind != Map && p.stop == "" {
			p.errs.Add(m.Pos, Join(n.Path, "<<"), "only a mapping can be merged, got %s", m.Found())
		}
	}
	return from
}

// free reports whether a key is free for anchors, so that nothing reads it. A key
// with a plain scalar without an anchor is not free: it may be a header field.
func free(key string, value *yaml.Node) bool {
	return strings.HasPrefix(key, "x-") && (value.Kind != yaml.ScalarNode || value.Anchor != "")
}

// verbatim reports whether a path leads into a json block, which is sent as it is
// written, so that no key in it is free.
func verbatim(path string) bool {
	for key := range strings.SplitSeq(path, ".") {
		if key, _, _ = strings.Cut(key, "["); key == "json" {
			return true
		}
	}
	return false
}

// Untyped returns a node for text that was not written in YAML but in an environment
// variable, a flag or a file. It can be decoded into a field of any type.
func Untyped(text string, at Pos, path string) *Node {
	return &Node{Kind: String, Pos: at, Path: path, Scalar: text, Untyped: true}
}

// Typed is the kind of a scalar as a typed field reads it: Kind or, where the node is
// untyped, the kind that its text has in YAML.
func (n *Node) Typed() Kind {
	if n.Untyped && n.Scalar != "" {
		return kindOf(&yaml.Node{Kind: yaml.ScalarNode, Value: n.Scalar})
	}
	return n.Kind
}
