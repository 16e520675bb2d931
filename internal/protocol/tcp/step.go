package tcp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A step is a compiled request, shared by all VUs.
type step struct {
	key, shared protocol.Key
	origin      wire.Origin
	tls         *wire.TLS
	connections protocol.Connections
	maxRead     int // bytes

	onOpen    []exchange
	exchanges []exchange
	fresh     bool // each request has a connection of its own
	listens   bool // it reads before it sends
	answers   bool // it reads something
}

const (
	firstRoom   = 4 << 10  // bytes of a buffer to begin with
	spare       = 64 << 10 // bytes; a larger buffer is not kept for the next request
	mostMatched = 64 << 10 // bytes that a regular expression looks for its match in: it does so again with each piece that comes
)

// A session is one VU's connection.
type session struct {
	*wire.Link
	renewed bool   // each iteration has a new one
	rest    []byte // what was read and is for the next step
}

// Close closes the connection.
func (s *session) Close() {
	s.rest = nil
	s.Link.Close()
}

// Reset closes the connection if each iteration has a new one.
func (s *session) Reset() {
	if s.renewed {
		s.Close()
	}
}

// open returns the connection that one VU keeps for the step's address.
func (s *step) open(v *protocol.VU) (protocol.Session, error) {
	t, err := v.Env.SharedTransport(s.shared, func(t *wire.Transport) {
		t.TLS = s.tls
		s.connections.Set(t)
	})
	if err != nil {
		return nil, err
	}
	return &session{Link: wire.NewLink(t, s.origin, v.ID), renewed: s.connections.Renewed()}, nil
}

// An answer is what a request read last, with the buffers of the call.
type answer struct {
	out   []byte // what the step sends, all of it
	ends  []int  // of each exchange's bytes in out
	greet []byte // what is sent when the connection was opened

	in   []byte // what was read; in[r:w] is not used yet
	r, w int

	body     []byte // in in, as far as it was kept
	size     int64
	digest   xxhash.Digest
	duration time.Duration
	ended    bool // the connection is of no more use
}

func (a *answer) Code() int               { return 0 }
func (a *answer) Body() []byte            { return a.body }
func (a *answer) Duration() time.Duration { return a.duration }
func (a *answer) Size() int64             { return a.size }
func (a *answer) Sum() uint64             { return a.digest.Sum64() }

// Header returns the body in hexadecimal digits for the name hex.
func (a *answer) Header(name string) (string, bool) {
	if strings.EqualFold(name, "hex") {
		return hex.EncodeToString(a.body), true
	}
	return "", false
}

var (
	// errUnasked says that the server has sent something since the request before.
	errUnasked = errors.New("the server sends what nobody asked for")
	errPlain   = &wire.ProtocolError{Text: "the server says more in plaintext than that TLS may begin"}
)

// A partialError is the end of a connection before that of what is read.
type partialError struct{ n int }

func (e *partialError) Error() string {
	return fmt.Sprintf("the connection was closed after %d bytes of what is to be received", e.n)
}

// Cause returns load.Partial.
func (*partialError) Cause() load.Cause { return load.Partial }

// An unexpectedError says that something else was received than is expected.
type unexpectedError struct {
	want *regexp.Regexp
	got  []byte // the beginning
}

func (e *unexpectedError) Error() string { return fmt.Sprintf("%q does not match %s", e.got, e.want) }

// Cause returns load.Expect.
func (*unexpectedError) Cause() load.Cause { return load.Expect }

// Do performs the request.
func (s *step) Do(c *protocol.Call) {
	a := protocol.Scratch[answer](c)
	err := s.perform(c, a)
	if cap(a.in) > spare && err != nil {
		a.in, a.body = nil, nil
	}
	if err != nil {
		c.Result.Cause, c.Err = wire.Classify(err), err
		return
	}
	a.duration = time.Duration(c.Result.Duration())
	c.Response = a
}

