package http

import (
	"maps"
	"strings"
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
	for _, tls := range []protocol.TLS{{CAFile: block.Text{S: "none.pem"}}, {CertFile: block.Text{S: "none.pem"}, KeyFile: block.Text{S: "none.pem"}}, {CAFile: block.Text{S: "client_test.go"}}} {
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

// A file that is wrong is reported at its own key, and beside the others.
func TestMistakesOfTLSAreAtTheirKeys(t *testing.T) {
	for text, want := range map[string][]string{
		"{tls: {ca_file: none.pem}}":                                             {"t.yaml:1:17: tls.ca_file: none.pem: no such file"},
		"{tls: {ca_file: none.pem, cert_file: no.pem, key_file: no.key}}":        {"t.yaml:1:17: tls.ca_file: ", "t.yaml:1:38: tls.cert_file: "},
		"{tls: {ca_file: client_test.go}}":                                       {"t.yaml:1:17: tls.ca_file: "},
		"{tls: {cert_file: no.pem}}":                                             {"t.yaml:1:19: tls.cert_file: cert_file and key_file go together"},
		"{tls: {key_file: no.pem, min_version: '1.1', ca_file: client_test.go}}": {"t.yaml:1:18: tls.key_file: cert_file and key_file go together", "tls.min_version: must be"},
	} {
		var errs block.Errors
		target := DefaultTarget()
		block.Decode(block.Parse("t.yaml", []byte(text), &errs), target, &errs)
		target.TLS.Open(&protocol.Compiler{Errors: &errs})
		for _, part := range want {
			if err := errs.Err(); err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %q", text, err, part)
			}
		}
		if errs.Len() != len(want) {
			t.Errorf("%s: %d mistakes, want %d: %v", text, errs.Len(), len(want), errs.Err())
		}
	}
}
