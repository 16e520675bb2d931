package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A step is a compiled query, shared by all VUs.
type step struct {
	key, shared protocol.Key
	origin      wire.Origin
	transport   string
	host, path  string // of HTTPS
	tls         *wire.TLS
	connections protocol.Connections

	name          *expr.Template
	kind          string // of the records, as it is written
	qtype, qclass uint16
	recursion     bool
	edns          EDNS
	retries       bool   // over TCP, what is truncated
	spanName      string // the name, where it is always the same and no secret
}

// A session is what one VU keeps open for one server.
type session struct {
	socket *wire.Socket // nil unless the transport is UDP
	link   *wire.Link   // of TCP and TLS, and of what is truncated over UDP; nil over HTTPS
	agent  *wire.Agent  // nil unless the transport is HTTPS

	renewed bool // each iteration has new connections
	// The numbers of queries are id, id+stride, id+2·stride and so on: none comes again before all 65536 have.
	id, stride uint16
}

// Interrupt makes the query under way return soon.
func (s *session) Interrupt() {
	if s.socket != nil {
		s.socket.Interrupt()
	}
	if s.link != nil {
		s.link.Interrupt()
	}
	if s.agent != nil {
		s.agent.Interrupt()
	}
}

// Close closes the socket and connections.
func (s *session) Close() {
	if s.socket != nil {
		s.socket.Close()
	}
	if s.link != nil {
		s.link.Close()
	}
	if s.agent != nil {
		s.agent.Close()
	}
}

// Reset closes everything if each iteration has new connections.
func (s *session) Reset() {
	if s.renewed {
		s.Close()
	}
}

// open returns what one VU keeps for the step's server.
func (s *step) open(v *protocol.VU) (protocol.Session, error) {
	if hasLineEnd(v.Env.UserAgent) || hasLineEnd(v.Env.Identity()) {
		return nil, &expr.ValueError{Text: "a value with a line end cannot stand in a request's head"}
	}
	t, err := v.Env.SharedTransport(s.shared, func(t *wire.Transport) {
		t.TLS = s.tls
		if s.transport == overHTTPS {
			t.NextProtos = []string{"http/1.1"}
		}
		s.connections.Set(t)
	})
	if err != nil {
		return nil, err
	}
	draw := v.Rand.Uint64()
	sess := &session{renewed: s.connections.Renewed(), id: uint16(draw), stride: uint16(draw>>16) | 1}
	switch s.transport {
	case overHTTPS:
		sess.agent = wire.NewAgent(t, v.ID)
		return sess, nil
	case overUDP:
		sess.socket = wire.NewSocket(t, s.origin, v.ID)
	}
	sess.link = wire.NewLink(t, s.origin, v.ID)
	return sess, nil
}

func hasLineEnd(text string) bool { return strings.ContainsAny(text, "\r\n") }

// An answer is the answer to a query, with the buffers of the call.
type answer struct {
	x    wire.Exchange
	name []byte // as text
	out  []byte // the length of the query, as over TCP, and the query
	end  int    // of the question, in the query
	in   []byte // what was read
	msg  []byte // the answer, in in or x
	room []byte

	over     string // the transport that the answer came by
	code     int
	body     []byte // the answer as JSON
	ignored  int    // datagrams that are no answer
	more     bool   // the server has said more than its answer
	duration time.Duration
}

const spare = 64 << 10 // bytes; a larger buffer is not kept for the next request

func (a *answer) Code() int               { return a.code }
func (a *answer) Body() []byte            { return a.body }
func (a *answer) Duration() time.Duration { return a.duration }
func (a *answer) Size() int64             { return int64(len(a.msg)) }
func (a *answer) Sum() uint64             { return xxhash.Sum64(a.msg) }

// Header returns the name of the answer's code for rcode, and for ignored how many datagrams came that are no answer.
func (a *answer) Header(name string) (string, bool) {
	switch {
	case strings.EqualFold(name, "rcode"):
		return rcodeName(a.code), true
	case strings.EqualFold(name, "ignored"):
		return strconv.Itoa(a.ignored), true
	}
	return "", false
}

// An httpError is an answer over HTTPS that brings no message.
type httpError struct{ status int }

func (e *httpError) Error() string {
	return "the server answers with the status " + strconv.Itoa(e.status) + " of HTTP"
}

// Cause returns load.Status.
func (*httpError) Cause() load.Cause { return load.Status }

var (
	errOther  = &wire.ProtocolError{Text: "the answer has another number or question than the query"}
	errFormat = &wire.ProtocolError{Text: "the answer is not of the type application/dns-message"}
)

