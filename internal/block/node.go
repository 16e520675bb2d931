package block

import (
	"encoding/json"
	"strconv"
)

// A Kind is the type of a Node.
type Kind uint8

// The kinds. A scalar's kind is what YAML's core schema resolves it to.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	List
	Map
)

var kindNames = [...]string{"nothing", "a boolean", "a number", "a number", "text", "a list", "a mapping"}

// String returns the kind in words, with its article.
func (k Kind) String() string { return kindNames[k] }

// A Node is one value of the document, with the place where it was written. Nodes
// are read-only once the document is loaded, and then safe for concurrent use.
type Node struct {
	Kind    Kind
	Pos     Pos
	Path    string // "scenarios[1].workload.rate"; empty for the document
	Scalar  string // as written, without quotes
	Hidden  bool   // Scalar contains a secret and must not be printed
	Untyped bool   // Scalar was not written in YAML: text that a typed field may take for a number
	Keys    []Key  // of a Map, in document order
	Items   []*Node

	scaling *Scaling // nil for none
}

// A Key is one entry of a Map.
type Key struct {
	Name  string
	Pos   Pos
	Value *Node
}

// Get returns the value of a key of a Map, nil where there is none.
func (n *Node) Get(name string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Keys {
		if n.Keys[i].Name == name {
			return n.Keys[i].Value
		}
	}
	return nil
}

// longestFound is the number of bytes of a text that a message quotes at most.
const longestFound = 100

// Found describes the value of n for a message, without its secrets.
func (n *Node) Found() string {
	switch {
	case n.Kind == Null || n.Kind == List || n.Kind == Map:
		return n.Kind.String()
	case n.Hidden:
		return concealed
	}
	text := n.Scalar
	if n.Kind == String {
		text = strconv.Quote(text)
	}
	if len(text) > longestFound {
		return text[:longestFound] + "…"
	}
	return text
}

// Text returns a scalar as a Text.
func (n *Node) Text() Text { return Text{S: n.Scalar, Pos: n.Pos, Path: n.Path, Hidden: n.Hidden} }

// String returns the tree as JSON, without its secrets.
func (n *Node) String() string {
	text, _ := n.MarshalJSON() // a tree of scalars, lists and mappings always has a JSON form
	return string(text)
}

// MarshalJSON returns the tree in the order of the document, without its secrets.
func (n *Node) MarshalJSON() ([]byte, error) { return n.appendJSON(nil), nil }

func (n *Node) appendJSON(dst []byte) []byte {
	switch n.Kind {
	case Map:
		dst = append(dst, '{')
		for i, k := range n.Keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendText(dst, k.Name), ':')
			dst = k.Value.appendJSON(dst)
		}
		return append(dst, '}')
	case List:
		dst = append(dst, '[')
		for i, item := range n.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.appendJSON(dst)
		}
		return append(dst, ']')
	case Null:
		return append(dst, "null"...)
	case Bool, Int, Float:
		if !n.Hidden && json.Valid([]byte(n.Scalar)) {
			return append(dst, n.Scalar...)
		}
	}
	return appendText(dst, n.Text().String())
}

func appendText(dst []byte, s string) []byte {
	text, _ := json.Marshal(s) // every string has a JSON form
	return append(dst, text...)
}

// SetPaths gives n and everything below it paths that start from path.
func (n *Node) SetPaths(path string) {
	n.Path = path
	for i := range n.Keys {
		k := &n.Keys[i]
		k.Value.SetPaths(Join(path, k.Name))
	}
	for i, item := range n.Items {
		item.SetPaths(Index(path, i))
	}
}

// Join returns the path of a key below path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Index returns the path of an item of the list at path.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