func (s *step) perform(c *protocol.Call, a *answer) error {
	held, err := c.VU.Session(s.key, s.open)
	if err != nil {
		return err
	}
	sess := held.(*session) //nolint:forcetypeassert // no other protocol uses the key
	a.out, a.ends = a.out[:0], a.ends[:0]
	for i := range s.exchanges {
		if p := s.exchanges[i].send; p != nil {
			if a.out, err = p.Append(a.out, c.Scope); err != nil {
				return err // nothing was sent
			}
		}
		a.ends = append(a.ends, len(a.out))
	}
	if cap(a.in) > spare {
		a.in = nil
	}
	if s.fresh || len(sess.rest) > 0 && !s.listens && len(s.exchanges) > 0 {
		sess.Close()
	}
	do := func() error { return s.converse(c, a, sess) }
	if s.listens {
		err = sess.Listen(c.Deadline, &c.Result, do)
	} else if err = sess.Exchange(c.Deadline, false, &c.Result, do); errors.Is(err, errUnasked) {
		sent := c.Result.Sent
		err = sess.Exchange(c.Deadline, false, &c.Result, do)
		c.Result.Sent = sent
	}
	if err != nil || s.fresh || a.ended {
		sess.Close()
	}
	return err
}

// converse performs all exchanges on an open connection. It may run twice.
func (s *step) converse(c *protocol.Call, a *answer, sess *session) error {
	a.r, a.w, a.body, a.size, a.ended = 0, 0, nil, 0, false
	a.digest.Reset()
	if sess.Fresh() {
		sess.rest = nil
		if err := s.greet(c, a, sess); err != nil {
			return err
		}
	} else {
		if err := s.quiet(c, a, sess); err != nil {
			return err
		}
		a.need(len(sess.rest))
		a.w = copy(a.in, sess.rest)
	}
	begin, keep := 0, keeps(c.Keep)
	for i := range s.exchanges {
		x := &s.exchanges[i]
		err := x.perform(a.out[begin:a.ends[i]], c, s, a, sess.Link, keep)
		if err != nil {
			return err
		}
		begin = a.ends[i]
	}
	if sess.rest = append(sess.rest[:0], a.in[a.r:a.w]...); len(sess.rest) > spare {
		sess.rest, a.ended = nil, true // a server that goes on and on is not listened to
	}
	return nil
}

// greet performs what a connection that was opened begins with.
func (s *step) greet(c *protocol.Call, a *answer, sess *session) (err error) {
	if len(s.onOpen) == 0 {
		return nil
	}
	for i := range s.onOpen {
		x := &s.onOpen[i]
		a.greet = a.greet[:0]
		if x.send != nil {
			if a.greet, err = x.send.Append(a.greet, c.Scope); err != nil {
				return err
			}
		}
		if err := x.perform(a.greet, c, s, a, sess.Link, false); err != nil {
			return err
		}
	}
	sess.Established()
	a.body, a.size = nil, 0
	a.digest.Reset()
	return nil
}

// quiet returns errUnasked if something has come on a connection of TLS that is used again, which would be taken for the
// answer to this request. It may be a session ticket, too, which ends here. For other connections, wire.Link looks.
func (s *step) quiet(c *protocol.Call, a *answer, sess *session) error {
	if s.listens || len(s.exchanges) == 0 || !sess.Secured() {
		return nil
	}
	a.need(firstRoom)
	by := time.Duration(0) // for what was read of the network already
	if sess.Arrived() {
		by = c.VU.Env.Now() + time.Millisecond
	}
	n, err := sess.ReadBy(a.in, by)
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return errUnasked
	}
	return nil
}

// keeps reports whether expressions read what is received.
func keeps(k *expr.Keep) bool {
	if k.Body {
		return true
	}
	for _, name := range k.Headers {
		if strings.EqualFold(name, "hex") {
			return true
		}
	}
	return false
}