// Do performs the request.
func (s *step) Do(c *protocol.Call) {
	a := protocol.Scratch[answer](c)
	if cap(a.body) > spare {
		a.body = nil
	}
	a.msg, a.body, a.code, a.ignored, a.more = nil, a.body[:0], 0, 0, false
	err := s.perform(c, a)
	if err == nil {
		err = a.read(c.Keep.Body)
	}
	if err != nil {
		c.Result.Cause, c.Err = wire.Classify(err), err
		return
	}
	c.Result.Code, c.Result.Coded = int32(a.code), true
	a.duration = time.Duration(c.Result.Duration())
	c.Response = a
}

// Judge is the default expectation: the code NOERROR.
func (s *step) Judge(c *protocol.Call) load.Cause {
	if c.Result.Code == 0 {
		return load.None
	}
	c.Err = &rcodeError{int(c.Result.Code)}
	return load.Status
}

// An rcodeError is a code other than NOERROR.
type rcodeError struct{ code int }

func (e *rcodeError) Error() string { return "the server answers " + rcodeName(e.code) }

// perform asks, and leaves the answer in a.msg.
func (s *step) perform(c *protocol.Call, a *answer) error {
	held, err := c.VU.Session(s.key, s.open)
	if err != nil {
		return err
	}
	sess := held.(*session) //nolint:forcetypeassert // no other protocol uses the key
	if a.name, err = s.name.Append(a.name[:0], c.Scope); err != nil {
		return err
	}
	if a.out, err = s.appendQuery(append(a.out[:0], 0, 0), a.name); err != nil {
		return err
	}
	query := a.out[2:]
	binary.BigEndian.PutUint16(a.out, uint16(len(query)))
	a.end = len(query)
	if s.edns.Size > 0 {
		a.end -= 11
	}
	if s.transport == overHTTPS {
		return s.performHTTPS(c, a, sess)
	}
	binary.BigEndian.PutUint16(query, sess.id)
	sess.id += sess.stride
	a.over = s.transport
	if sess.socket != nil {
		err := sess.socket.Exchange(c.Deadline, &c.Result, func() error { return a.overUDP(sess.socket) })
		if err != nil || !s.retries || a.msg[2]&(bitTC>>8) == 0 {
			return err
		}
		a.over = overTCP
		if err := sess.link.Admit(c.Deadline, &c.Result); err != nil {
			return err
		}
	}
	sent, again := c.Result.Sent, a.over != s.transport
	err = sess.link.Exchange(c.Deadline, true, &c.Result, func() error { return a.overTCP(sess.link) })
	if again {
		c.Result.Sent = sent
	}
	if a.more {
		sess.link.Close() // what would be taken for the next answer
	}
	return err
}

// overUDP sends the query and waits for its answer. Whatever else comes is dropped.
func (a *answer) overUDP(socket *wire.Socket) (err error) {
	for out := a.out[2:]; ; out = nil {
		if a.in, err = socket.Ask(out, a.in); err != nil {
			return err
		}
		if answers(a.out[2:], a.end, a.in) {
			a.msg = a.in
			return nil
		}
		a.ignored++
		socket.Ignored()
	}
}

// overTCP sends the query and reads its answer, each behind its length (RFC 1035 section 4.2.2). It may run twice.
func (a *answer) overTCP(link *wire.Link) error {
	if _, err := link.Write(a.out); err != nil {
		return err
	}
	if cap(a.in) < 4<<10 {
		a.in = make([]byte, 4<<10)
	}
	a.in = a.in[:cap(a.in)]
	n, want := 0, 2
	for n < want {
		if n == len(a.in) { // memory is taken as bytes come, and not as the length says
			a.in = append(a.in, make([]byte, len(a.in))...)
		}
		m, err := link.Read(a.in[n:])
		if n += m; m == 0 && err != nil {
			if n > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
				err = &partialError{n}
			}
			return err
		}
		if n >= 2 && want == 2 {
			want += int(binary.BigEndian.Uint16(a.in))
		}
	}
	a.more = n > want
	a.msg = a.in[2:want]
	if !answers(a.out[2:], a.end, a.msg) {
		return errOther
	}
	return nil
}

// A partialError is the end of a connection within an answer.
type partialError struct{ n int }

func (e *partialError) Error() string {
	return fmt.Sprintf("the connection was closed after %d bytes of the answer", e.n)
}

// Cause returns load.Partial.
func (*partialError) Cause() load.Cause { return load.Partial }

