package http

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A step is a compiled request, shared by all VUs.
type step struct {
	key         protocol.Key
	origin      wire.Origin
	tls         *wire.TLS
	identities  *identities // nil where the client certificate, if any, is that of tls
	connections Connections
	version     wire.Version

	method    string
	maxRead   int    // bytes of a body that expressions read
	maxHeader int    // bytes of an answer's head
	template  string // the path for spans, empty where it holds a secret
	spans     spanning
	redirects int
	codings   wire.Codings // that answers may come in
	cookies   bool
	stays     bool // cookies outlast their iteration
	// credential names the entry of credentials that requests are sent with, empty for none.
	credential string

	// The request, in the order of the wire: line and fields, Cookie, Content-Type and Content-Length, body.
	head        []segment // request line, and all fields but those that follow
	own         []segment // the part of head that perfd writes itself, to every origin; other fields may be secrets
	contentType []segment
	body        []segment
	file        string // path of the file that is streamed as the body
	bodiless    bool   // there is neither a body nor a Content-Length
}

// scratch is what a call keeps from request to request.
type scratch struct {
	x    wire.Exchange
	text []byte // a slot's value before it is encoded
	head int    // offset in x.Out of Cookie and what follows
	room []byte // buffer for bodies that differ from request to request
	body []byte // the request's body: in room, or the step's
	file *os.File

	at *wire.Origin // that the last request was sent to

	proof proof              // what a credential wrote to the head of the last request
	value *credential.Value  // of the step's credential
	sign  credential.Request // what a signature is of
}

const scratchSpare = 64 << 10 // bytes; a larger buffer is not kept for the next request

// session is one VU's user agent and cookies for one target.
type session struct {
	transport *transport
	agent     *wire.Agent // mu guards that it is replaced, and its use by others than the VU
	over      bool        // it was interrupted
	renew     bool        // each iteration has new connections
	stays     bool        // cookies outlast their iteration
	of        *session    // of the VU whose branch this session's is, nil for none; it has the cookies
	mu        sync.Mutex
	jar       wire.Jar // mu guards it, for branches

	presents certificate // the client certificate that the agent presents, where it is one of a row
	names    []byte      // the room for its names
}

// cookies returns the session that has the cookies, locked.
func (s *session) cookies() *session {
	if s.of != nil {
		s = s.of
	}
	s.mu.Lock()
	return s
}

// AppendCookies appends the Cookie field of a request for a path, unless no cookie fits.
func (s *session) AppendCookies(dst []byte, o *wire.Origin, path []byte) []byte {
	held := s.cookies()
	defer held.mu.Unlock()
	return held.jar.Append(dst, o, path, wire.WithinSite, time.Now())
}

// SetCookie keeps the cookie of a field of an answer to a request for a path.
func (s *session) SetCookie(field []byte, o *wire.Origin, path []byte) {
	held := s.cookies()
	defer held.mu.Unlock()
	held.jar.Set(field, o, path, time.Now())
}

// Interrupt makes the request under way return soon.
func (s *session) Interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.agent.Interrupt()
}

// Close closes the connections.
func (s *session) Close() { s.agent.Close() }

// replace closes the connections and has another agent open others.
func (s *session) replace(agent *wire.Agent) {
	s.agent.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.agent = agent; s.over {
		agent.Interrupt()
	}
}

// Reset forgets cookies unless they stay, and closes connections if each iteration has new ones.
func (s *session) Reset() {
	if s.of == nil && !s.stays {
		s.jar.Clear()
	}
	if s.renew {
		s.agent.Close()
	}
}

// transport is shared by the sessions of one run and target.
type transport struct {
	*wire.Transport
	another func(*wire.TLS) *wire.Transport
	opened  opened
}

func (t *transport) Close() error {
	t.Transport.Close()
	return nil
}

func (s *step) open(v *protocol.VU) (protocol.Session, error) {
	t, err := s.shared(v)
	if err != nil {
		return nil, err
	}
	sess := &session{transport: t, agent: wire.NewAgent(t.Transport, v.ID), renew: s.connections.Renewed(), stays: s.stays}
	whole, err := v.Shared(s.key, s.open)
	if err != nil {
		return nil, err
	}
	sess.of, _ = whole.(*session)
	return sess, nil
}

