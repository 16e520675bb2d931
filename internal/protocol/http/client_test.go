package http

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

func TestClientOfATarget(t *testing.T) {
	for _, c := range []struct {
		headers string
		want    map[string]string
		ofFlows []string
	}{
		{"{}", map[string]string{}, nil},
		{"{Authorization: Bearer sesame, X-Api-Key: k}", map[string]string{"Authorization": "Bearer sesame", "X-Api-Key": "k"}, nil},
		{"{X-Literal: 'a$${b}', X-VU: 'vu ${vu}', X-Sum: '${1 + 2}'}", map[string]string{"X-Literal": "a${b}", "X-VU": "vu 0", "X-Sum": "3"}, nil},
		{"{X-None: '${regex(\"a\", \"b\")}', X-Api-Key: k}", map[string]string{"X-Api-Key": "k"}, nil},
		{"{X-User: 'u ${user.name}', X-Api-Key: k, X-Token: '${token}'}", map[string]string{"X-Api-Key": "k"}, []string{"X-User", "X-Token"}},
	} {
		var errs block.Errors
		target := DefaultTarget()
		block.Decode(block.Parse("test.yaml", []byte("headers: "+c.headers), &errs), target, &errs)
		client := target.Client(&protocol.Compiler{Errors: &errs})
		if err := errs.Err(); err != nil {
			t.Fatalf("%s: %v", c.headers, err)
		}
		got := map[string]string{}
		client.Header(func(name, value string) { got[name] = value })
		if !maps.Equal(got, c.want) || !cmp.Equal(client.OfFlows, c.ofFlows) {
			t.Errorf("%s: header %v without %v, want %v without %v", c.headers, got, client.OfFlows, c.want, c.ofFlows)
		}
	}
}

func TestFieldsOfAClientAreDrawnAgain(t *testing.T) {
	var errs block.Errors
	target := DefaultTarget()
	block.Decode(block.Parse("test.yaml", []byte("headers: {X-Request-Id: '${uuid()}'}"), &errs), target, &errs)
	client := target.Client(&protocol.Compiler{Errors: &errs})
	seen := map[string]bool{}
	for range 3 {
		client.Header(func(_, value string) { seen[value] = true })
	}
	if len(seen) != 3 {
		t.Errorf("three requests have %d identifiers", len(seen))
	}
}

func TestAClientWithoutItsFilesIsAMistake(t *testing.T) {
	for _, tls := range []TLS{{CAFile: "none.pem"}, {CertFile: "none.pem", KeyFile: "none.pem"}, {CAFile: "client_test.go"}} {
		var errs block.Errors
		target := DefaultTarget()
		target.TLS = tls
		target.TLS.MinVersion = "1.2"
		target.Client(&protocol.Compiler{Errors: &errs, Base: block.Text{S: "https://127.0.0.1", Path: "url"}, Dir: "."})
		if errs.Len() != 1 {
			t.Errorf("%+v: %d mistakes, want 1", tls, errs.Len())
		}
	}
}
