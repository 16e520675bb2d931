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
