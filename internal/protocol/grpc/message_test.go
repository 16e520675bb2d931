package grpc

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
)

// filesIn returns the descriptors of files in testdata.
func filesIn(t testing.TB, names ...string) *protoregistry.Files {
	t.Helper()
	var errs block.Errors
	d := Descriptors{}
	for _, name := range names {
		d.Proto = append(d.Proto, block.Text{S: name, Path: "proto"})
	}
	files := d.open(&protocol.Compiler{Dir: "testdata", Errors: &errs})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return files
}

func messageNamed(t testing.TB, files *protoregistry.Files, name protoreflect.FullName) protoreflect.MessageDescriptor {
	t.Helper()
	d, err := files.FindDescriptorByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return d.(protoreflect.MessageDescriptor)
}

// written compiles a message and returns what it comes to with variables.
func written(files *protoregistry.Files, md protoreflect.MessageDescriptor, yaml string, vars map[string]expr.Value) ([]byte, error) {
	var errs block.Errors
	symbols, scope := expr.NewSymbols(nil), &expr.Scope{Rand: rand.NewPCG(1, 2)}
	for name, v := range vars {
		scope.Set(symbols.Declare(name, expr.Any), v)
	}
	tree := newTree(block.Parse("m.yaml", []byte(yaml), &errs), symbols, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	b := binder{types: dynamicpb.NewTypes(files), errs: &errs}
	m := b.bind(tree, md)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return m.appendTo(nil, scope)
}

// A message that is written as YAML is the one that protojson reads from the same text as JSON,
// with values that stand in the text and with values of variables.
func TestMessagesAreThoseOfProtoJSON(t *testing.T) {
	files := filesIn(t, "kinds.proto", "old.proto")
	long := strings.Repeat("long ", 60)
	for _, c := range []struct {
		name, of string
		yaml     string // with $ before what is a variable in a second run
		json     string
		vars     map[string]expr.Value
	}{
		{"empty", "Kinds", "{}", "{}", nil},
		{
			"scalars", "Kinds", `{yes: true, i32: -5, s32: -5, u32: 5, f32: 5, sf32: -5, i64: -5, s64: -5, u64: 18446744073709551615, f64: 5, sf64: -5, real: 1.5, number: -2.5e3, text: "é", blob: aGk_, color: COLOR_RED}`,
			`{"yes": true, "i32": -5, "s32": -5, "u32": 5, "f32": 5, "sf32": -5, "i64": -5, "s64": -5, "u64": "18446744073709551615", "f64": 5, "sf64": -5, "real": 1.5, "number": -2.5e3, "text": "é", "blob": "aGk/", "color": 1}`, nil,
		},
		{
			"values of variables", "Kinds", `{yes: "${y}", i32: "${n}", s64: "${n}", f32: "${n}", sf64: "${n}", number: "${n}", real: "${n}", text: "a ${s} b", blob: "${b}", color: "${c}", colors: ["${c}", COLOR_RED], u64: "${n}"}`,
			`{"yes": true, "i32": 7, "s64": 7, "f32": 7, "sf64": 7, "number": 7, "real": 7, "text": "a str b", "blob": "aGk=", "color": "COLOR_BLUE", "colors": ["COLOR_BLUE", "COLOR_RED"], "u64": 7}`,
			map[string]expr.Value{"y": expr.Boolean(true), "n": expr.Num(7), "s": expr.Str("str"), "b": expr.Str("aGk="), "c": expr.Str("COLOR_BLUE")},
		},
		{
			"lists", "Kinds", `{packed: [1, -1, 300], loose: [1, 2], words: [a, b], list: [{i32: 1}, {}], colors: [COLOR_BLUE, 1]}`,
			`{"packed": [1, -1, 300], "loose": [1, 2], "words": ["a", "b"], "list": [{"i32": 1}, {}], "colors": [2, 1]}`, nil,
		},
		{
			"lists of variables", "Kinds", `{packed: [1, "${n}", 300], loose: ["${n}", 2], words: [a, "${s}"], list: [{i32: "${n}"}, {text: "${l}"}]}`,
			`{"packed": [1, 7, 300], "loose": [7, 2], "words": ["a", "str"], "list": [{"i32": 7}, {"text": "` + long + `"}]}`,
			map[string]expr.Value{"n": expr.Num(7), "s": expr.Str("str"), "l": expr.Str(long)},
		},
		{
			"a list, a map and a message that are variables", "Kinds", `{packed: "${ns}", words: "${ws}", inner: "${o}", counts: "${m}", list: "${os}"}`,
			`{"packed": [1, 2], "words": ["x"], "inner": {"i32": 3, "at": "2026-01-02T03:04:05Z", "inner": {"words": ["q"]}}, "counts": {"a": 1}, "list": [{"i64": "9"}]}`,
			map[string]expr.Value{
				"ns": expr.FromJSON("[1,2]"), "ws": expr.FromJSON(`["x"]`), "m": expr.FromJSON(`{"a": 1}`), "os": expr.FromJSON(`[{"i64": "9"}]`),
				"o": expr.FromJSON(`{"i32": 3, "at": "2026-01-02T03:04:05Z", "inner": {"words": ["q"]}}`),
			},
		},
		{
			"maps", "Kinds", `{counts: {a: 1, b: "${n}"}, byNumber: {3: {text: "${s}"}}}`, `{"counts": {"a": 1, "b": 7}, "byNumber": {"3": {"text": "str"}}}`,
			map[string]expr.Value{"n": expr.Num(7), "s": expr.Str("str")},
		},
		{"names of the .proto file and of JSON", "Kinds", `{by_number: {1: {}}, sf32: 1}`, `{"byNumber": {"1": {}}, "sf32": 1}`, nil},
		{"one of several", "Kinds", `{right: 0, maybe: 0}`, `{"right": 0, "maybe": 0}`, nil},
		{"deep and long", "Kinds", `{inner: {inner: {inner: {text: "${l}", i32: 1}}}}`, `{"inner": {"inner": {"inner": {"text": "` + long + `", "i32": 1}}}}`, map[string]expr.Value{"l": expr.Str(long)}},
		{
			"well-known types", "Kinds", `{at: "2026-01-02T03:04:05Z", took: 1.5s, anything: {a: [1, {b: null}]}, wrapped: 5, any: {"@type": type.googleapis.com/perfd.test.Kinds, i32: 4}}`,
			`{"at": "2026-01-02T03:04:05Z", "took": "1.5s", "anything": {"a": [1, {"b": null}]}, "wrapped": "5", "any": {"@type": "type.googleapis.com/perfd.test.Kinds", "i32": 4}}`, nil,
		},
		{
			"well-known types of variables", "Kinds", `{at: "${t}", anything: {a: "${n}"}, any: {"@type": type.googleapis.com/perfd.test.Kinds, i32: "${n}"}}`,
			`{"at": "2026-01-02T03:04:05Z", "anything": {"a": 7}, "any": {"@type": "type.googleapis.com/perfd.test.Kinds", "i32": 7}}`,
			map[string]expr.Value{"n": expr.Num(7), "t": expr.Str("2026-01-02T03:04:05Z")},
		},
		{
			"numbers as text, and whole ones with a point", "Kinds", `{i32: "12", u64: 1e3, number: Infinity, i64: "${n}"}`, `{"i32": 12, "u64": 1000, "number": "Infinity", "i64": "9007199254740993"}`,
			map[string]expr.Value{"n": expr.FromJSON("9007199254740993")},
		},
		{"null is not set", "Kinds", `{i32: null, inner: ~}`, `{}`, nil},
		{"groups of proto2", "Old", `{name: x, part: {size: "${n}"}}`, `{"name": "x", "part": {"size": 7}}`, map[string]expr.Value{"n": expr.Num(7)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			md := messageNamed(t, files, protoreflect.FullName("perfd.test."+c.of))
			p, err := written(files, md, c.yaml, c.vars)
			if err != nil {
				t.Fatal(err)
			}
			got, want := dynamicpb.NewMessage(md), dynamicpb.NewMessage(md)
			if err := proto.Unmarshal(p, got); err != nil {
				t.Fatal(err)
			}
			types := dynamicpb.NewTypes(files)
			if err := (protojson.UnmarshalOptions{Resolver: types}).Unmarshal([]byte(c.json), want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			// What comes back is read by expressions as JSON, which says the same.
			body, err := appendJSON(nil, p, md, types, nil)
			if err != nil {
				t.Fatal(err)
			}
			again := dynamicpb.NewMessage(md)
			if err := (protojson.UnmarshalOptions{Resolver: types}).Unmarshal(body, again); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if diff := cmp.Diff(want, again, protocmp.Transform()); diff != "" {
				t.Errorf("answer as JSON (-want +got):\n%s", diff)
			}
		})
	}
}

// A mistake of a message is at its place, says what is there and, where perfd can tell, what was meant.
func TestMistakesOfMessages(t *testing.T) {
	files := filesIn(t, "kinds.proto", "old.proto")
	for _, c := range []struct{ of, yaml, want string }{
		{"Kinds", `{textt: a}`, "m.yaml:1:2: textt: perfd.test.Kinds has no field textt" + "\n\thint: did you mean \"text\"?"},
		{"Kinds", `{i32: many}`, `m.yaml:1:7: i32: must be a whole number (int32), got "many"`},
		{"Kinds", `{i32: 1.5}`, `m.yaml:1:7: i32: must be a whole number (int32), got 1.5`},
		{"Kinds", `{i32: 2147483648}`, `must be a whole number (int32), got 2147483648`},
		{"Kinds", `{u32: -1}`, `must be a whole number from 0 on (uint32), got -1`},
		{"Kinds", `{yes: maybe}`, `must be true or false, got "maybe"`},
		{"Kinds", `{color: COLOR_READ}`, "must be a value of perfd.test.Color, got \"COLOR_READ\"\n\thint: did you mean \"COLOR_RED\"?"},
		{"Kinds", `{blob: "%%"}`, `must be bytes in base64`},
		{"Kinds", `{inner: 5}`, `inner: must be a mapping of the fields of perfd.test.Kinds, got 5`},
		{"Kinds", `{words: a}`, `words: must be a list, got "a"`},
		{"Kinds", `{words: [{a: b}]}`, `words[0]: must be text, got a mapping`},
		{"Kinds", `{left: a, right: 1}`, `right: perfd.test.Kinds has one of left and right, of choice`},
		{"Kinds", `{by_number: {}, byNumber: {}}`, `byNumber: by_number and byNumber are one field`},
		{"Kinds", `{by_number: {x: {}}}`, `by_number.x: the key must be a whole number (int32), got "x"`},
		{"Kinds", `{at: yesterday}`, "at: is no google.protobuf.Timestamp, got \"yesterday\"\n\thint: write it as in RFC 3339"},
		{"Kinds", `{real: 1e300}`, `real: must be a number, got 1e300`},
		{"Old", `{}`, `name: is required by perfd.test.Old`},
		{"Old", `[a]`, `must be a mapping of the fields of perfd.test.Old, got a list`},
	} {
		_, err := written(files, messageNamed(t, files, protoreflect.FullName("perfd.test."+c.of)), c.yaml, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.yaml, err, c.want)
		}
	}
}

// A value of a variable that its field cannot take fails the request, with its place.
func TestMistakesOfValues(t *testing.T) {
	files := filesIn(t, "kinds.proto")
	vars := map[string]expr.Value{"s": expr.Str("many"), "o": expr.FromJSON(`{"i32": "x"}`), "u": expr.FromJSON(`{"what": 1}`), "l": expr.FromJSON(`[{}]`)}
	for _, c := range []struct{ yaml, want string }{
		{`{i32: "${s}"}`, `m.yaml:1:7: i32: must be a whole number (int32), got "many"`},
		{`{inner: "${o}"}`, `m.yaml:1:9: inner: i32 must be a whole number (int32), got "\"x\""`},
		{`{inner: "${u}"}`, `inner: perfd.test.Kinds has no field what`},
		{`{inner: "${s}"}`, `inner: must be an object with fields of perfd.test.Kinds`},
		{`{packed: "${l}"}`, `packed: must be a whole number (int32)`},
		{`{words: "${l}"}`, `words: words must be text`},
		{`{counts: "${l}"}`, `counts: must be an object`},
		{`{packed: "${o}"}`, `packed: must be a list`},
		{`{at: "${s}"}`, `at: is no google.protobuf.Timestamp`},
		{`{text: "${nothing}"}`, `nothing`},
	} {
		with := map[string]expr.Value{"nothing": {}}
		maps.Copy(with, vars)
		_, err := written(files, messageNamed(t, files, "perfd.test.Kinds"), c.yaml, with)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.yaml, err, c.want)
		}
	}
}
