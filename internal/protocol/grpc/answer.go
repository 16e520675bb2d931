package grpc

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/perfd/perfd/internal/wire"
)

// An answer is the answer of a call as expressions read it.
type answer struct {
	code            int
	raw             []byte // the message as it came
	body            []byte // the message as JSON, if it was asked for
	header, trailer metadata.MD
	message         string // of the status
	duration        time.Duration
}

func (a *answer) Code() int    { return a.code }
func (a *answer) Body() []byte { return a.body }
func (a *answer) Size() int64  { return int64(len(a.raw)) }
func (a *answer) Sum() uint64  { return xxhash.Sum64(a.raw) }

func (a *answer) Duration() time.Duration { return a.duration }

// Header returns the first value of a name in the metadata before the message, or else in that
// after it. grpc-message is the message of the status.
func (a *answer) Header(name string) (string, bool) {
	for _, md := range [2]metadata.MD{a.header, a.trailer} {
		if values := md.Get(name); len(values) > 0 {
			return values[0], true
		}
	}
	if a.message != "" && name == "grpc-message" {
		return a.message, true
	}
	return "", false
}

// appendJSON appends a message of a type as JSON. Unknown reports whether it has fields that the type has not.
func appendJSON(dst, raw []byte, md protoreflect.MessageDescriptor, types *dynamicpb.Types, unknown func(protoreflect.Message)) ([]byte, error) {
	m := dynamicpb.NewMessage(md)
	if err := (proto.UnmarshalOptions{Resolver: types, AllowPartial: true}).Unmarshal(raw, m); err != nil {
		return dst, &wire.ProtocolError{Text: "the answer is no " + string(md.FullName()) + ": " + err.Error()}
	}
	if unknown != nil {
		unknown(m)
	}
	w := jsonWriter{types}
	dst, err := w.message(dst, m)
	if err != nil {
		return dst, &wire.ProtocolError{Text: "the answer has no form in JSON: " + err.Error()}
	}
	return dst, nil
}

// A jsonWriter writes messages as ProtoJSON does with EmitDefaultValues, except that 64-bit
// numbers are numbers: expressions compare them as such, and keep all their digits.
type jsonWriter struct{ types *dynamicpb.Types }

func (w *jsonWriter) message(dst []byte, m protoreflect.Message) (_ []byte, err error) {
	md := m.Descriptor()
	if isWellKnown(md) {
		return protojson.MarshalOptions{Resolver: w.types, AllowPartial: true}.MarshalAppend(dst, m.Interface())
	}
	dst = append(dst, '{')
	first := true
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if fd.HasPresence() && !m.Has(fd) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendText(dst, fd.JSONName()), ':')
		if dst, err = w.field(dst, fd, m.Get(fd)); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func (w *jsonWriter) field(dst []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) (_ []byte, err error) {
	switch {
	case fd.IsMap():
		dst = append(dst, '{')
		first := true
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(appendText(dst, k.String()), ':')
			dst, err = w.value(dst, fd.MapValue(), v)
			return err == nil
		})
		return append(dst, '}'), err
	case fd.IsList():
		dst = append(dst, '[')
		for i := range v.List().Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = w.value(dst, fd, v.List().Get(i)); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	}
	return w.value(dst, fd, v)
}

func (w *jsonWriter) value(dst []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, v.Bool()), nil
	case protoreflect.EnumKind:
		if e := fd.Enum().Values().ByNumber(v.Enum()); e != nil {
			return appendText(dst, string(e.Name())), nil
		}
		return strconv.AppendInt(dst, int64(v.Enum()), 10), nil
	case protoreflect.StringKind:
		return appendText(dst, v.String()), nil
	case protoreflect.BytesKind:
		dst = append(dst, '"')
		return append(base64.StdEncoding.AppendEncode(dst, v.Bytes()), '"'), nil
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.message(dst, v.Message())
	case protoreflect.FloatKind:
		return appendFloat(dst, v.Float(), 32), nil
	case protoreflect.DoubleKind:
		return appendFloat(dst, v.Float(), 64), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	default:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	}
}

func appendText(dst []byte, s string) []byte {
	text, _ := json.Marshal(s) // every string has a JSON form
	return append(dst, text...)
}

// appendFloat appends a number, or the text of what is none in JSON.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}
