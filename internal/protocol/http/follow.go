package http

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

func isRedirect(code int) bool {
	return code == 301 || code == 302 || code == 303 || code == 307 || code == 308
}

// pathOf is a request target's path.
func pathOf(target []byte) []byte {
	path, _, _ := bytes.Cut(target, []byte("?"))
	return path
}

// A hop is one request of a chain of redirects.
type hop struct {
	method string
	at     *url.URL
	origin wire.Origin
	from   netip.Addr // as wire.Exchange.From
	body   bool       // the body is sent again
}

// follow performs the redirects of an answer as parts of one request. The dialer's
// guard checks each hop, and that none leads nearer to perfd than its sender is. Header fields of the configuration may be secrets, so that
// they are sent to the step's own origin only.
func (s *step) follow(c *protocol.Call, w *scratch, sess *session) error {
	from := s.origin.Scheme() + "://" + net.JoinHostPort(s.origin.Host, strconv.Itoa(int(s.origin.Port))) + string(w.x.Target())
	at, err := url.Parse(from)
	if err != nil {
		return &wire.ProtocolError{Text: fmt.Sprintf("redirect from %.200q, which cannot be resolved", from)}
	}
	h := hop{method: s.method, at: at, origin: s.origin, body: !s.bodiless}
	line := bytes.IndexByte(w.x.Out, '\n') + 1
	fields := bytes.Clone(w.x.Out[line:w.head])
	for n := 0; isRedirect(w.x.Code()); n++ {
		location, ok := w.x.Header("Location")
		if !ok || location == "" {
			return nil // as browsers and curl take it: the answer is the last one
		}
		if n == s.redirects {
			return &wire.ProtocolError{Text: fmt.Sprintf("more than %d redirects", s.redirects)}
		}
		from := sess.agent.Peer(&h.origin)
		if err := h.move(w.x.Code(), location); err != nil {
			return err
		}
		if h.origin.Foreign = h.origin.Host != s.origin.Host; h.origin.Foreign {
			h.from = from
		} else {
			h.from = netip.Addr{}
		}
		if err := h.admit(c, sess); err != nil {
			return err
		}
		if err := s.encodeHop(&h, fields, c, w, sess); err != nil {
			return err
		}
		w.x.Follows, w.x.From = true, h.from
		if err := s.exchange(&h.origin, h.method, w, sess, c); err != nil {
			return err
		}
	}
	return nil
}

// encoded returns a Location with everything percent-encoded that may not stand in
// a URL, as browsers do (WHATWG URL, section 4.4): spaces, controls, bytes of other
// alphabets and a % that encodes nothing.
func encoded(location string) string {
	var b []byte
	for i := range len(location) {
		c := location[i]
		switch {
		case c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0,
			c == '%' && (i+2 >= len(location) || !isHex(location[i+1]) || !isHex(location[i+2])):
			if b == nil {
				b = append(make([]byte, 0, len(location)+16), location[:i]...)
			}
			b = append(b, '%', hex[c>>4], hex[c&15])
		case b != nil:
			b = append(b, c)
		}
	}
	if b == nil {
		return location
	}
	return string(b)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// move makes h the request to which a redirect leads.
func (h *hop) move(code int, location string) error {
	to, err := h.at.Parse(encoded(location))
	if err != nil || to.Hostname() == "" || to.Scheme != "http" && to.Scheme != "https" {
		return &wire.ProtocolError{Text: fmt.Sprintf("redirect to %.200q", location)}
	}
	if h.origin, err = protocol.OriginOf(to); err != nil {
		return &wire.ProtocolError{Text: fmt.Sprintf("redirect to %.200q: %v", location, err)}
	}
	h.at = to
	// RFC 9110 section 15.4: 303 becomes GET, and so do 301 and 302 of a POST, as in browsers.
	if code == 303 && h.method != "HEAD" || (code == 301 || code == 302) && h.method == "POST" {
		h.method, h.body = "GET", false
	}
	return nil
}

// admit waits for the token of the request. It is one of the host that the
// redirect leads to: each hop is a request there.
func (h *hop) admit(c *protocol.Call, sess *session) error {
	redirect := c.VU.Env.Redirect
	if redirect == nil {
		return nil
	}
	return sess.agent.Admit(&h.origin, h.from, int64(c.Deadline), &c.Result, func(addrs []netip.Addr, turn bool) (time.Duration, bool) {
		return redirect(h.origin.Host, h.origin.Port, addrs, turn)
	})
}

// encodeHop writes the request of one redirect to w.x. A request to the step's
// origin has the header fields of the request before it.
func (s *step) encodeHop(h *hop, fields []byte, c *protocol.Call, w *scratch, sess *session) (err error) {
	x := &w.x
	x.Stream, w.proof = nil, proof{}
	x.Out = append(x.Out[:0], h.method...)
	x.Out = append(x.Out, ' ')
	x.Out = append(x.Out, h.at.RequestURI()...)
	if h.origin == s.origin {
		x.Out = s.appendQuery(x.Out, h.at, w)
	}
	x.Out = append(x.Out, " HTTP/1.1\r\n"...)
	if h.origin == s.origin {
		x.Out = append(x.Out, fields...)
	} else {
		x.Out = append(x.Out, "Host: "...)
		x.Out = append(x.Out, protocol.HostField(h.at)...)
		x.Out = append(x.Out, "\r\n"...)
		if x.Out, err = appendAll(x.Out, s.own, c, w); err != nil {
			return err
		}
	}
	s.appendCookies(&h.origin, wire.CrossingOf(&s.origin, &h.origin, h.method), w, sess)
	if !h.body {
		w.body = nil
		if w.file != nil {
			w.file.Close()
			w.file = nil
		}
	}
	if h.origin == s.origin {
		if err := s.appendCredential(h.method, w); err != nil {
			return err
		}
	}
	if h.body {
		return s.appendBody(c, w)
	}
	x.Out = append(x.Out, "\r\n"...)
	return nil
}

// appendQuery appends what the step's credential adds to the query of a redirect, unless the redirect kept it.
func (s *step) appendQuery(dst []byte, to *url.URL, w *scratch) []byte {
	if w.value == nil || len(w.value.Query) == 0 || strings.Contains("&"+to.RawQuery+"&", "&"+string(w.value.Query)+"&") {
		return dst
	}
	separator := byte('?')
	if to.RawQuery != "" || to.ForceQuery {
		separator = '&'
	}
	return append(append(dst, separator), w.value.Query...)
}
