package block

import "reflect"

// A Describer is a type that has its own JSON schema. Types that decode themselves
// implement it.
type Describer interface {
	// JSONSchema returns a new schema, which the caller may change.
	JSONSchema() map[string]any
}

// Schema returns the JSON schema of what the type of v decodes, with doc tags as
// descriptions. The caller may change it.
func Schema(v any) map[string]any { return schemaOf(reflect.TypeOf(v)) }

// JSONSchema describes the notation.
func (Duration) JSONSchema() map[string]any {
	return pattern("a duration such as 300ms, 5m or 7d", `^([0-9.]+(ns|us|µs|ms|s|m|h|d))+$|\$\{`)
}

// JSONSchema describes the notation.
func (Rate) JSONSchema() map[string]any {
	return pattern("a rate such as 50/s, 300/m or 2/h", `^[0-9.eE+-]+ */ *(ms|s|m|h|d)$|\$\{`)
}

// JSONSchema describes the notation.
func (Size) JSONSchema() map[string]any {
	return pattern("a size such as 512MiB or 10kB", `^[0-9.]+ *([kKMGT]i?)?B$|\$\{`)
}

// JSONSchema describes the notation.
func (Ratio) JSONSchema() map[string]any {
	return map[string]any{"type": []string{"string", "number"}, "description": "a share such as 0.1% or 0.001"}
}

// JSONSchema describes any text.
func (Secret) JSONSchema() map[string]any { return map[string]any{"type": "string"} }

// JSONSchema describes any scalar.
func (Text) JSONSchema() map[string]any {
	return map[string]any{"type": []string{"string", "number", "boolean"}}
}

func pattern(description, re string) map[string]any {
	return map[string]any{"type": "string", "description": description, "pattern": re}
}

// orReference also allows a value that is one ${…}, which has the type of the value that it names.
func orReference(name string) map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": name},
		map[string]any{"type": "string", "pattern": `^\$\{.*\}$`},
	}}
}

func schemaOf(t reflect.Type) map[string]any {
	if t == nodeType {
		return map[string]any{}
	}
	for _, v := range []reflect.Value{reflect.Zero(t), reflect.New(t)} {
		if d, ok := reflect.TypeAssert[Describer](v); ok && t.Kind() != reflect.Pointer {
			return d.JSONSchema()
		}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Bool:
		return orReference("boolean")
	case reflect.Int, reflect.Int64:
		return orReference("integer")
	case reflect.Float64:
		return orReference("number")
	case reflect.Struct:
		return structSchema(t)
	}
	return map[string]any{"type": "string"}
}

func structSchema(t reflect.Type) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, f := range Fields(t) {
		s := schemaOf(f.Type)
		if f.Doc != "" {
			s["description"] = f.Doc
		}
		if f.Scale != "" {
			s["x-scale"] = f.Scale
		}
		properties[f.Name] = s
		if f.Required {
			required = append(required, f.Name)
		}
	}
	out := map[string]any{
		"type": "object", "properties": properties, "additionalProperties": false,
		"patternProperties": map[string]any{"^x-": map[string]any{}},
	}
	if required != nil {
		out["required"] = required
	}
	return out
}