// performHTTPS posts the query, with the number 0 as RFC 8484 has it.
func (s *step) performHTTPS(c *protocol.Call, a *answer, sess *session) error {
	x, env := &a.x, c.VU.Env
	x.KeepBody, x.MaxKept, x.Deadline, x.Follows, x.Idempotent, x.From = true, longest, int64(c.Deadline), false, true, netip.Addr{}
	out := append(append(x.Out[:0], "POST "...), s.path...)
	out = append(append(out, " HTTP/1.1\r\nHost: "...), s.host...)
	out = append(append(out, "\r\nUser-Agent: "...), env.UserAgent...)
	out = append(append(out, "\r\nX-Perfd: "...), env.Identity()...)
	out = protocol.AppendTraceparent(append(out, "\r\ntraceparent: "...), &c.Result)
	out = append(out, "\r\nAccept: application/dns-message\r\nContent-Type: application/dns-message\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(a.out)-2), 10)
	x.Out = append(append(out, "\r\n\r\n"...), a.out[2:]...)
	a.over = overHTTPS
	if err := sess.agent.Do(&s.origin, x, &c.Result); err != nil {
		return err
	}
	if x.Code() != 200 {
		return &httpError{x.Code()}
	}
	kind := ""
	for v := range x.HeaderValues("Content-Type") {
		if len(v) >= len(messageType) && strings.EqualFold(string(v[:len(messageType)]), messageType) {
			kind = messageType
		}
	}
	if kind == "" {
		return errFormat
	}
	if a.msg = x.Body(); !answers(a.out[2:], a.end, a.msg) {
		return errOther
	}
	return nil
}

const messageType = "application/dns-message"

// sections are the names of an answer's sections in JSON, and opening is what stands before the first and before others.
var (
	sections = [...]string{"answers", "authorities", "additionals"}
	opening  = [...]string{`{"`, `],"`}
)

// read reads the whole message, so that one that is broken is found, and writes it as JSON where something reads that.
func (a *answer) read(keep bool) (err error) {
	msg := a.msg
	flags := binary.BigEndian.Uint16(msg[2:])
	a.code = int(flags & 0xf)
	off := a.end
	if binary.BigEndian.Uint16(msg[4:]) == 0 {
		off = headLength
	}
	body := a.body[:0]
	least, has := uint32(0), false
	for i := range sections {
		if keep {
			body = append(append(append(body, opening[min(i, 1)]...), sections[i]...), `":[`...)
		}
		written := false
		for range binary.BigEndian.Uint16(msg[6+2*i:]) {
			var r record
			if a.room, r, err = readRecord(a.room[:0], msg, off); err != nil {
				return err
			}
			off = r.to
			if r.kind == typeOPT && i == 2 {
				a.code |= int(r.ttl>>24) << 4
				continue
			}
			name := len(a.room)
			if a.room, err = appendData(a.room, msg, r); err != nil {
				return err
			}
			if i == 0 && (!has || r.ttl < least) {
				least, has = r.ttl, true
			}
			if !keep {
				continue
			}
			if written {
				body = append(body, ',')
			}
			body = appendRecord(body, a.room[:name], a.room[name:], r)
			written = true
		}
	}
	if !keep {
		return nil
	}
	body = append(append(append(body, `],"rcode":"`...), rcodeName(a.code)...), '"')
	for _, f := range [...]struct {
		name string
		bit  uint16
	}{{"aa", bitAA}, {"tc", bitTC}, {"rd", bitRD}, {"ra", bitRA}, {"ad", bitAD}, {"cd", bitCD}} {
		body = strconv.AppendBool(append(append(append(body, `,"`...), f.name...), `":`...), flags&f.bit != 0)
	}
	if has {
		body = strconv.AppendUint(append(body, `,"min_ttl":`...), uint64(least), 10)
	}
	a.body = append(append(append(body, `,"transport":"`...), a.over...), `"}`...)
	return nil
}

func appendRecord(dst, name, data []byte, r record) []byte {
	dst = appendQuoted(append(dst, `{"name":`...), name)
	dst = append(appendType(append(dst, `,"type":"`...), r.kind), '"')
	dst = append(appendClass(append(dst, `,"class":"`...), r.class), '"')
	dst = strconv.AppendUint(append(dst, `,"ttl":`...), uint64(r.ttl), 10)
	return append(appendQuoted(append(dst, `,"data":`...), data), '}')
}

var _ protocol.SpanMapper = (*step)(nil)

// Span follows OpenTelemetry's attributes of DNS. A name that is a secret is left out.
func (s *step) Span(r *load.Result, _ []byte, span *protocol.Span) {
	span.Name = "DNS " + s.kind
	if s.spanName != "" {
		span.AddText("dns.question.name", s.spanName)
	}
	if s.transport == overUDP {
		span.AddText("network.transport", "udp")
	} else {
		span.AddText("network.transport", "tcp")
	}
	span.AddServer(s.origin.Host, s.origin.Port)
	code := ""
	if r.Code != 0 {
		code = rcodeName(int(r.Code))
	}
	span.AddError(r, code)
}