// perform sends and receives.
func (x *exchange) perform(out []byte, c *protocol.Call, s *step, a *answer, link *wire.Link, keep bool) error {
	if x.startTLS {
		if a.w > a.r {
			return errPlain
		}
		if err := link.StartTLS(); err != nil {
			return err
		}
	}
	if len(out) > 0 {
		if _, err := link.Write(out); err != nil {
			return err
		}
	}
	r := x.receive
	if r == nil {
		return nil
	}
	a.body, a.size = nil, 0
	a.digest.Reset()
	if err := r.read(c, s, a, link, keep || r.expect != nil); err != nil {
		return err
	}
	if r.expect != nil && !r.expect.Match(a.body) {
		return &unexpectedError{r.expect, bytes.Clone(a.body[:min(len(a.body), 80)])}
	}
	return nil
}

// need makes room for n bytes behind a.w.
func (a *answer) need(n int) {
	if len(a.in)-a.w >= n {
		return
	}
	if a.r > 0 && a.body == nil { // nothing points to what was used
		a.w = copy(a.in, a.in[a.r:a.w])
		a.r = 0
	}
	if len(a.in)-a.w < n {
		in := make([]byte, max(firstRoom, 2*len(a.in), a.w+n))
		copy(in, a.in[:a.w])
		a.in = in
	}
}

// fill reads more.
func (a *answer) fill(link *wire.Link) error {
	a.need(1)
	n, err := link.Read(a.in[a.w:])
	a.w += n
	if n > 0 {
		return nil
	}
	return err
}

// cut returns the error of a connection that ended within what is read.
func (a *answer) cut(err error) error {
	if a.w > a.r && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return &partialError{a.w - a.r}
	}
	return err
}

// take makes the next n bytes the body, and skips what follows it.
func (a *answer) take(n, skip int) {
	a.body = a.in[a.r : a.r+n]
	a.r += n + skip
	a.size = int64(n)
	_, _ = a.digest.Write(a.body) // it never fails
}

// read reads up to where the receive ends.
func (r *receive) read(c *protocol.Call, s *step, a *answer, link *wire.Link, keep bool) error {
	switch {
	case r.until != nil:
		return r.readUntil(s, a, link)
	case r.regex != nil:
		return r.readMatch(s, a, link)
	case r.prefix != nil:
		return r.readPrefixed(s, a, link)
	case r.length > 0 && keep:
		if r.length > s.maxRead {
			return &wire.TooLargeError{Limit: s.maxRead}
		}
		return a.readLength(r.length, link)
	case r.length > 0:
		return a.stream(link, s, false, int64(r.length), 0)
	case r.end:
		return a.stream(link, s, keep, 0, 0)
	}
	return a.stream(link, s, keep, 0, int64(c.VU.Env.Now())+r.during)
}

func (r *receive) readUntil(s *step, a *answer, link *wire.Link) error {
	for from := a.r; ; {
		if i := bytes.Index(a.in[from:a.w], r.until); i >= 0 {
			a.take(from+i-a.r, len(r.until))
			return nil
		}
		seen := max(0, a.w-a.r-len(r.until)+1)
		if seen > s.maxRead {
			return &wire.TooLargeError{Limit: s.maxRead}
		}
		if err := a.fill(link); err != nil {
			return a.cut(err)
		}
		from = a.r + seen
	}
}

func (r *receive) readMatch(s *step, a *answer, link *wire.Link) error {
	most := min(s.maxRead, mostMatched)
	for {
		if a.w > a.r {
			if at := r.regex.FindIndex(a.in[a.r:a.w]); at != nil {
				a.take(at[1], 0)
				return nil
			}
		}
		if a.w-a.r > most {
			return &wire.TooLargeError{Limit: most}
		}
		if err := a.fill(link); err != nil {
			return a.cut(err)
		}
	}
}

