package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"

	"github.com/perfd/perfd/internal/block"
)

// delim separates the keys of a path for koanf. It cannot be written in a key
// by accident, while dots (labels, header names) can.
const delim = "\x1f"

// Layers merges trees of the document, later ones over earlier ones. koanf
// holds the values; each leaf is a node, so a value keeps the place it was
// written at through every merge. A list is a leaf: a later layer replaces it.
type layers struct {
	k      *koanf.Koanf
	places map[string]place // of every key, by its path
	errs   *block.Errors
}

// A leaf is a value that layers replace whole.
type leaf struct {
	Node *block.Node `copy:"shallow"` // koanf copies what it hands out
}

// A place is what koanf's maps forget of a key.
type place struct {
	order   int
	key     block.Pos // of the key
	mapping block.Pos // of its value, where that is a mapping
	path    string    // as messages print it
}

func newLayers(errs *block.Errors) *layers {
	return &layers{koanf.New(delim), map[string]place{}, errs}
}

// tree hands one layer to koanf.
type tree map[string]any

func (t tree) Read() (map[string]any, error) { return t, nil }
func (t tree) ReadBytes() ([]byte, error)    { return nil, errors.ErrUnsupported }

// over adds a layer whose values replace those of the layers before.
func (l *layers) over(n *block.Node) { l.add(n, l.replace) }

// beside adds a file whose values join those of the files before: lists are
// appended, entries added, and no entry may be written twice.
func (l *layers) beside(n *block.Node) {
	for _, section := range n.Keys {
		for _, k := range section.Value.Keys {
			first, known := l.places[delim+section.Name+delim+k.Name]
			if known && first.key.File != defaultsFile {
				l.errs.Add(k.Pos, k.Value.Path, "exists already, at %s", first.key)
			}
		}
	}
	l.add(n, l.join)
}

func (l *layers) add(n *block.Node, merge func(src, dest map[string]any, path string)) {
	src := l.split(n, "")
	// Neither reading a tree nor the merge functions return errors: mistakes are noted in errs.
	_ = l.k.Load(tree(src), nil, koanf.WithMergeFunc(func(src, dest map[string]any) error {
		merge(src, dest, "")
		return nil
	}))
}

// split turns a mapping into koanf's form and notes the places of its keys.
func (l *layers) split(n *block.Node, path string) map[string]any {
	out := make(map[string]any, len(n.Keys))
	for _, k := range n.Keys {
		at := path + delim + k.Name
		have, known := l.places[at]
		p := place{len(l.places), k.Pos, k.Value.Pos, k.Value.Path}
		switch {
		case known && have.key.File != defaultsFile && k.Value.Kind == block.Map:
			p = have // a mapping is where it was first written
		case known:
			p.order = have.order
		}
		l.places[at] = p
		if k.Value.Kind == block.Map {
			out[k.Name] = l.split(k.Value, at)
		} else {
			out[k.Name] = leaf{k.Value}
		}
	}
	return out
}

// replace merges src over dest.
func (l *layers) replace(src, dest map[string]any, path string) {
	for name, v := range src {
		switch have := dest[name].(type) {
		case nil:
			dest[name] = v
		case leaf:
			if _, section := v.(map[string]any); section {
				l.errs.Add(have.Node.Pos, have.Node.Path, "must be a mapping, got %s", have.Node.Found())
			}
			dest[name] = v
		case map[string]any:
			if section, ok := v.(map[string]any); ok {
				l.replace(section, have, path+delim+name)
			} else {
				dest[name] = v
			}
		}
	}
}

// join adds the sections of a file to those of the files before. Where the two
// do not fit, the earlier one is of the wrong type, which decoding will say.
func (l *layers) join(src, dest map[string]any, _ string) {
	for name, v := range src {
		switch have := dest[name].(type) {
		case nil:
			dest[name] = v
		case map[string]any:
			if entries, ok := v.(map[string]any); ok {
				maps.Copy(have, entries)
			}
		case leaf:
			if list, ok := v.(leaf); ok && have.Node.Kind == block.List && list.Node.Kind == block.List {
				both := *have.Node
				both.Items = slices.Concat(both.Items, list.Node.Items)
				dest[name] = leaf{&both}
			}
		}
	}
}

// document returns the merged tree, keys in the order in which they were first written.
func (l *layers) document(file string) *block.Node {
	root := l.build(l.k.Raw(), "")
	root.Pos = block.Pos{File: file, Line: 1, Col: 1}
	return root
}

func (l *layers) build(m map[string]any, path string) *block.Node {
	n := &block.Node{Kind: block.Map, Pos: l.places[path].mapping, Path: l.places[path].path}
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return l.places[path+delim+a].order - l.places[path+delim+b].order
	})
	for _, name := range names {
		at := path + delim + name
		key := block.Key{Name: name, Pos: l.places[at].key}
		switch v := m[name].(type) {
		case leaf:
			key.Value = v.Node
		case map[string]any:
			key.Value = l.build(v, at)
		}
		n.Keys = append(n.Keys, key)
	}
	return n
}

// under returns a tree that holds one value at a path of keys.
func under(path []string, value *block.Node) *block.Node {
	n := value
	for i, key := range slices.Backward(path) {
		n = &block.Node{
			Kind: block.Map, Pos: value.Pos, Path: strings.Join(path[:i], "."),
			Keys: []block.Key{{Name: key, Pos: value.Pos, Value: n}},
		}
	}
	return n
}
