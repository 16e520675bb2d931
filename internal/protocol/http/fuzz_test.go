package http

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
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
