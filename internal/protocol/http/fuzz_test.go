package http

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A player is a server that answers each connection's request with the bytes
// it was given, and then ends the stream.
type player struct{ text chan []byte }

func (p *player) serve(c net.Conn) {
	readHead(c)
	c.Write(<-p.text)
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
}

// play performs a request that is answered with text.
func (p *player) play(r *rig, s protocol.Step, text []byte) *protocol.Call {
	p.text <- text
	return r.do(s, 10*time.Second)
}

// FuzzAnswer gives any bytes as an answer. Where both this package and net/http
// accept them, both must see the same status and body; and no bytes may be
// perfd's own fault, or take longer than the connection lives.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nT: v\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\nContent-Length: 1\n\nx",
		"HTTP/1.1 200 OK\r\n\r\nuntil close", "HTTP/1.1 200\r\nX:y\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "\r\nHTTP/1.1 200 OK\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	p := &player{make(chan []byte, 1)}
	r := newRig(f, each(f, p.serve))
	r.keep.Body = true
	s := r.step(`{url: /}`)
	f.Fuzz(func(t *testing.T, text []byte) { compareWithNetHTTP(t, r, s, p, text) })
}

// FuzzChunks gives any bytes as a chunked body.
func FuzzChunks(f *testing.F) {
	for _, text := range []string{
		"0\r\n\r\n", "1\r\na\r\n0\r\n\r\n", "a;x\r\n0123456789\r\n00\r\nA: b\r\n\r\n", "2\nab\n0\n\n", "ffffffffffffffff\r\n", "1\r\nabc\r\n0\r\n\r\n", "-1\r\n", "0x1\r\na\r\n0\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	p := &player{make(chan []byte, 1)}
	r := newRig(f, each(f, p.serve))
	r.keep.Body = true
	s := r.step(`{url: /}`)
	f.Fuzz(func(t *testing.T, text []byte) {
		compareWithNetHTTP(t, r, s, p, append([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), text...))
	})
}

func compareWithNetHTTP(t *testing.T, r *rig, s protocol.Step, p *player, text []byte) {
	r.vu.Close()
	call := p.play(r, s, text)
	switch call.Result.Cause {
	case load.None, load.Protocol, load.Partial, load.Closed:
	default:
		t.Fatalf("%q: cause %v (%v)", text, call.Result.Cause, call.Err)
	}
	if call.Result.Cause != load.None {
		return
	}
	in := bufio.NewReader(bytes.NewReader(text))
	var want *http.Response
	for {
		var err error
		if want, err = http.ReadResponse(in, nil); err != nil {
			return // stricter than we are
		}
		if want.StatusCode >= 200 {
			break
		}
	}
	body, err := io.ReadAll(want.Body)
	if err != nil {
		return
	}
	if int(call.Result.Code) != want.StatusCode || !bytes.Equal(call.Response.Body(), body) {
		t.Errorf("%q is read as %d with %q, by net/http as %d with %q", text, call.Result.Code, call.Response.Body(), want.StatusCode, body)
	}
}

// FuzzRedirect gives any bytes as a Location. Where it leads to must be an address of
// HTTP whose request is one line without spaces, in the method that the status asks for.
func FuzzRedirect(f *testing.F) {
	for _, location := range []string{
		"/a", "?q", "#f", "//b.test/x", "//:1", "https://b.test:8443/é?a b", "http://[::1%25lo]/", "http://b.test:0/", "a b\tc", "..", "/%zz%", "http:///", "javascript:x", "http://u:p@b.test/", "\xff\xfe", "http://b.test\r\nX: y",
	} {
		f.Add(location, 302)
	}
	f.Fuzz(func(t *testing.T, location string, code int) {
		at, _ := url.Parse("http://a.test:8080/dir/page?x=1")
		h := hop{method: "POST", at: at, body: true}
		if err := h.move(code, location); err != nil {
			if wire.Classify(err) != load.Protocol {
				t.Fatalf("%q: cause %v (%v)", location, wire.Classify(err), err)
			}
			return
		}
		line := h.method + " " + h.at.RequestURI() + " HTTP/1.1"
		if fields := strings.Split(line, " "); len(fields) != 3 || !strings.HasPrefix(fields[1], "/") || hasLineEnd([]byte(line)) {
			t.Fatalf("%q makes the request line %q", location, line)
		}
		if hasLineEnd([]byte(h.at.Host)) || strings.ContainsAny(h.at.Host, " /?#@") || h.origin.Host == "" || h.origin.Port == 0 {
			t.Fatalf("%q leads to the host %q, %+v", location, h.at.Host, h.origin)
		}
		if strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f }) >= 0 {
			t.Fatalf("%q makes the request line %q, with bytes that are not ASCII", location, line)
		}
		if became := code == 303 || code == 301 || code == 302; (h.method == "GET") != became || h.body == became {
			t.Fatalf("status %d makes a POST a %s with a body %v", code, h.method, h.body)
		}
	})
}
