package grpc

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
)

// A tree is a message as the configuration writes it, whose expressions are compiled. What
// its fields are is known with its descriptor only: a binder makes it a message then.
type tree struct {
	node *block.Node
	text string         // of a scalar without expressions
	expr *expr.Template // of a scalar with expressions, nil for any other
	json *expr.JSON     // of whatever has expressions in it, nil for anything else
	kids []*tree        // of a mapping, in the order of node.Keys; of a list, of its items
}

// newTree compiles the expressions of a message. Mistakes go to errs.
func newTree(n *block.Node, s *expr.Symbols, errs *block.Errors) *tree {
	t := &tree{node: n}
	switch n.Kind {
	case block.Map:
		for _, k := range n.Keys {
			t.kids = append(t.kids, newTree(k.Value, s, errs))
		}
	case block.List:
		for _, item := range n.Items {
			t.kids = append(t.kids, newTree(item, s, errs))
		}
	case block.String:
		before := errs.Len()
		e := expr.ParseTemplate(n.Text(), s, errs)
		if errs.Len() > before {
			return t
		}
		var ok bool
		if t.text, ok = e.Constant(); !ok {
			t.expr = e
		}
	default:
		t.text = n.Scalar
	}
	if t.expr != nil || slices.ContainsFunc(t.kids, (*tree).varies) {
		var again block.Errors // the same as of the parts
		t.json = expr.ParseJSON(n, s, &again)
	}
	return t
}

// varies reports whether the tree has expressions.
func (t *tree) varies() bool { return t.json != nil }

// constantJSON returns the JSON text of a tree without expressions.
func (t *tree) constantJSON() string {
	var none block.Errors
	text, _ := expr.ParseJSON(t.node, expr.NewSymbols(nil), &none).Constant()
	return text
}

// A message is a compiled message: its bytes on the wire with slots.
type message []segment

// A segment is bytes that are the same in every message, or a slot that is filled for each.
type segment struct {
	literal []byte
	fill    fill // nil for a literal
}

// A fill appends the bytes of one message.
type fill func(dst []byte, s *expr.Scope) ([]byte, error)

// constant returns the message's bytes if it has no slots.
func (m message) constant() ([]byte, bool) {
	switch {
	case len(m) == 0:
		return nil, true
	case len(m) == 1 && m[0].fill == nil:
		return m[0].literal, true
	}
	return nil, false
}

