package block

import (
	"reflect"
	"slices"
	"sync"
)

// A Field is one key that a struct can decode.
type Field struct {
	Name     string // of the key
	Doc      string // what it means, in one sentence
	Required bool   // whether the key must be there
	Scale    string // ScaleTime, ScaleLoad, or empty for what a rehearsal leaves as it is
	Type     reflect.Type
	index    []int
}

// fieldsOf remembers what fields returns, by type: types are few, and blocks many.
var fieldsOf sync.Map

// Fields returns the keys of a struct type, with those of embedded structs inlined. The list
// is shared and must not be changed.
func Fields(t reflect.Type) []Field {
	if known, ok := fieldsOf.Load(t); ok {
		return known.([]Field)
	}
	known, _ := fieldsOf.LoadOrStore(t, slices.Clip(fields(t)))
	return known.([]Field)
}

func fields(t reflect.Type) []Field {
	var out []Field
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			for _, inner := range fields(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		out = append(out, Field{name, f.Tag.Get("doc"), f.Tag.Get("block") == "required", f.Tag.Get("scale"), f.Type, []int{i}})
	}
	return out
}

// FieldNames returns the names of fields.
func FieldNames(fields []Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

// FieldNamed returns the field of a name, nil where there is none.
func FieldNamed(fields []Field, name string) *Field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	return nil
}

// Element returns the type of the values of t, where t is a mapping with arbitrary
// keys: a map or Entries.
func Element(t reflect.Type) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	if e, ok := reflect.TypeAssert[interface{ element() reflect.Type }](reflect.Zero(t)); ok && t.Kind() == reflect.Slice {
		return e.element(), true
	}
	return nil, false
}

// Split returns a mapping with those keys only that a struct type knows, and the
// others in document order, for whoever knows what they mean. A node that is no
// mapping is returned as it is.
func Split(n *Node, t reflect.Type) (own *Node, others []Key) {
	known, part := Fields(t), *n
	part.Keys = nil
	for _, k := range n.Keys {
		if FieldNamed(known, k.Name) != nil {
			part.Keys = append(part.Keys, k)
		} else {
			others = append(others, k)
		}
	}
	return &part, others
}
