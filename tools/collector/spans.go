package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// spanLine is the JSON form of one span.
type spanLine struct {
	TraceID       string         `json:"trace_id"`
	SpanID        string         `json:"span_id"`
	ParentSpanID  string         `json:"parent_span_id"`
	Name          string         `json:"name"`
	Kind          string         `json:"kind"`
	StartUnixNano uint64         `json:"start_unix_nano"`
	EndUnixNano   uint64         `json:"end_unix_nano"`
	Status        string         `json:"status"`
	StatusMessage string         `json:"status_message"`
	Attributes    map[string]any `json:"attributes"`
	Resource      map[string]any `json:"resource"`
	Scope         string         `json:"scope"`
	Links         []spanLink     `json:"links"`
}

// spanLink is the JSON form of a link from one span to another.
type spanLink struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
}

// spanFile appends spans to a file. It is safe for concurrent use.
type spanFile struct {
	mu   sync.Mutex
	file *os.File
}

// consume writes every span of traces, each with one write call.
func (f *spanFile) consume(_ context.Context, traces ptrace.Traces) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, resource := range traces.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				line, err := encode(newSpanLine(resource.Resource(), scope.Scope(), span))
				if err != nil {
					return fmt.Errorf("span %s: %w", span.SpanID(), err)
				}
				if _, err := f.file.Write(line); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// encode is the JSON of line with a newline at its end and no HTML escapes.
func encode(line spanLine) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(line)
	return buffer.Bytes(), err
}

// newSpanLine is the line of span, which belongs to resource and scope.
func newSpanLine(resource pcommon.Resource, scope pcommon.InstrumentationScope, span ptrace.Span) spanLine {
	links := []spanLink{}
	for _, link := range span.Links().All() {
		links = append(links, spanLink{TraceID: link.TraceID().String(), SpanID: link.SpanID().String()})
	}
	return spanLine{
		TraceID:       span.TraceID().String(),
		SpanID:        span.SpanID().String(),
		ParentSpanID:  span.ParentSpanID().String(),
		Name:          span.Name(),
		Kind:          strings.ToUpper(span.Kind().String()),
		StartUnixNano: uint64(span.StartTimestamp()),
		EndUnixNano:   uint64(span.EndTimestamp()),
		Status:        span.Status().Code().String(),
		StatusMessage: span.Status().Message(),
		Attributes:    finite(span.Attributes().AsRaw()).(map[string]any),
		Resource:      finite(resource.Attributes().AsRaw()).(map[string]any),
		Scope:         scope.Name(),
		Links:         links,
	}
}

// finite replaces, at any depth of value, the numbers JSON cannot hold (NaN and
// the infinities) by their names.
func finite(value any) any {
	switch v := value.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	case []any:
		for i := range v {
			v[i] = finite(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = finite(v[key])
		}
	}
	return value
}
