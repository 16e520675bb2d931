package grpc

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
)

// Whatever a server answers is JSON in the end, or an error.
func FuzzAnswer(f *testing.F) {
	files := filesIn(f, "kinds.proto")
	md := messageNamed(f, files, "perfd.test.Kinds")
	types := dynamicpb.NewTypes(files)
	f.Add([]byte{})
	f.Add([]byte("\x0a\x03abc\x10\x05"))
	f.Add(protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), []byte("unknown")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := appendJSON(nil, raw, md, types, nil)
		if err == nil && !json.Valid(body) {
			t.Errorf("%x is %s, which is no JSON", raw, body)
		}
	})
}

// A value that a flow puts into a message makes bytes that decode as the message, or an error.
func FuzzMessage(f *testing.F) {
	files := filesIn(f, "kinds.proto")
	md := messageNamed(f, files, "perfd.test.Kinds")
	symbols := expr.NewSymbols(nil)
	at := symbols.Declare("v", expr.Any)
	var errs block.Errors
	b := binder{types: dynamicpb.NewTypes(files), errs: &errs}
	var messages []message
	for _, text := range []string{`{text: "${v}"}`, `{i32: "${v}"}`, `{u64: "${v}"}`, `{real: "${v}"}`, `{blob: "${v}"}`, `{inner: "${v}"}`, `{words: "${v}"}`, `{packed: "${v}"}`, `{at: "${v}"}`} {
		n := block.Parse("m.yaml", []byte(text), &errs)
		messages = append(messages, b.bind(newTree(n, symbols, &errs), md))
	}
	if err := errs.Err(); err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{`"abc"`, `-7`, `1e3`, `{"i32": 1, "inner": {"text": "x"}}`, `[1, 2]`, `["a"]`, `"2026-01-31T12:00:00Z"`, `null`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		scope := &expr.Scope{}
		scope.Set(at, expr.FromJSON(text))
		for _, m := range messages {
			p, err := m.appendTo(nil, scope)
			if err != nil {
				continue
			}
			if err := proto.Unmarshal(p, dynamicpb.NewMessage(md)); err != nil {
				t.Errorf("%s makes %x: %v", text, p, err)
			}
		}
	})
}

// A file of descriptors is read, or refused by an error, whatever is in it; so is what a server says of itself.
func FuzzDescriptors(f *testing.F) {
	content, err := os.ReadFile(interopSet(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add([]byte("\x0a\x02\x0a\x00"))
	path := filepath.Join(f.TempDir(), "set.binpb")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		set := map[string]*descriptorpb.FileDescriptorProto{}
		if readProtoset(path, set) != nil {
			return
		}
		files, err := filesOf(set)
		if err != nil {
			return
		}
		for _, name := range services(files) {
			if _, wrong := methodOf(files, name, "Nothing"); wrong == nil {
				t.Errorf("%s has a method that nobody named", name)
			}
		}
	})
}