// shared returns the transport of the run and target.
func (s *step) shared(v *protocol.VU) (*transport, error) {
	env := v.Env
	if hasLineEnd([]byte(env.UserAgent)) || hasLineEnd([]byte(env.Identity())) {
		return nil, errLineEnd
	}
	shared, err := env.Shared(s.key, func() (io.Closer, error) {
		another := func(with *wire.TLS) *wire.Transport {
			t := env.Transport()
			t.TLS, t.NextProtos, t.Version = with, []string{"http/1.1"}, s.version
			s.connections.Set(t)
			t.Pool = s.connections.share(env.Shards)
			return t
		}
		return &transport{Transport: another(s.tls), another: another}, nil
	})
	if err != nil {
		return nil, err
	}
	t, ok := shared.(*transport)
	if !ok {
		return nil, fmt.Errorf("the shared resource %v is a %T", s.key, shared)
	}
	return t, nil
}

// Do performs the request.
func (s *step) Do(c *protocol.Call) {
	w := protocol.Scratch[scratch](c)
	err := s.perform(c, w)
	if c.Address != nil {
		c.Address = w.x.Target() // of the last redirect
	}
	at := w.at
	w.x.Stream, w.body, w.value, w.sign, w.at = nil, nil, nil, credential.Request{}, nil
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	if err != nil {
		c.Result.Cause, c.Err = wire.Classify(err), err
		if errors.Is(err, credential.ErrNone) {
			c.Result.Cause = load.NoCredential
		}
		return
	}
	c.Result.Code = int32(w.x.Code())
	c.Response = &w.x
	if c.Keep.Cookies {
		held, _ := c.VU.Session(s.key, s.open) // which is open
		sess, _ := held.(*session)
		c.Response = &cookied{&w.x, sess, at, s.cookies}
	}
}

// cookied is an answer of which cookies are read.
type cookied struct {
	*wire.Exchange
	sess *session
	at   *wire.Origin
	held bool // the session keeps cookies
}

// Cookie returns a cookie of the session, or of the answer where the session keeps none.
func (c *cookied) Cookie(name string) (value string, ok bool) {
	if c.held && c.sess != nil {
		held := c.sess.cookies()
		defer held.mu.Unlock()
		return held.jar.Get(name, c.at, time.Now())
	}
	var jar wire.Jar
	for field := range c.HeaderValues("Set-Cookie") {
		jar.Set(field, c.at, []byte("/"), time.Now())
	}
	return jar.Get(name, c.at, time.Now())
}

func (s *step) perform(c *protocol.Call, w *scratch) error {
	held, err := c.VU.Session(s.key, s.open)
	if err != nil {
		return err
	}
	sess := held.(*session) //nolint:forcetypeassert // no other protocol uses the key
	if s.identities != nil {
		if err := s.identities.present(sess, sess.transport, c.Scope, c.VU.ID); err != nil {
			return err
		}
	}
	x := &w.x
	x.KeepBody, x.MaxKept, x.Decode, x.Deadline, x.Follows = c.Keep.Body, s.maxRead, s.codings, int64(c.Deadline), false
	x.From, x.MaxHead = netip.Addr{}, s.maxHeader
	var by *credential.Credential
	if s.credential != "" {
		by = c.VU.Env.Credentials[s.credential]
		if w.value = by.Value(); w.value == nil {
			return fmt.Errorf("%w: %s", credential.ErrNone, s.credential)
		}
	}
	if err := s.encode(c, w, sess); err != nil {
		return err
	}
	c.Address = x.Target()
	if err := s.exchange(&s.origin, s.method, w, sess, c); err != nil {
		return err
	}
	if s.redirects > 0 && isRedirect(x.Code()) {
		if err := s.follow(c, w, sess); err != nil {
			return err
		}
	}
	if by != nil && x.Code() == unauthorized {
		by.Refused(w.value)
	}
	return nil
}

// unauthorized is the status of a request whose credential was not accepted.
const unauthorized = 401

// Credential names the entry of credentials that requests are sent with, empty for none.
func (s *step) Credential() string { return s.credential }

// appendCredential appends the header fields of the step's credential, which may sign the request that w holds.
func (s *step) appendCredential(method string, w *scratch) (err error) {
	if w.value == nil {
		return nil
	}
	x := &w.x
	w.proof = proof{value: w.value, from: len(x.Out)}
	defer func() { w.proof.to = len(x.Out) }()
	x.Out = append(x.Out, w.value.Header...)
	if w.value.Sign == nil {
		return nil
	}
	w.sign = credential.Request{Method: method, Host: hostOf(x.Out), Target: x.Target(), Body: w.body, At: time.Now()}
	if w.file != nil {
		w.sign.File = w.file
	}
	x.Out, err = w.value.Sign(x.Out, &w.sign)
	return err
}

