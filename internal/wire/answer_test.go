package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/perfd/perfd/internal/load"
)

// A script is a connection whose reads give the pieces one by one, and then the end.
type script struct {
	net.Conn
	pieces [][]byte
}

func (s *script) Read(p []byte) (int, error) {
	for len(s.pieces) > 0 && len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	return n, nil
}

// play reads an answer that arrives in pieces.
func play(x *Exchange, pieces ...[]byte) (reusable bool, err error) {
	x.Reset()
	return (&conn{redialer: redialer{zero: time.Now(), tls: &script{pieces: pieces}}, x: x}).receive()
}

var answers = []struct {
	name, text, body string
	cause            load.Cause
	reusable         bool
}{
	{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", load.None, true},
	{"no body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", load.None, true},
	{"no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", load.None, true},
	{"bare line feeds", "HTTP/1.1 200 OK\ncontent-length:1\n\na", "a", load.None, true},
	{"same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "a", load.None, true},
	{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=\"y\"\r\nde\r\n0\r\n\r\n", "abcde", load.None, true},
	{"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n000\r\nT: v\r\nU: w\r\n\r\n", "0123456789", load.None, true},
	{"folded", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\t\tc\r\nContent-Length: 1\r\n\r\na", "a", load.None, true},
	{"folded length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n 1\r\n\r\na", "a", load.None, true},
	{"folded with bare line feeds", "HTTP/1.1 200 OK\nX: a\n b\n \nContent-Length: 1\n\na", "a", load.None, true},
	{"folded coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "a", load.None, true},
	{"a fold before any field", "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 1\r\n\r\na", "", load.Protocol, false},
	{"a fold with a stray carriage return", "HTTP/1.1 200 OK\r\nX: a\r\r\n b\r\nContent-Length: 1\r\n\r\na", "", load.Protocol, false},
	{"until close", "HTTP/1.1 200 OK\r\n\r\nabc", "abc", load.None, false},
	{"asks to close", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na", "a", load.None, false},
	{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "a", load.None, false},
	{"HTTP/1.0 that stays", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", "a", load.None, true},
	{"204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "", load.None, true},
	{"304 with chunks", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "", load.None, true},
	{"interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "a", load.None, true},
	{"more than was asked for", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n", "a", load.None, false},

	{"nothing", "", "", load.Closed, false},
	{"end inside the head", "HTTP/1.1 200 OK\r\nContent-Le", "", load.Partial, false},
	{"end inside the body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "hel", load.Partial, false},
	{"end inside a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "hel", load.Partial, false},
	{"end before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", "hel", load.Partial, false},
	{"end inside the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: v\r\n", "", load.Partial, false},
	{"garbage", "220 mail ESMTP\r\n\r\n", "", load.Protocol, false},
	{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "", load.Protocol, false},
	{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "", load.Protocol, false},
	{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "", load.Protocol, false},
	{"switched protocols", "HTTP/1.1 101 Switching\r\n\r\n", "", load.Protocol, false},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "", load.Protocol, false},
	{"list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", "", load.Protocol, false},
	{"length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", "", load.Protocol, false},
	{"length beyond all bounds", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\na", "", load.Protocol, false},
	{"length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", load.Protocol, false},
	{"chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", load.Protocol, false},
	{"unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", load.Protocol, false},
	{"space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na", "", load.Protocol, false},
	{"field without a name", "HTTP/1.1 200 OK\r\n: a\r\n\r\n", "", load.Protocol, false},
	{"field without a colon", "HTTP/1.1 200 OK\r\nX\r\n\r\n", "", load.Protocol, false},
	{"stray carriage return", "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 1\r\n\r\na", "", load.Protocol, false},
	{"NUL", "HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n", "", load.Protocol, false},
	{"chunk without a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc", "", load.Protocol, false},
	{"chunk of negative size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc", "", load.Protocol, false},
	{"chunk of enormous size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc", "", load.Protocol, false},
	{"chunk longer than its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", "a", load.Protocol, false},
	{"trailer that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nhello there\r\n\r\n", "", load.Protocol, false},
	{"endless chunk line", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 10_000) + "\r\na\r\n0\r\n\r\n", "", load.Protocol, false},
	{"endless trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("T: v\r\n", 20_000) + "\r\n", "", load.Protocol, false},
	{"endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", defaultHead) + "\r\n\r\n", "", load.Overload, false},
	{"head as long as it may be", head64k(), "a", load.None, true},
}

func head64k() string {
	const begin, end = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: ", "\r\n\r\n"
	return begin + strings.Repeat("x", defaultHead-len(begin)-len(end)) + end + "a"
}

func check(x *Exchange, reusable bool, err error, body string, cause load.Cause, wantReusable bool) error {
	if got := Classify(err); got != cause || reusable != wantReusable {
		return fmt.Errorf("cause %v (%w), reusable %v; want %v, %v", got, err, reusable, cause, wantReusable)
	}
	if err == nil && (string(x.Body()) != body || x.Size() != int64(len(body)) || x.Sum() != xxhash.Sum64String(body)) {
		return fmt.Errorf("body %.40q of %d bytes with sum %x, want %.40q", x.Body(), x.Size(), x.Sum(), body)
	}
	return nil
}

func TestAnswers(t *testing.T) {
	x := &Exchange{KeepBody: true, MaxKept: maxKept}
	for _, c := range answers {
		reusable, err := play(x, []byte(c.text))
		if err := check(x, reusable, err, c.body, c.cause, c.reusable); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// An answer means the same wherever the network breaks it.
func TestAnswersBrokenAtEveryByte(t *testing.T) {
	x := &Exchange{KeepBody: true, MaxKept: maxKept}
	for _, c := range answers {
		if len(c.text) > 1000 || c.name == "more than was asked for" {
			continue
		}
		for i := range len(c.text) {
			reusable, err := play(x, []byte(c.text[:i]), []byte(c.text[i:]))
			if err := check(x, reusable, err, c.body, c.cause, c.reusable); err != nil {
				t.Errorf("%s, broken at %d: %v", c.name, i, err)
			}
		}
		reusable, err := play(x, bytes.SplitAfter([]byte(c.text), nil)...)
		if err := check(x, reusable, err, c.body, c.cause, c.reusable); err != nil {
			t.Errorf("%s, byte by byte: %v", c.name, err)
		}
	}
}

func TestHeadAnswersHaveNoBody(t *testing.T) {
	x := &Exchange{HeadOnly: true}
	for _, text := range []string{"Content-Length: 5", "Transfer-Encoding: chunked", "X: y"} {
		if reusable, err := play(x, []byte("HTTP/1.1 200 OK\r\n"+text+"\r\n\r\n")); err != nil || !reusable || x.Size() != 0 {
			t.Errorf("HEAD answered with %s: reusable %v, size %d, %v", text, reusable, x.Size(), err)
		}
	}
}

// The lines between chunks fall on every place of the buffer, which must neither grow nor lose a byte.
func TestLongBodiesNeedLittleRoom(t *testing.T) {
	var text, body bytes.Buffer
	text.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	for i := range 20_000 {
		p := bytes.Repeat([]byte{byte(i)}, 1+i%97)
		fmt.Fprintf(&text, "%x\r\n%s\r\n", len(p), p)
		body.Write(p)
	}
	text.WriteString("0\r\n\r\n")
	x := &Exchange{}
	reusable, err := play(x, text.Bytes())
	if err != nil || !reusable || x.Size() != int64(body.Len()) || x.Sum() != xxhash.Sum64(body.Bytes()) {
		t.Errorf("reusable %v, %d bytes, %v; want %d bytes", reusable, x.Size(), err, body.Len())
	}
	if n := len(x.in.buf.b); n > largeBuffer {
		t.Errorf("the buffer has grown to %d bytes, want at most %d", n, largeBuffer)
	}
}

// maxKept is the bound on kept bodies of these tests.
const maxKept = 1 << 20

func TestKeptBodiesAreBounded(t *testing.T) {
	text := func(n int) []byte {
		return append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n), make([]byte, n)...)
	}
	x := &Exchange{KeepBody: true, MaxKept: maxKept}
	if _, err := play(x, text(maxKept)); err != nil || len(x.Body()) != maxKept {
		t.Errorf("%d bytes are kept as %d, %v", maxKept, len(x.Body()), err)
	}
	if _, err := play(x, text(maxKept+1)); Classify(err) != load.Overload || !strings.Contains(err.Error(), "too large") {
		t.Errorf("%d bytes: %v, want an error that says too large", maxKept+1, err)
	}
	small := &Exchange{KeepBody: true, MaxKept: 10}
	if _, err := play(small, text(11)); Classify(err) != load.Overload {
		t.Errorf("a small body over the bound: %v, want an error", err)
	}
	if _, err := play(small, text(10)); err != nil || len(small.Body()) != 10 {
		t.Errorf("a small body within the bound: %d bytes, %v", len(small.Body()), err)
	}
	x.KeepBody = false
	if _, err := play(x, text(maxKept+1)); err != nil || x.Body() != nil || x.Size() != maxKept+1 {
		t.Errorf("%d bytes that are not kept: %d, %v", maxKept+1, x.Size(), err)
	}
}

func TestHeaders(t *testing.T) {
	x := &Exchange{}
	if _, err := play(x, []byte("HTTP/1.1 200 OK\r\nX-A: \t b c \t\r\nx-a:d\r\nEmpty:\r\nSet-Cookie: e\r\nContent-Length: 0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x-a": "b c", "X-A": "b c", "empty": "", "Content-length": "0"} {
		if got, ok := x.Header(name); got != want || !ok {
			t.Errorf("Header(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
	if got, ok := x.Header("X-"); ok {
		t.Errorf("Header(X-) = %q, want none", got)
	}
	var all []string
	for v := range x.HeaderValues("X-A") {
		all = append(all, string(v))
	}
	if fmt.Sprint(all) != "[b c d]" || !x.SetsCookies() {
		t.Errorf("HeaderValues = %q, SetsCookies = %v, want both values, true", all, x.SetsCookies())
	}
}

func TestFoldedFieldsAreRead(t *testing.T) {
	x := &Exchange{}
	if _, err := play(x, []byte("HTTP/1.1 200 OK\r\nLocation: /a\r\n\t?b\r\nSet-Cookie: a=1;\r\n Path=/\r\nContent-Length: 0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	location, _ := x.Header("Location")
	cookie, _ := x.Header("Set-Cookie")
	if strings.Join(strings.Fields(location), " ") != "/a ?b" || strings.Join(strings.Fields(cookie), " ") != "a=1; Path=/" || !x.SetsCookies() {
		t.Errorf("Location %q, Set-Cookie %q", location, cookie)
	}
}

// FuzzReceive compares with net/http: what both accept, both must read alike,
// and where the answer is broken must not matter.
func FuzzReceive(f *testing.F) {
	for _, c := range answers {
		if len(c.text) < 1000 {
			f.Add([]byte(c.text), 10)
		}
	}
	x := &Exchange{KeepBody: true, MaxKept: maxKept}
	f.Fuzz(func(t *testing.T, text []byte, at int) {
		_, err := play(x, text)
		cause, code, body := Classify(err), x.Code(), string(x.Body())
		switch cause {
		case load.None, load.Protocol, load.Partial, load.Closed, load.Overload:
		default:
			t.Fatalf("%q: cause %v (%v)", text, cause, err)
		}
		if at >= 0 && at < len(text) {
			if _, err := play(x, text[:at], text[at:]); Classify(err) != cause || err == nil && string(x.Body()) != body {
				t.Fatalf("%q: cause %v, broken at %d %v (%v)", text, cause, at, Classify(err), err)
			}
		}
		if cause != load.None {
			return
		}
		if theirCode, theirs, ok := readWithNetHTTP(text); ok && (theirCode != code || theirs != body) {
			t.Errorf("%q is read as %d with %q, by net/http as %d with %q", text, code, body, theirCode, theirs)
		}
	})
}

func readWithNetHTTP(text []byte) (code int, body string, ok bool) {
	in := bufio.NewReader(bytes.NewReader(text))
	for {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return 0, "", false
		}
		if r.StatusCode >= 200 {
			p, err := io.ReadAll(r.Body)
			return r.StatusCode, string(p), err == nil
		}
	}
}
