package http

import (
	"bytes"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// unknownMethod stands for a method that the conventions do not know.
const unknownMethod = "_OTHER"

// A spanning is what all spans of a step have in common.
type spanning struct {
	name   string
	method string
	base   string // of url.full, before the path
}

// spanning returns what all spans of the step have in common.
func (s *step) spanning() spanning {
	of := spanning{name: s.method, method: s.method}
	if _, known := methods[s.method]; !known {
		of.name, of.method = "HTTP", unknownMethod
	}
	if s.template != "" {
		of.name += " " + s.template
	}
	host := s.origin.Host
	if s.origin.Port != map[bool]uint16{false: 80, true: 443}[s.origin.TLS] {
		host = net.JoinHostPort(host, strconv.Itoa(int(s.origin.Port)))
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	of.base = s.origin.Scheme() + "://" + host
	return of
}

var _ protocol.SpanMapper = (*step)(nil)

// Span follows OpenTelemetry's semantic conventions for HTTP client spans (stable
// since 1.23). The values of a query may be credentials and are left out of url.full.
func (s *step) Span(r *load.Result, address []byte, span *protocol.Span) {
	span.Name = s.spans.name
	span.AddText("http.request.method", s.spans.method)
	if s.spans.method != s.method {
		span.AddText("http.request.method_original", s.method)
	}
	span.AddServer(s.origin.Host, s.origin.Port)
	if s.template != "" {
		span.AddText("url.template", s.template)
		span.AddText("url.full", s.fullURL(address))
	}
	if r.Code != 0 {
		version := "1.1"
		if r.Version == 2 {
			version = "2"
		}
		span.AddText("network.protocol.version", version)
		span.AddNumber("http.response.status_code", int64(r.Code))
	}
	code := ""
	if r.Code >= 400 {
		code = strconv.Itoa(int(r.Code))
	}
	span.AddError(r, code)
}

// fullURL returns the URL of a request with the values of its query redacted.
func (s *step) fullURL(address []byte) string {
	path, query, has := bytes.Cut(address, []byte("?"))
	if !has {
		return s.spans.base + string(path)
	}
	full := s.spans.base + string(path)
	var kept []string
	for pair := range strings.SplitSeq(string(query), "&") {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil && plain != "" {
			kept = append(kept, name+"=REDACTED")
		}
	}
	return full + "?" + strings.Join(kept, "&")
}
