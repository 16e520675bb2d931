package http

import (
	"bytes"
	"net"
	"net/url"
	"strconv"
	"strings"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/perfd/perfd/internal/load"
)

// Span follows OpenTelemetry's semantic conventions for HTTP client spans (stable
// since 1.23). The values of a query may be credentials and are left out of url.full.
func (s *step) Span(r *load.Result, address []byte, span *tracepb.Span) {
	method := s.method
	if _, known := methods[method]; !known {
		method = "_OTHER"
		span.Name = "HTTP"
	} else {
		span.Name = method
	}
	if s.template != "" {
		span.Name += " " + s.template
	}
	text := func(key, value string) {
		span.Attributes = append(span.Attributes, &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}})
	}
	number := func(key string, value int64) {
		span.Attributes = append(span.Attributes, &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}})
	}
	text("http.request.method", method)
	if method != s.method {
		text("http.request.method_original", s.method)
	}
	text("server.address", s.origin.Host)
	number("server.port", int64(s.origin.Port))
	if s.template != "" {
		text("url.template", s.template)
		text("url.full", s.fullURL(address))
	}
	if r.Code != 0 {
		text("network.protocol.version", "1.1")
		number("http.response.status_code", int64(r.Code))
	}
	switch {
	case r.Cause == load.None || r.Cause == load.Canceled:
	case r.Code >= 400:
		text("error.type", strconv.Itoa(int(r.Code)))
	default:
		text("error.type", r.Cause.String())
	}
}

// fullURL returns the URL of a request with the values of its query redacted.
func (s *step) fullURL(address []byte) string {
	path, query, has := bytes.Cut(address, []byte("?"))
	host := s.origin.Host
	if s.origin.Port != map[bool]uint16{false: 80, true: 443}[s.origin.TLS] {
		host = net.JoinHostPort(host, strconv.Itoa(int(s.origin.Port)))
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	full := s.origin.Scheme() + "://" + host + string(path)
	if !has {
		return full
	}
	var kept []string
	for pair := range strings.SplitSeq(string(query), "&") {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil && plain != "" {
			kept = append(kept, name+"=REDACTED")
		}
	}
	return full + "?" + strings.Join(kept, "&")
}
