package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/kind"
)

// Schema returns the JSON schema of the document, for editors: what the types
// say, with the blocks of the kinds where they may stand.
func Schema(kinds kind.Set) ([]byte, error) {
	steps, defaults, blocks := map[string]any{}, map[string]any{}, map[string]any{}
	for _, k := range kinds.Protocols {
		steps[k.Name] = describe(block.Schema(k.Step()), "A request by "+k.Name+".")
		if k.Target != nil {
			defaults[k.Name] = describe(block.Schema(k.Target()), "What all requests by "+k.Name+" to this target have in common.")
		}
		if k.Scenario != nil {
			blocks[k.Name] = describe(block.Schema(k.Scenario(nil)), "What requests by "+k.Name+" of this scenario do otherwise than its target says.")
		}
	}
	for _, k := range kinds.Analyses {
		if k.Block != nil {
			blocks[k.Name] = describe(block.Schema(k.Block()), k.BlockDoc)
		}
	}
	s := block.Schema(Document{})
	for _, k := range kinds.Outputs {
		own, _ := block.Schema(reflect.ValueOf(k.Config()).Elem().Interface())["properties"].(map[string]any)
		maps.Copy(s["properties"].(map[string]any), own) // Document is a struct, whose schema has properties
	}
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "perfd.yaml"
	s["$defs"] = map[string]any{"flow": flow.Schema(steps)}
	for _, at := range []struct {
		path []string
		add  map[string]any
	}{
		{[]string{"targets", "items"}, defaults},
		{[]string{"scenarios", "items"}, blocks},
		{[]string{"scenarios", "items"}, map[string]any{
			"flow":     flowAs("The steps that one virtual user performs."),
			"setup":    flowAs("What is done before a run begins, by one virtual user and measured by nothing; the flow and teardown read the variables that it sets."),
			"teardown": flowAs("What is done after a run, likewise."),
			"workload": describe(kinds.Workload().Schema(), "How much load, and how fast."),
		}},
		{[]string{"flows", "additionalProperties"}, map[string]any{"steps": flowAs("What the flow does.")}},
	} {
		if err := extend(s, at.path, at.add); err != nil {
			return nil, err
		}
	}
	entries, ok := s["properties"].(map[string]any)["credentials"].(map[string]any)
	if !ok {
		return nil, errors.New("schema: credentials is no object")
	}
	entries["additionalProperties"] = credential.Schema(kinds.Credentials)
	text, err := json.MarshalIndent(s, "", "  ")
	return append(text, '\n'), err
}

func describe(schema map[string]any, text string) map[string]any {
	schema["description"] = text
	return schema
}

// flowAs refers to the schema of flows.
func flowAs(text string) map[string]any {
	return map[string]any{"$ref": "#/$defs/flow", "description": text}
}

// extend adds properties to the object that a section holds at path.
func extend(s map[string]any, path []string, add map[string]any) error {
	object, _ := s["properties"].(map[string]any)[path[0]].(map[string]any)[path[1]].(map[string]any)
	properties, ok := object["properties"].(map[string]any)
	if !ok {
		return fmt.Errorf("schema: %v is no object", path)
	}
	maps.Copy(properties, add)
	return nil
}
