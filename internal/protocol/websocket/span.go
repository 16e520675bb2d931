package websocket

import (
	"bytes"
	"net"
	"strconv"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// name says what the step does.
func (s *step) name() string {
	switch {
	case s.wanted.Echoes:
		return "websocket echo"
	case s.wanted.Receives:
		return "websocket receive"
	case s.listen > 0:
		return "websocket listen"
	case s.ping:
		return "websocket ping"
	case s.closes > 0:
		return "websocket close"
	case s.send != nil:
		return "websocket send"
	}
	return "websocket open"
}

var _ protocol.SpanMapper = (*step)(nil)

// Span names the span by what the step does, since OpenTelemetry has no conventions for WebSocket. The address is the
// server's, with the path that the stream was opened at.
func (s *step) Span(r *load.Result, address []byte, span *protocol.Span) {
	span.Name = s.name()
	span.AddText("network.protocol.name", "websocket")
	address = protocol.CutStream(address, span)
	server, path := address, []byte(nil)
	if i := bytes.IndexByte(address, '/'); i >= 0 {
		server, path = address[:i], address[i:]
	}
	if host, port, err := net.SplitHostPort(string(server)); err == nil {
		span.AddText("server.address", host)
		if n, err := strconv.Atoi(port); err == nil {
			span.AddNumber("server.port", int64(n))
		}
	}
	if len(path) > 0 {
		span.AddText("url.template", string(path))
	}
	switch {
	case r.Code >= closeNormal:
		span.AddNumber("perfd.websocket.close_code", int64(r.Code))
	case r.Code > 0:
		span.AddNumber("http.response.status_code", int64(r.Code))
	}
	code := ""
	if r.Code > 0 {
		code = strconv.Itoa(int(r.Code))
	}
	span.AddError(r, code)
}
