package config

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/perfd/perfd/internal/block"
)

// complete is the configuration that explains every key.
const complete = "../../config/perfd.yaml"

// A walker follows a document and its schema side by side.
type walker struct {
	root map[string]any
	// object is called for each mapping whose keys the schema lists, with all the schemas it may have.
	object func(path string, y *yaml.Node, properties map[string]any)
}

func newWalker(t *testing.T) *walker {
	t.Helper()
	text, err := Schema(kinds)
	if err != nil {
		t.Fatal(err)
	}
	w := &walker{}
	if err := json.Unmarshal(text, &w.root); err != nil {
		t.Fatal(err)
	}
	return w
}

// alternatives resolves $ref and anyOf.
func (w *walker) alternatives(s map[string]any) []map[string]any {
	if ref, ok := s["$ref"].(string); ok {
		s = w.root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	of, ok := s["anyOf"].([]any)
	if !ok {
		return []map[string]any{s}
	}
	var out []map[string]any
	for _, a := range of {
		out = append(out, w.alternatives(a.(map[string]any))...)
	}
	return out
}

func (w *walker) walk(path string, y *yaml.Node, schemas []map[string]any) {
	switch y.Kind {
	case yaml.DocumentNode:
		w.walk(path, y.Content[0], schemas)
	case yaml.SequenceNode:
		var items []map[string]any
		for _, s := range schemas {
			if i, ok := s["items"].(map[string]any); ok {
				items = append(items, w.alternatives(i)...)
			}
		}
		for i, item := range y.Content {
			w.walk(block.Index(path, i), item, items)
		}
	case yaml.MappingNode:
		w.mapping(path, y, schemas)
	}
}

func (w *walker) mapping(path string, y *yaml.Node, schemas []map[string]any) {
	properties := map[string]any{}
	var values []map[string]any
	for _, s := range schemas {
		if p, ok := s["properties"].(map[string]any); ok && fits(p, s, y) {
			maps.Copy(properties, p)
		}
		if v, ok := s["additionalProperties"].(map[string]any); ok {
			values = append(values, w.alternatives(v)...)
		}
	}
	if len(properties) > 0 {
		w.object(path, y, properties)
	}
	for i := 0; i+1 < len(y.Content); i += 2 {
		below := values
		if p, ok := properties[y.Content[i].Value].(map[string]any); ok {
			below = w.alternatives(p)
		}
		w.walk(block.Join(path, y.Content[i].Value), y.Content[i+1], below)
	}
}

// below notes all keys that a schema knows of a value that is not there.
func (w *walker) below(path string, s map[string]any, known map[string]bool) {
	for _, a := range w.alternatives(s) {
		properties, _ := a["properties"].(map[string]any)
		for name, p := range properties {
			known[block.Join(path, name)] = true
			w.below(block.Join(path, name), p.(map[string]any), known)
		}
	}
}

// fits reports whether a mapping has the keys that an alternative requires.
func fits(properties, s map[string]any, y *yaml.Node) bool {
	required, _ := s["required"].([]any)
	for _, name := range required {
		if !slices.ContainsFunc(y.Content, func(k *yaml.Node) bool { return k.Value == name }) {
			return false
		}
	}
	return len(properties) > 0
}

func readComplete(t *testing.T) ([]byte, *yaml.Node) {
	t.Helper()
	text, err := os.ReadFile(complete)
	if err != nil {
		t.Fatal(err)
	}
	var y yaml.Node
	if err := yaml.Unmarshal(text, &y); err != nil {
		t.Fatal(err)
	}
	return text, &y
}

// Every key that the types know stands in the complete configuration, live or in a comment.
func TestEveryKeyIsExplained(t *testing.T) {
	text, y := readComplete(t)
	w := newWalker(t)
	seen, known := map[string]bool{}, map[string]bool{}
	index, named := regexp.MustCompile(`\[\d+\]`), regexp.MustCompile(`^flows\.[^.]+\.steps\b`)
	nested := regexp.MustCompile(`\.flow((\[\]\.(choose\[\]\.steps|steps|else|parallel|once_per_vu|cleanup))(\[\])?)+\[\]`)
	w.object = func(path string, y *yaml.Node, properties map[string]any) {
		path = named.ReplaceAllString(index.ReplaceAllString(path, "[]"), "scenarios[].flow")
		path = regexp.MustCompile(`^scenarios\[\]\.(setup|teardown)\b`).ReplaceAllString(path, "scenarios[].flow")
		path = nested.ReplaceAllString(path, ".flow[]") // what a step may say is the same within constructs
		for name, s := range properties {
			known[block.Join(path, name)] = true
			if !slices.ContainsFunc(y.Content, func(k *yaml.Node) bool { return k.Value == name }) {
				w.below(block.Join(path, name), s.(map[string]any), known)
			}
		}
		for i := 0; i < len(y.Content); i += 2 {
			seen[block.Join(path, y.Content[i].Value)] = true
		}
	}
	w.walk("", y, []map[string]any{w.root})
	if len(known) < 80 {
		t.Errorf("the schema knows %d keys, that cannot be all", len(known))
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		name := key[strings.LastIndex(key, ".")+1:]
		if !seen[key] && !regexp.MustCompile(`(?m)#.*\b`+name+`\b`).Match(text) {
			t.Errorf("%s does not explain %s", complete, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		if !known[key] && !strings.HasPrefix(key, "x-") {
			t.Errorf("the schema does not know %s", key)
		}
	}
}

// An unknown key is an error at its own place, whatever struct it was written into.
func TestUnknownKeysAtEveryDepth(t *testing.T) {
	_, y := readComplete(t)
	w := newWalker(t)
	var maps []*yaml.Node
	var paths []string
	w.object = func(path string, y *yaml.Node, _ map[string]any) {
		maps, paths = append(maps, y), append(paths, path)
	}
	w.walk("", y, []map[string]any{w.root})
	const odd = "zzz_unknown"
	for i, m := range maps {
		if testing.Short() && i%4 > 0 {
			continue
		}
		t.Run(paths[i], func(t *testing.T) {
			before := m.Content
			defer func() { m.Content = before }()
			m.Content = append(slices.Clone(before),
				&yaml.Node{Kind: yaml.ScalarNode, Value: odd}, &yaml.Node{Kind: yaml.ScalarNode, Value: "1"})
			text, err := yaml.Marshal(y)
			if err != nil {
				t.Fatal(err)
			}
			var errs block.Errors
			where := find(block.Parse("perfd.yaml", text, &errs), odd)
			_, err = load(Options{File: filepath.Join(filepath.Dir(complete), "perfd.yaml"), Environ: []string{}, Kinds: kinds}, text, &errs)
			var all block.Mistakes
			if !errors.As(err, &all) {
				t.Fatalf("load = %v, want mistakes", err)
			}
			want := block.Join(paths[i], odd)
			for _, e := range all {
				if e.Path == want && e.Pos.Line == where.Line && e.Pos.Col == where.Col && strings.HasPrefix(e.Text, "unknown key") {
					return
				}
			}
			t.Errorf("load says nothing of %s at %d:%d, but\n%v", want, where.Line, where.Col, all)
		})
	}
	if len(maps) < 50 {
		t.Errorf("%d mappings were tried, that cannot be all", len(maps))
	}
}

// find returns the place of a key anywhere in a tree.
func find(n *block.Node, name string) block.Pos {
	for _, k := range n.Keys {
		if k.Name == name {
			return k.Pos
		}
		if at := find(k.Value, name); at.Line > 0 {
			return at
		}
	}
	for _, i := range n.Items {
		if at := find(i, name); at.Line > 0 {
			return at
		}
	}
	return block.Pos{}
}

// Whatever stands in the place of a value, loading says what is wrong with it, or accepts it.
func TestAnyValueAtAnyPlace(t *testing.T) {
	_, y := readComplete(t)
	others := []yaml.Node{
		{Kind: yaml.ScalarNode, Tag: "!!null", Value: ""},
		{Kind: yaml.ScalarNode, Value: "zzz ${zzz"},
		{Kind: yaml.SequenceNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}, {Kind: yaml.ScalarNode, Value: "-7"}}},
	}
	places := 0
	var try func(n *yaml.Node)
	try = func(n *yaml.Node) {
		before, others := *n, others
		if testing.Short() { // one value at every fourth place
			places++
			others = others[:(places%4)/3]
		}
		for _, other := range others {
			*n = other
			text, err := yaml.Marshal(y)
			if err != nil {
				t.Fatal(err)
			}
			var errs block.Errors
			if _, err := load(Options{File: complete, Environ: []string{}, Kinds: kinds}, text, &errs); err != nil && err.Error() == "" {
				t.Errorf("a mistake without words at line %d", before.Line)
			}
		}
		*n = before
		for i, c := range n.Content {
			if n.Kind != yaml.MappingNode || i%2 == 1 {
				try(c)
			}
		}
	}
	try(y.Content[0])
}