// appendTo appends the message.
func (m message) appendTo(dst []byte, s *expr.Scope) (_ []byte, err error) {
	for i := range m {
		if m[i].fill == nil {
			dst = append(dst, m[i].literal...)
		} else if dst, err = m[i].fill(dst, s); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// literal appends bytes.
func (m message) literal(p []byte) message {
	if n := len(m); n > 0 && m[n-1].fill == nil {
		m[n-1].literal = append(slices.Clip(m[n-1].literal), p...)
		return m
	}
	return append(m, segment{literal: p})
}

// join appends another message.
func (m message) join(o message) message {
	for _, s := range o {
		if s.fill == nil {
			m = m.literal(s.literal)
		} else {
			m = append(m, s)
		}
	}
	return m
}

// delimited returns a message after its length.
func (m message) delimited() message {
	if p, ok := m.constant(); ok {
		return message{{literal: protowire.AppendBytes(nil, p)}}
	}
	return message{{fill: func(dst []byte, s *expr.Scope) ([]byte, error) {
		return afterLength(dst, func(dst []byte) ([]byte, error) { return m.appendTo(dst, s) })
	}}}
}

// afterLength appends what f does, and its length before it.
func afterLength(dst []byte, f func([]byte) ([]byte, error)) ([]byte, error) {
	from := len(dst)
	dst, err := f(append(dst, 0)) // most messages are short
	if err != nil {
		return dst, err
	}
	n := len(dst) - from - 1
	if room := protowire.SizeVarint(uint64(n)); room > 1 {
		dst = append(dst, make([]byte, room-1)...)
		copy(dst[from+room:], dst[from+1:from+1+n])
	}
	protowire.AppendVarint(dst[from:from], uint64(n))
	return dst, nil
}

// A binder makes messages of trees.
type binder struct {
	types *dynamicpb.Types // of the values of google.protobuf.Any
	errs  *block.Errors
}

// bind compiles a message of a type. Mistakes go to b.errs.
func (b *binder) bind(t *tree, md protoreflect.MessageDescriptor) message {
	switch {
	case isWellKnown(md):
		return b.wellKnown(t, md)
	case t.expr != nil:
		return message{{fill: func(dst []byte, s *expr.Scope) ([]byte, error) {
			return b.appendMessage(dst, md, gjson.Parse(jsonOf(t.expr.Value(s))), place(t))
		}}}
	case t.node.Kind != block.Map:
		b.errs.Add(t.node.Pos, t.node.Path, "must be a mapping of the fields of %s, got %s", md.FullName(), t.node.Found())
		return nil
	}
	var m message
	given := map[protoreflect.Name]string{}
	for i, k := range t.node.Keys {
		fd := fieldOf(md, k.Name)
		if fd == nil {
			e := b.errs.Add(k.Pos, k.Value.Path, "%s has no field %s", md.FullName(), k.Name)
			e.Hint = block.Nearest(k.Name, fieldNames(md))
			continue
		}
		kid := t.kids[i]
		if kid.node.Kind == block.Null {
			continue // as in JSON: the field is not set
		}
		if before, again := given[fd.Name()]; again {
			b.errs.Add(k.Pos, k.Value.Path, "%s and %s are one field", before, k.Name)
		}
		given[fd.Name()] = k.Name
		if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if before, again := given[o.Name()]; again {
				b.errs.Add(k.Pos, k.Value.Path, "%s has one of %s and %s, of %s", md.FullName(), before, k.Name, o.Name())
			}
			given[o.Name()] = k.Name
		}
		m = m.join(b.field(kid, fd))
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if _, is := given[fd.Name()]; !is && fd.Cardinality() == protoreflect.Required {
			b.errs.Add(t.node.Pos, block.Join(t.node.Path, fd.TextName()), "is required by %s", md.FullName())
		}
	}
	return m
}

// fieldOf returns the field of a name in the .proto file or in JSON, nil where there is none.
func fieldOf(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByTextName(name); fd != nil {
		return fd
	}
	return md.Fields().ByJSONName(name)
}

func fieldNames(md protoreflect.MessageDescriptor) (names []string) {
	for i := range md.Fields().Len() {
		names = append(names, md.Fields().Get(i).TextName())
	}
	return names
}

func (b *binder) field(t *tree, fd protoreflect.FieldDescriptor) message {
	switch {
	case (fd.IsMap() || fd.IsList()) && t.expr != nil:
		return message{{fill: func(dst []byte, s *expr.Scope) ([]byte, error) {
			return b.appendField(dst, fd, gjson.Parse(jsonOf(t.expr.Value(s))), place(t))
		}}}
	case fd.IsMap():
		return b.entries(t, fd)
	case fd.IsList():
		return b.items(t, fd)
	}
	return b.value(t, fd)
}

// value compiles a field with its tag.
func (b *binder) value(t *tree, fd protoreflect.FieldDescriptor) message {
	m := message{}.literal(protowire.AppendTag(nil, fd.Number(), wireType(fd.Kind())))
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return m.join(b.bind(t, fd.Message()).delimited())
	case protoreflect.GroupKind:
		return m.join(b.bind(t, fd.Message())).literal(protowire.AppendTag(nil, fd.Number(), protowire.EndGroupType))
	}
	return m.join(b.scalar(t, fd))
}

// scalar compiles a value without its tag.
func (b *binder) scalar(t *tree, fd protoreflect.FieldDescriptor) message {
	switch {
	case t.expr != nil:
		at := place(t)
		return message{{fill: func(dst []byte, s *expr.Scope) ([]byte, error) {
			from := len(dst)
			dst, err := t.expr.Append(dst, s)
			if err != nil {
				return dst, err
			}
			text := string(dst[from:])
			if dst, err = appendScalar(dst[:from], fd, text); err != nil {
				return dst, at.wrong(err, text)
			}
			return dst, nil
		}}}
	case t.node.Kind == block.Map || t.node.Kind == block.List:
		b.errs.Add(t.node.Pos, t.node.Path, "must be %s, got %s", kindOf(fd), t.node.Found())
		return nil
	}
	p, err := appendScalar(nil, fd, t.text)
	if err != nil {
		b.errs.Add(t.node.Pos, t.node.Path, "%v, got %s", err, t.node.Found()).Hint = enumHint(fd, t.text)
	}
	return message{}.literal(p)
}

