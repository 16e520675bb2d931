package block

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSchemaSaysWhatDecodeAccepts(t *testing.T) {
	type described struct {
		Name  Text           `yaml:"name" block:"required" doc:"What it is called."`
		Inner []inner        `yaml:"inner"`
		Named Entries[inner] `yaml:"named"`
		Raw   *Node          `yaml:"raw"`
		On    *bool          `yaml:"on"`
	}
	got, err := json.Marshal(Schema(described{}))
	if err != nil {
		t.Fatal(err)
	}
	const item = `{"additionalProperties":false,"patternProperties":{"^x-":{}},"properties":{` +
		`"name":{"type":"string"},` +
		`"size":{"anyOf":[{"type":"integer"},{"pattern":"^\\$\\{.*\\}$","type":"string"}]}},` +
		`"required":["name"],"type":"object"}`
	want := `{"additionalProperties":false,"patternProperties":{"^x-":{}},"properties":{` +
		`"inner":{"items":` + item + `,"type":"array"},` +
		`"name":{"description":"What it is called.","type":["string","number","boolean"]},` +
		`"named":{"additionalProperties":` + item + `,"type":"object"},` +
		`"on":{"anyOf":[{"type":"boolean"},{"pattern":"^\\$\\{.*\\}$","type":"string"}]},` +
		`"raw":{}},"required":["name"],"type":"object"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("Schema (-want +got):\n%s", diff)
	}
}