// A proof is what a request says by the value of a credential: the fields of its head between two offsets, and perhaps a
// part of its query. The zero proof is none.
type proof struct {
	value    *credential.Value
	from, to int
}

// hostOf returns the value of the Host field of a request's head.
func hostOf(head []byte) []byte {
	_, rest, _ := bytes.Cut(head, []byte("\r\nHost: "))
	host, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return host
}

// exchange performs the request that x.Out holds.
func (s *step) exchange(o *wire.Origin, method string, w *scratch, sess *session, c *protocol.Call) error {
	x := &w.x
	w.at = o
	x.HeadOnly, x.Idempotent = method == "HEAD", methods[method]
	if err := sess.agent.Do(o, x, &c.Result); err != nil {
		return err
	}
	if s.cookies && x.SetsCookies() {
		now, path := time.Now(), pathOf(x.Target())
		held := sess.cookies()
		defer held.mu.Unlock()
		for field := range x.HeaderValues("Set-Cookie") {
			held.jar.Set(field, o, path, now)
		}
	}
	return nil
}

// encode writes the request to w.x.
func (s *step) encode(c *protocol.Call, w *scratch, sess *session) error {
	x := &w.x
	x.Stream, w.proof = nil, proof{}
	if cap(x.Out) > 2*scratchSpare {
		x.Out = nil
	}
	var err error
	if x.Out, err = appendAll(x.Out[:0], s.head, c, w); err != nil {
		return err
	}
	w.head = len(x.Out)
	s.appendCookies(&s.origin, wire.WithinSite, w, sess)
	if !s.bodiless {
		if err := s.fillBody(c, w); err != nil {
			return err
		}
	}
	if err := s.appendCredential(s.method, w); err != nil {
		return err
	}
	if s.bodiless {
		x.Out = append(x.Out, "\r\n"...)
		return nil
	}
	return s.appendBody(c, w)
}

// appendCookies appends the Cookie field.
func (s *step) appendCookies(o *wire.Origin, by wire.Crossing, w *scratch, sess *session) {
	if !s.cookies {
		return
	}
	held := sess.cookies()
	defer held.mu.Unlock()
	if held.jar.Len() > 0 {
		w.x.Out = held.jar.Append(w.x.Out, o, pathOf(w.x.Target()), by, time.Now())
	}
}

// fillBody sets w.body or w.file to the request's body.
func (s *step) fillBody(c *protocol.Call, w *scratch) (err error) {
	if s.file != "" {
		w.file, err = os.Open(s.file)
		return err
	}
	var ok bool
	if w.body, ok = constant(s.body); ok {
		return nil
	}
	if cap(w.room) > scratchSpare {
		w.room = nil
	}
	w.room, err = appendAll(w.room[:0], s.body, c, w)
	w.body = w.room
	return err
}

// appendBody appends the header fields of the body, and the body. A long body or
// file is streamed instead, so that VUs that send the same body share its bytes.
func (s *step) appendBody(c *protocol.Call, w *scratch) (err error) {
	x := &w.x
	if x.Out, err = appendAll(x.Out, s.contentType, c, w); err != nil {
		return err
	}
	switch {
	case w.file != nil:
		st, err := w.file.Stat()
		if err != nil {
			return err
		}
		if _, err := w.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		x.Stream, x.StreamSize = w.file, st.Size()
	case len(w.body) > scratchSpare:
		x.Stream, x.StreamSize = bytes.NewReader(w.body), int64(len(w.body))
	default:
		x.Out = appendLength(x.Out, int64(len(w.body)))
		x.Out = append(x.Out, w.body...)
		return nil
	}
	x.Out = appendLength(x.Out, x.StreamSize)
	return nil
}

// appendLength appends Content-Length and ends the head.
func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "\r\n\r\n"...)
}

// Judge is the default expectation: a status below 400.
func (s *step) Judge(c *protocol.Call) load.Cause {
	if c.Result.Code < 400 {
		return load.None
	}
	c.Err = &statusError{int(c.Result.Code)}
	return load.Status
}

type statusError struct{ code int }

func (e *statusError) Error() string   { return "status " + strconv.Itoa(e.code) }
func (*statusError) Cause() load.Cause { return load.Status }