// items compiles a repeated field.
func (b *binder) items(t *tree, fd protoreflect.FieldDescriptor) (m message) {
	if t.node.Kind != block.List {
		b.errs.Add(t.node.Pos, t.node.Path, "must be a list, got %s", t.node.Found()).Hint = "begin each item with \"- \""
		return nil
	}
	for _, item := range t.kids {
		if fd.IsPacked() {
			m = m.join(b.scalar(item, fd))
		} else {
			m = m.join(b.value(item, fd))
		}
	}
	if fd.IsPacked() && len(t.kids) > 0 {
		return message{}.literal(protowire.AppendTag(nil, fd.Number(), protowire.BytesType)).join(m.delimited())
	}
	return m
}

// entries compiles a map.
func (b *binder) entries(t *tree, fd protoreflect.FieldDescriptor) (m message) {
	if t.node.Kind != block.Map {
		b.errs.Add(t.node.Pos, t.node.Path, "must be a mapping, got %s", t.node.Found())
		return nil
	}
	for i, k := range t.node.Keys {
		key, err := appendScalar(protowire.AppendTag(nil, 1, wireType(fd.MapKey().Kind())), fd.MapKey(), k.Name)
		if err != nil {
			b.errs.Add(k.Pos, k.Value.Path, "the key %v, got %q", err, k.Name)
		}
		entry := message{}.literal(key).join(b.value(t.kids[i], fd.MapValue()))
		m = m.literal(protowire.AppendTag(nil, fd.Number(), protowire.BytesType)).join(entry.delimited())
	}
	return m
}

// isWellKnown reports whether a message has a form of its own in JSON.
func isWellKnown(md protoreflect.MessageDescriptor) bool {
	if md.FullName().Parent() != "google.protobuf" {
		return false
	}
	switch md.Name() {
	case "Any", "Timestamp", "Duration", "Struct", "Value", "ListValue", "FieldMask",
		"BoolValue", "Int32Value", "Int64Value", "UInt32Value", "UInt64Value", "FloatValue", "DoubleValue", "StringValue", "BytesValue":
		return true
	}
	return false
}

// wellKnown compiles a message that has a form of its own in JSON. With expressions in it, it is read as JSON for each message.
func (b *binder) wellKnown(t *tree, md protoreflect.MessageDescriptor) message {
	if !t.varies() {
		p, err := b.fromJSON(nil, md, []byte(t.constantJSON()))
		if err != nil {
			b.errs.Add(t.node.Pos, t.node.Path, "is no %s, got %s", md.FullName(), t.node.Found()).Hint = form(md)
		}
		return message{}.literal(p)
	}
	at := place(t)
	return message{{fill: func(dst []byte, s *expr.Scope) ([]byte, error) {
		text, err := t.json.Append(nil, s)
		if err != nil {
			return dst, err
		}
		if dst, err = b.fromJSON(dst, md, text); err != nil {
			return dst, at.wrong(fmt.Errorf("is no %s", md.FullName()), string(text))
		}
		return dst, nil
	}}}
}

// form returns a hint on how a well-known message is written.
func form(md protoreflect.MessageDescriptor) string {
	switch md.Name() {
	case "Timestamp":
		return `write it as in RFC 3339, such as "2026-01-31T12:00:00Z"`
	case "Duration":
		return `write it in seconds, such as "1.5s"`
	case "Any":
		return `write the type beside the fields, as "@type": type.googleapis.com/package.Message`
	}
	return ""
}

// fromJSON appends a message that is written as JSON.
func (b *binder) fromJSON(dst []byte, md protoreflect.MessageDescriptor, text []byte) ([]byte, error) {
	m := dynamicpb.NewMessage(md)
	if err := (protojson.UnmarshalOptions{Resolver: b.types}).Unmarshal(text, m); err != nil {
		return dst, err
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, m)
}

// A placed is where a value of the configuration stands, for errors of requests.
type placed struct {
	at     string
	hidden bool
}

func place(t *tree) placed {
	return placed{t.node.Pos.String() + ": " + t.node.Path, t.node.Hidden}
}

// wrong returns the error of a value that a field cannot take.
func (p placed) wrong(err error, text string) error {
	if p.hidden {
		return &expr.ValueError{Text: fmt.Sprintf("%s: %v", p.at, err)}
	}
	if len(text) > longestShown {
		text = text[:longestShown] + "…"
	}
	return &expr.ValueError{Text: fmt.Sprintf("%s: %v, got %q", p.at, err, text)}
}

// longestShown is how much of a value an error shows, in bytes.
const longestShown = 100