func (r *receive) readPrefixed(s *step, a *answer, link *wire.Link) error {
	for a.w-a.r < r.prefix.Bytes {
		if err := a.fill(link); err != nil {
			return a.cut(err)
		}
	}
	n := r.prefix.value(a.in[a.r:])
	if r.prefix.Includes {
		if n < uint64(r.prefix.Bytes) {
			return &wire.ProtocolError{Text: fmt.Sprintf("the length prefix is %d, which is less than its own length", n)}
		}
		n -= uint64(r.prefix.Bytes)
	}
	if n > uint64(s.maxRead) {
		return &wire.TooLargeError{Limit: s.maxRead}
	}
	a.r += r.prefix.Bytes
	return a.readLength(int(n), link)
}

// value returns the number that bytes begin with.
func (p *LengthPrefix) value(b []byte) (n uint64) {
	if p.Order == "little" {
		switch p.Bytes {
		case 2:
			return uint64(binary.LittleEndian.Uint16(b))
		case 4:
			return uint64(binary.LittleEndian.Uint32(b))
		case 8:
			return binary.LittleEndian.Uint64(b)
		}
	}
	for _, b := range b[:p.Bytes] {
		n = n<<8 | uint64(b)
	}
	return n
}

// readLength reads n bytes. Memory for them is taken as they come: a length is easily said.
func (a *answer) readLength(n int, link *wire.Link) error {
	for a.w-a.r < n {
		if err := a.fill(link); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return &partialError{a.w - a.r}
			}
			return err
		}
	}
	a.take(n, 0)
	return nil
}

// stream reads up to a number of bytes, up to a time, or, where both are 0, to the end of the connection. Where nothing of
// it is kept, it has no bound.
func (a *answer) stream(link *wire.Link, s *step, keep bool, length, by int64) (err error) {
	begin := a.r
	for {
		n := a.w - a.r
		if length > 0 {
			n = int(min(int64(n), length-a.size))
		}
		_, _ = a.digest.Write(a.in[a.r : a.r+n]) // it never fails
		a.size += int64(n)
		a.r += n
		switch {
		case keep && a.size > int64(s.maxRead):
			return &wire.TooLargeError{Limit: s.maxRead}
		case length > 0 && a.size == length:
			return nil
		case !keep:
			a.r, a.w = 0, 0
		}
		if err = a.piece(link, keep, &begin, by); err != nil {
			break
		}
	}
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case closed && length > 0 && a.size > 0:
		return &partialError{int(a.size)}
	case closed && length == 0:
		a.ended = true
	case by > 0 && errors.Is(err, errOver):
	default:
		return err
	}
	if keep {
		a.body = a.in[begin:a.r]
	}
	return nil
}

// errOver is the end of the time in which whatever comes is read.
var errOver = errors.New("the time is over")

// piece reads more for stream, whose kept bytes begin at *begin.
func (a *answer) piece(link *wire.Link, keep bool, begin *int, by int64) error {
	if keep && *begin > 0 { // what is before was used
		a.w = copy(a.in, a.in[*begin:a.w])
		a.r -= *begin
		*begin = 0
	}
	if len(a.in) == a.w {
		in := make([]byte, max(firstRoom, 2*len(a.in)))
		copy(in, a.in[:a.w])
		a.in = in
	}
	var n int
	var err error
	if by > 0 {
		n, err = link.ReadBy(a.in[a.w:], time.Duration(by))
	} else {
		n, err = link.Read(a.in[a.w:])
	}
	a.w += n
	switch {
	case n > 0:
		return nil
	case by > 0 && errors.Is(err, os.ErrDeadlineExceeded) && link.Now() >= by:
		return errOver
	}
	return err
}

var _ protocol.SpanMapper = (*step)(nil)

// Span gives the span of a request its name, and says where it went.
func (s *step) Span(r *load.Result, _ []byte, span *protocol.Span) {
	span.Name = Kind.Name
	span.AddText("network.transport", "tcp")
	span.AddServer(s.origin.Host, s.origin.Port)
	span.AddError(r, "")
}
