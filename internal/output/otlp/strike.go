package otlp

import (
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// strike strikes secrets out of all texts of a span: addresses and errors come from
// requests, which may hold any.
func strike(s *tracepb.Span, secrets func(string) string) {
	if s.Status != nil {
		s.Status.Message = secrets(s.Status.Message)
	}
	strikeAttributes(s.Attributes, secrets)
	for _, e := range s.Events {
		strikeAttributes(e.Attributes, secrets)
	}
}

// remembering returns a function that strikes out as another does, each text once: most of
// a batch's are the same, and looking for every secret in a text costs more than making a span.
func remembering(secrets func(string) string) func(string) string {
	known := map[string]string{}
	return func(text string) string {
		struck, ok := known[text]
		if !ok {
			struck = secrets(text)
			known[text] = struck
		}
		return struck
	}
}

func strikeAttributes(attributes []*commonpb.KeyValue, secrets func(string) string) {
	for i, a := range attributes {
		text, ok := a.GetValue().GetValue().(*commonpb.AnyValue_StringValue)
		if !ok {
			continue
		}
		if struck := secrets(text.StringValue); struck != text.StringValue {
			// Attributes may be shared by spans.
			attributes[i] = &commonpb.KeyValue{Key: a.Key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: struck}}}
		}
	}
}