// jsonOf returns a value as JSON text.
func jsonOf(v expr.Value) string { return string(v.AppendJSON(nil)) }

// appendMessage appends the fields of a message whose value was not known before.
func (b *binder) appendMessage(dst []byte, md protoreflect.MessageDescriptor, r gjson.Result, at placed) (_ []byte, err error) {
	if isWellKnown(md) {
		if dst, err = b.fromJSON(dst, md, []byte(r.Raw)); err != nil {
			return dst, at.wrong(fmt.Errorf("is no %s", md.FullName()), r.Raw)
		}
		return dst, nil
	}
	if !r.IsObject() {
		return dst, at.wrong(fmt.Errorf("must be an object with fields of %s", md.FullName()), r.Raw)
	}
	r.ForEach(func(k, v gjson.Result) bool {
		fd := fieldOf(md, k.Str)
		switch {
		case fd == nil:
			err = at.wrong(fmt.Errorf("%s has no field %s", md.FullName(), k.Str), r.Raw)
		case v.Type != gjson.Null:
			dst, err = b.appendField(dst, fd, v, at)
		}
		return err == nil
	})
	return dst, err
}

// appendField appends a field whose value was not known before, with its tags.
func (b *binder) appendField(dst []byte, fd protoreflect.FieldDescriptor, r gjson.Result, at placed) (_ []byte, err error) {
	switch {
	case fd.IsMap():
		if !r.IsObject() {
			return dst, at.wrong(fmt.Errorf("must be an object"), r.Raw)
		}
		r.ForEach(func(k, v gjson.Result) bool {
			dst = protowire.AppendTag(dst, fd.Number(), protowire.BytesType)
			dst, err = afterLength(dst, func(dst []byte) ([]byte, error) {
				dst, err := appendScalar(protowire.AppendTag(dst, 1, wireType(fd.MapKey().Kind())), fd.MapKey(), k.Str)
				if err != nil {
					return dst, at.wrong(fmt.Errorf("the key %w", err), k.Str)
				}
				return b.appendValue(dst, fd.MapValue(), v, at)
			})
			return err == nil
		})
		return dst, err
	case !fd.IsList():
		return b.appendValue(dst, fd, r, at)
	case !r.IsArray():
		return dst, at.wrong(fmt.Errorf("must be a list"), r.Raw)
	case !fd.IsPacked():
		r.ForEach(func(_, v gjson.Result) bool {
			dst, err = b.appendValue(dst, fd, v, at)
			return err == nil
		})
		return dst, err
	}
	dst = protowire.AppendTag(dst, fd.Number(), protowire.BytesType)
	return afterLength(dst, func(dst []byte) ([]byte, error) {
		r.ForEach(func(_, v gjson.Result) bool {
			if dst, err = appendScalar(dst, fd, v.String()); err != nil {
				err = at.wrong(err, v.Raw)
			}
			return err == nil
		})
		return dst, err
	})
}

// appendValue appends one value with its tag.
func (b *binder) appendValue(dst []byte, fd protoreflect.FieldDescriptor, r gjson.Result, at placed) (_ []byte, err error) {
	dst = protowire.AppendTag(dst, fd.Number(), wireType(fd.Kind()))
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return afterLength(dst, func(dst []byte) ([]byte, error) { return b.appendMessage(dst, fd.Message(), r, at) })
	case protoreflect.GroupKind:
		dst, err = b.appendMessage(dst, fd.Message(), r, at)
		return protowire.AppendTag(dst, fd.Number(), protowire.EndGroupType), err
	}
	if r.IsObject() || r.IsArray() {
		return dst, at.wrong(fmt.Errorf("%s must be %s", fd.TextName(), kindOf(fd)), r.Raw)
	}
	if dst, err = appendScalar(dst, fd, r.String()); err != nil {
		return dst, at.wrong(fmt.Errorf("%s %w", fd.TextName(), err), r.Raw)
	}
	return dst, nil
}

// wireType returns how a value of a kind is written.
func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	default:
		return protowire.VarintType
	}
}

// A kindError says what a field's value must be.
type kindError struct{ must string }

func (e *kindError) Error() string { return "must be " + e.must }

// kindOf says what a value of a field must be.
func kindOf(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.EnumKind:
		return "a value of " + string(fd.Enum().FullName())
	case protoreflect.StringKind:
		return "text"
	case protoreflect.BytesKind:
		return "bytes in base64"
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return "a number"
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return "a whole number from 0 on (" + fd.Kind().String() + ")"
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return "a mapping of the fields of " + string(fd.Message().FullName())
	default:
		return "a whole number (" + fd.Kind().String() + ")"
	}
}

