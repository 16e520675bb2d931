package block

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// A Decoder is a type that decodes itself from a node. A pointer type implements it
// where a struct's fields cannot say what may be written (a step, whose keys depend
// on its protocol).
type Decoder interface {
	// DecodeBlock decodes n strictly: it reports everything that it does not know.
	DecodeBlock(n *Node, errs *Errors)
}

// A Validator is a struct that checks itself once it is decoded.
type Validator interface {
	// Validate reports what is wrong with the values, and changes nothing. It is
	// called even where some fields did not decode and have their defaults, so that
	// all mistakes are reported at once. What it reports about those fields, or at the
	// place of a block that has mistakes already, is dropped.
	Validate(at *Node, errs *Errors)
}

// Entries are a mapping whose order and positions matter.
type Entries[T any] []Entry[T]

// An Entry is one key of Entries and its value.
type Entry[T any] struct {
	Name  Text
	Value T
}

// DecodeBlock decodes a mapping.
func (e *Entries[T]) DecodeBlock(n *Node, errs *Errors) {
	if n.Kind != Map {
		errs.Add(n.Pos, n.Path, "must be a mapping, got %s", n.Found())
		return
	}
	*e = make(Entries[T], len(n.Keys))
	for i, k := range n.Keys {
		(*e)[i].Name = Text{S: k.Name, Pos: k.Pos, Path: k.Value.Path}
		Decode(k.Value, &(*e)[i].Value, errs)
	}
}

func (Entries[T]) element() reflect.Type { return reflect.TypeFor[T]() }

// JSONSchema describes a mapping of T.
func (Entries[T]) JSONSchema() map[string]any {
	var v T
	return map[string]any{"type": "object", "additionalProperties": Schema(v)}
}

// Decode decodes n into the value that into points to. Every mistake is added to
// errs, and decoding goes on. A value that is not written, or is wrong, is left as
// it was, so that the caller sets defaults before.
//
// Struct fields are named by their yaml tag. A field without one is skipped, an
// embedded struct is inlined. The tag `block:"required"` makes a key obligatory, and
// `scale:"time"` or `scale:"load"` has its value, or default, multiplied below a node that is
// scaled: what is decoded into a struct is decoded once.
func Decode(n *Node, into any, errs *Errors) {
	decodeValue(n, reflect.ValueOf(into).Elem(), errs)
}

var (
	textType = reflect.TypeFor[Text]()
	nodeType = reflect.TypeFor[*Node]()
)

func decodeValue(n *Node, v reflect.Value, errs *Errors) {
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(n))
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		decodeValue(n, v.Elem(), errs)
		return
	}
	if n.Kind == Null {
		errs.Add(n.Pos, n.Path, "has no value").Hint = "give it one, or leave the key out"
		return
	}
	switch t := v.Addr().Interface().(type) {
	case Decoder:
		t.DecodeBlock(n, errs)
		return
	case scalar:
		if problem, hint := t.parse(n); problem != "" {
			errs.Add(n.Pos, n.Path, "%s", problem).Hint = hint
		}
		return
	}
	if v.Type() == textType {
		if isScalar(n, "text", errs) {
			v.Set(reflect.ValueOf(n.Text()))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		decodeStruct(n, v, errs)
	case reflect.Slice:
		decodeSlice(n, v, errs)
	case reflect.Map:
		decodeMap(n, v, errs)
	default:
		decodeScalar(n, v, errs)
	}
}

func decodeScalar(n *Node, v reflect.Value, errs *Errors) {
	switch v.Kind() {
	case reflect.String:
		if !isScalar(n, "text", errs) {
			return
		}
		if n.Kind != String {
			e := errs.Add(n.Pos, n.Path, "must be text, got %s", n.Found())
			if !n.Hidden {
				e.Hint = "write " + strconv.Quote(n.Scalar)
			}
			return
		}
		v.SetString(n.Scalar)
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Scalar)
		if n.Typed() != Bool || err != nil {
			e := errs.Add(n.Pos, n.Path, "must be true or false, got %s", n.Found())
			switch strings.ToLower(n.Scalar) {
			case "yes", "on", "y":
				e.Hint = "write true"
			case "no", "off", "n":
				e.Hint = "write false"
			}
			return
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(n.Scalar, 10, 64)
		switch {
		case n.Typed() != Int:
			errs.Add(n.Pos, n.Path, "must be a whole number, got %s", n.Found())
		case errors.Is(err, strconv.ErrRange):
			errs.Add(n.Pos, n.Path, "is too large a number, got %s", n.Found())
		case err != nil || leadingZero(n.Scalar):
			errs.Add(n.Pos, n.Path, "must be a whole number in decimal digits, got %s", n.Found()).Hint = "no leading zeros, no underscores, no 0x or 0o: readers of YAML do not agree on those"
		default:
			v.SetInt(i)
		}
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Scalar, 64)
		if k := n.Typed(); k != Int && k != Float || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			errs.Add(n.Pos, n.Path, "must be a number, got %s", n.Found())
			return
		}
		v.SetFloat(f)
	default:
		panic("block: a field of type " + v.Type().String() + " cannot be decoded")
	}
}

