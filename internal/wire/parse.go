package wire

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
)

// framing is how an answer's body is delimited, with what else its head says of it.
type framing struct {
	length  int64 // bytes; -1 is until the connection closes
	chunked bool
	coded   coded
	cookies bool // the answer sets cookies
	close   bool // the connection cannot be used again
}

// untilClose reports whether the body ends with the connection.
func (f *framing) untilClose() bool { return !f.chunked && f.length < 0 }

// empty reports whether there is no body.
func (f *framing) empty() bool { return !f.chunked && f.length == 0 }

// headEnd returns the length of the head at the front of p, -1 if p does not hold
// its end. It searches from an offset on.
func headEnd(p []byte, from int) int {
	for i := from; ; {
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			return -1
		}
		i += j + 1
		switch {
		case i < len(p) && p[i] == '\n':
			return i + 1
		case i+1 < len(p) && p[i] == '\r' && p[i+1] == '\n':
			return i + 2
		}
	}
}

// cutLine returns the first line of p without its end, LF or CRLF, and what follows it.
func cutLine(p []byte) (line, rest []byte) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return p, nil
	}
	line, rest = p[:i], p[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

// headerValues yields the values of the header fields of a name.
func headerValues(head []byte, name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		_, rest := cutLine(head)
		for len(rest) > 0 {
			var line []byte
			line, rest = cutLine(rest)
			if len(line) > len(name) && line[len(name)] == ':' && equalFold(line[:len(name)], name) &&
				!yield(trim(line[len(name)+1:])) {
				return
			}
		}
	}
}

// equalFold reports whether a and b are equal but for the case of ASCII letters.
func equalFold(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		d := b[i]
		if c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// trim removes spaces and tabs from both ends.
func trim(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	for len(p) > 0 && (p[len(p)-1] == ' ' || p[len(p)-1] == '\t') {
		p = p[:len(p)-1]
	}
	return p
}

// hasToken reports whether a comma-separated list holds a token.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		if equalFold(trim(item), token) {
			return true
		}
	}
	return false
}

// tokenByte holds the bytes of which a header field's name consists (RFC 9110 section 5.6.2).
var tokenByte = func() (is [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		is[c] = true
	}
	return is
}()

func isToken(p []byte) bool {
	for _, c := range p {
		if !tokenByte[c] {
			return false
		}
	}
	return len(p) > 0
}

// IsToken reports whether s may be the name of a header field.
func IsToken(s string) bool { return isToken([]byte(s)) }

// parseStatus reads a status line: HTTP/1.x NNN reason.
func parseStatus(line []byte) (code int, old bool, err error) {
	ok := len(line) >= 12 && string(line[:7]) == "HTTP/1." && (line[7] == '0' || line[7] == '1') && line[8] == ' ' &&
		(len(line) == 12 || line[12] == ' ')
	if ok {
		for _, c := range line[9:12] {
			ok = ok && '0' <= c && c <= '9'
			code = 10*code + int(c-'0')
		}
	}
	if !ok || code < 100 {
		return 0, false, &ProtocolError{fmt.Sprintf("not a status line: %.40q", line)}
	}
	return code, line[7] == '0', nil
}

// errFolded says that a head has a value that is folded over lines.
var errFolded = errors.New("a header field is folded")

// unfold puts each value of a head on one line (RFC 9112 section 5.2): line ends
// before spaces and tabs become spaces, so that the head keeps its length.
func unfold(head []byte) {
	for i := bytes.IndexByte(head, '\n') + 1; i < len(head); {
		j := bytes.IndexByte(head[i:], '\n')
		if j < 0 {
			return
		}
		if i += j + 1; i < len(head) && (head[i] == ' ' || head[i] == '\t') {
			head[i-1] = ' '
			if head[i-2] == '\r' {
				head[i-2] = ' '
			}
		}
	}
}

// parseHead reads a whole head. A head with a folded value is errFolded. It is strict about lengths, names of fields and
// stray line ends, because lenient readers disagree there on what the answer is.
func parseHead(head []byte) (code int, f framing, err error) {
	line, rest := cutLine(head)
	code, old, err := parseStatus(line)
	if err != nil {
		return 0, f, err
	}
	f = framing{length: -1}
	closes, keepAlive := old, false
	for {
		line, rest = cutLine(rest)
		if len(line) == 0 {
			break
		}
		if len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
			return 0, f, errFolded
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || !isToken(line[:colon]) {
			return 0, f, &ProtocolError{fmt.Sprintf("not a header field: %.60q", line)}
		}
		if err := f.field(line[:colon], line[colon+1:], &closes, &keepAlive); err != nil {
			return 0, f, err
		}
	}
	if bytes.IndexByte(head, 0) >= 0 || bytes.Count(head, []byte("\r")) != bytes.Count(head, []byte("\r\n")) {
		return 0, f, &ProtocolError{"the answer's head holds a NUL or a stray carriage return"}
	}
	if f.chunked && f.length >= 0 {
		return 0, f, &ProtocolError{"both Content-Length and Transfer-Encoding"}
	}
	if f.chunked && old {
		return 0, f, &ProtocolError{"Transfer-Encoding in HTTP/1.0, which does not know it"}
	}
	f.close = closes && (!old || !keepAlive)
	return code, f, nil
}

// field takes over what a header field says of the body or the connection.
func (f *framing) field(name, value []byte, closes, keepAlive *bool) error {
	switch len(name) {
	case len("Connection"): // which is len("Set-Cookie")
		if equalFold(name, "Connection") {
			*closes = *closes || hasToken(value, "close")
			*keepAlive = *keepAlive || hasToken(value, "keep-alive")
		} else if equalFold(name, "Set-Cookie") {
			f.cookies = true
		}
	case len("Content-Length"):
		if equalFold(name, "Content-Length") {
			value = trim(value)
			n, ok := parseLength(value)
			if !ok || f.length >= 0 && f.length != n {
				return &ProtocolError{fmt.Sprintf("Content-Length %.40q is not one length", value)}
			}
			f.length = n
		}
	case len("Content-Encoding"):
		if equalFold(name, "Content-Encoding") {
			f.coded.add(value)
		}
	case len("Transfer-Encoding"):
		if equalFold(name, "Transfer-Encoding") {
			value = trim(value)
			if f.chunked || !equalFold(value, "chunked") {
				return &ProtocolError{fmt.Sprintf("Transfer-Encoding %.40q is not supported", value)}
			}
			f.chunked = true
		}
	}
	return nil
}

// parseLength reads a decimal number of bytes.
func parseLength(p []byte) (n int64, ok bool) {
	if len(p) == 0 || len(p) > 18 {
		return 0, false
	}
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// parseChunk reads the size of a chunk from its line; extensions are ignored.
func parseChunk(line []byte) (n int64, ok bool) {
	line, _, _ = bytes.Cut(line, []byte(";"))
	line = trim(line)
	if len(line) == 0 || len(line) > 15 {
		return 0, false
	}
	for _, c := range line {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | int64(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 | int64(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}