// enumHint returns the value of an enumeration that somebody may have meant, or "".
func enumHint(fd protoreflect.FieldDescriptor, text string) string {
	if fd.Kind() != protoreflect.EnumKind {
		return ""
	}
	var names []string
	for i := range fd.Enum().Values().Len() {
		names = append(names, string(fd.Enum().Values().Get(i).Name()))
	}
	return block.Nearest(text, names)
}

// appendScalar appends a value that is written as text, without its tag. As in JSON, whole
// numbers may be written with an exponent, bytes are base64 and values of enumerations are names
// or numbers.
func appendScalar(dst []byte, fd protoreflect.FieldDescriptor, text string) ([]byte, error) {
	wrong := func() ([]byte, error) { return dst, &kindError{kindOf(fd)} }
	switch k := fd.Kind(); k {
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return wrong()
		}
		return protowire.AppendVarint(dst, protowire.EncodeBool(text == "true")), nil
	case protoreflect.StringKind:
		if !utf8.ValidString(text) {
			return dst, &kindError{"text in UTF-8"}
		}
		return protowire.AppendString(dst, text), nil
	case protoreflect.BytesKind:
		p, err := unbase64(text)
		if err != nil {
			return wrong()
		}
		return protowire.AppendBytes(dst, p), nil
	case protoreflect.EnumKind:
		if v := fd.Enum().Values().ByName(protoreflect.Name(text)); v != nil {
			return protowire.AppendVarint(dst, uint64(v.Number())), nil
		}
		n, ok := wholeNumber(text, 32)
		if !ok {
			return wrong()
		}
		return protowire.AppendVarint(dst, uint64(n)), nil
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || strings.HasPrefix(text, "0x") {
			return wrong()
		}
		if k == protoreflect.FloatKind {
			if math.Abs(f) > math.MaxFloat32 && !math.IsInf(f, 0) {
				return wrong()
			}
			return protowire.AppendFixed32(dst, math.Float32bits(float32(f))), nil
		}
		return protowire.AppendFixed64(dst, math.Float64bits(f)), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		bits := 64
		if k == protoreflect.Uint32Kind || k == protoreflect.Fixed32Kind {
			bits = 32
		}
		n, ok := naturalNumber(text, bits)
		switch {
		case !ok:
			return wrong()
		case k == protoreflect.Fixed32Kind:
			return protowire.AppendFixed32(dst, uint32(n)), nil //nolint:gosec // naturalNumber holds it to 32 bits
		case k == protoreflect.Fixed64Kind:
			return protowire.AppendFixed64(dst, n), nil
		}
		return protowire.AppendVarint(dst, n), nil
	default:
		bits := 64
		if k == protoreflect.Int32Kind || k == protoreflect.Sint32Kind || k == protoreflect.Sfixed32Kind {
			bits = 32
		}
		n, ok := wholeNumber(text, bits)
		switch {
		case !ok:
			return wrong()
		case k == protoreflect.Sfixed32Kind:
			return protowire.AppendFixed32(dst, uint32(n)), nil //nolint:gosec // two's complement is how it is written
		case k == protoreflect.Sfixed64Kind:
			return protowire.AppendFixed64(dst, uint64(n)), nil
		case k == protoreflect.Sint32Kind || k == protoreflect.Sint64Kind:
			return protowire.AppendVarint(dst, protowire.EncodeZigZag(n)), nil
		}
		return protowire.AppendVarint(dst, uint64(n)), nil
	}
}

// wholeNumber reads a number of so many bits, which may be written as 1e3 or 1.0.
func wholeNumber(text string, bits int) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, bits)
	if err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > maxExact || bits == 32 && (f < math.MinInt32 || f > math.MaxInt32) {
		return 0, false
	}
	return int64(f), true
}

func naturalNumber(text string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, bits)
	if err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || f < 0 || f > maxExact || bits == 32 && f > math.MaxUint32 {
		return 0, false
	}
	return uint64(f), true
}

// maxExact is the largest number up to which floating point holds every whole one.
const maxExact = 1 << 53

// unbase64 decodes either alphabet, with padding or without.
func unbase64(text string) ([]byte, error) {
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	return base64.RawStdEncoding.DecodeString(text)
}