func leadingZero(digits string) bool {
	digits = strings.TrimLeft(digits, "+-")
	return len(digits) > 1 && digits[0] == '0'
}

func isScalar(n *Node, want string, errs *Errors) bool {
	if n.Kind == List || n.Kind == Map {
		errs.Add(n.Pos, n.Path, "must be %s, got %s", want, n.Found())
		return false
	}
	return true
}

func decodeSlice(n *Node, v reflect.Value, errs *Errors) {
	if n.Kind != List {
		e := errs.Add(n.Pos, n.Path, "must be a list, got %s", n.Found())
		switch {
		case n.Kind == Map:
			e.Hint = "begin each item with \"- \""
		case !n.Hidden:
			e.Hint = "write [" + n.Scalar + "]"
		}
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items))
	for i, item := range n.Items {
		decodeValue(item, out.Index(i), errs)
	}
	v.Set(out)
}

func decodeMap(n *Node, v reflect.Value, errs *Errors) {
	if n.Kind != Map {
		errs.Add(n.Pos, n.Path, "must be a mapping, got %s", n.Found())
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Keys))
	for _, k := range n.Keys {
		item := reflect.New(v.Type().Elem()).Elem()
		decodeValue(k.Value, item, errs)
		out.SetMapIndex(reflect.ValueOf(k.Name).Convert(v.Type().Key()), item)
	}
	v.Set(out)
}

func decodeStruct(n *Node, v reflect.Value, errs *Errors) {
	if n.Kind != Map {
		errs.Add(n.Pos, n.Path, "must be a mapping, got %s", n.Found())
		return
	}
	before := errs.Len()
	known := Fields(v.Type())
	hinter, _ := reflect.TypeAssert[Hinter](v.Addr())
	for _, k := range n.Keys {
		found := errs.Len()
		if f := FieldNamed(known, k.Name); f != nil {
			decodeValue(k.Value, v.FieldByIndex(f.index), errs)
		} else {
			UnknownKey(k, n.Path, FieldNames(known), errs)
		}
		if hinter != nil {
			errs.hint(found, n.Path, k, hinter)
		}
	}
	for _, f := range known {
		if f.Required && n.Get(f.Name) == nil {
			errs.Add(n.Pos, Join(n.Path, f.Name), "is required")
		}
	}
	if n.scaling != nil && errs.Len() == before {
		n.scaling.fields(known, v)
	}
	if val, ok := reflect.TypeAssert[Validator](v.Addr()); ok {
		var more Errors
		val.Validate(n, &more)
		errs.AddUnrelated(&more, before, n.Pos)
	}
}

// A Hinter is a struct that knows what is written in its place by those who know other tools.
type Hinter interface {
	// HintOf returns the hint for a key that the struct does not have, or whose value is not of its kind; empty for
	// none.
	HintOf(k Key) string
}

// hint gives the mistake that a key of a block at a path is, if one was added since errs had a length, the hint of habit.
func (e *Errors) hint(before int, in string, k Key, by Hinter) {
	if len(e.list) == before || e.list[before].Path != Join(in, k.Name) {
		return
	}
	if hint := by.HintOf(k); hint != "" {
		e.list[before].Hint = hint
	}
}

// UnknownKey reports an unknown key of the block at a path, with the nearest of the
// known keys.
func UnknownKey(k Key, in string, known []string, errs *Errors) {
	errs.Add(k.Pos, Join(in, k.Name), "unknown key %q", k.Name).Hint = Nearest(k.Name, known)
}
