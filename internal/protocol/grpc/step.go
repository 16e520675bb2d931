package grpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A step is a compiled request, shared by all VUs.
type step struct {
	to              *endpoint
	service, method string // empty for a step that uses a stream
	path            string
	at              block.Text  // where the method is written
	message         *tree       // nil for an empty one, or none where the client streams
	stream          *streamStep // whose step it is; nil for one without a stream
	metadata        []field
	options         []grpc.CallOption
	credential      string // name of the entry of credentials, empty for none
	sent            atomic.Pointer[credentialFields]

	bound *bound // by the files of descriptors; nil where the server describes itself
}

// bound is what a step is by its method's descriptor. It is immutable.
type bound struct {
	first  payload // the message of the request, or the first of a stream
	greets bool    // there is a first
	method protoreflect.MethodDescriptor
	types  *dynamicpb.Types
	read   int64 // when the server described it, ns since zero; 0 if files do
}

// A payload is a message that is sent.
type payload struct {
	message message
	fixed   []byte // the message, if it is always the same
	isFixed bool
}

func newPayload(m message) payload {
	p := payload{message: m}
	p.fixed, p.isFixed = m.constant()
	return p
}

// fill makes out the message. One that differs from request to request is written to room, which is returned.
func (p *payload) fill(out *outgoing, room []byte, s *expr.Scope) (_ []byte, err error) {
	if out.shared = p.isFixed; p.isFixed {
		out.bytes = p.fixed
		return room, nil
	}
	if cap(room) > scratchSpare {
		room = nil
	}
	room, err = p.message.appendTo(room[:0], s)
	out.bytes = room
	return room, err
}

// credentialFields are those of a credential's value as metadata: names and values in turn.
type credentialFields struct {
	of   *credential.Value
	list []string
}

// scratch is what a call keeps from request to request.
type scratch struct {
	out    outgoing
	room   []byte // of messages that differ from request to request
	in     incoming
	answer answer
	text   []byte
	path   []byte
}

const scratchSpare = 64 << 10 // bytes; a larger buffer is not kept for the next request

// session is one VU's way to the endpoint.
type session struct {
	ctx    context.Context //nolint:containedctx // the parent of its requests' contexts, which Interrupt ends
	cancel context.CancelFunc
	line   *line
	owned  bool                   // the line is the session's own
	renew  bool                   // each iteration has a new connection
	schema atomic.Pointer[schema] // where the server describes itself; nil before it is used
}

func (s *session) Interrupt() { s.cancel() }

func (s *session) Close() {
	s.cancel()
	if s.owned {
		_ = s.line.Close() // it does not fail
	}
}

// Reset closes the connection if each iteration has a new one.
func (s *session) Reset() {
	if s.owned && s.renew {
		s.line.renew()
	}
}

// lines are the channels that all VUs of a run share.
type lines []*line

// Close closes the channels.
func (l lines) Close() error {
	for _, line := range l {
		_ = line.Close() // it does not fail
	}
	return nil
}

func (s *step) open(v *protocol.VU) (protocol.Session, error) {
	sess := &session{renew: s.to.target.Connections.Renewed()}
	whole, err := v.Shared(s.to.key, s.open)
	if err != nil {
		return nil, err
	}
	switch of, isBranch := whole.(*session); {
	case isBranch: // the requests of a user's branches go over one connection
		sess.line = of.line
	case s.to.target.Channels > 0:
		shared, err := v.Env.Shared(s.to.key, func() (io.Closer, error) {
			list := make(lines, max(1, s.to.target.Channels/max(1, v.Env.Shards)))
			for i := range list {
				list[i] = newLine(s.to, v.Env, i)
			}
			return list, nil
		})
		if err != nil {
			return nil, err
		}
		list, ok := shared.(lines)
		if !ok {
			return nil, fmt.Errorf("the shared resource %v is a %T", s.to.key, shared)
		}
		sess.line = list[v.ID%len(list)]
	default:
		sess.line, sess.owned = newLine(s.to, v.Env, v.ID), true
	}
	sess.ctx, sess.cancel = context.WithCancel(context.Background())
	return sess, nil
}

// Do performs the request.
func (s *step) Do(c *protocol.Call) {
	w := protocol.Scratch[scratch](c)
	w.path = append(w.path[:0], s.path...)
	c.Address = w.path
	if cap(w.in.bytes) > scratchSpare {
		w.in.bytes = nil
	}
	if cap(w.answer.body) > scratchSpare {
		w.answer.body = nil
	}
	w.answer = answer{body: w.answer.body[:0]}
	c.Result.Sent = int64(c.VU.Env.Now())
	err := s.perform(c, w)
	w.out = outgoing{}
	if c.Result.Done < c.Result.Sent || err != nil {
		c.Result.Done = int64(c.VU.Env.Now())
	}
	if err != nil {
		c.Result.Cause, c.Err = wire.Classify(err), err
		if errors.Is(err, credential.ErrNone) {
			c.Result.Cause = load.NoCredential
		}
		return
	}
	c.Result.Code, c.Result.Coded = int32(w.answer.code), true //nolint:gosec // a code is small
	c.Response = &w.answer
}

func (s *step) perform(c *protocol.Call, w *scratch) error {
	sess, err := s.session(c.VU)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(sess.ctx, c.VU.Env.Zero.Add(c.Deadline))
	defer cancel()
	by, value, err := s.prove(c.VU.Env)
	if err != nil {
		return err
	}
	list, err := s.fields(c, w, value)
	if err != nil {
		return err
	}
	ch, err := sess.line.take(c.Result.Sent)
	if err != nil {
		return err
	}
	x := exchange{step: s, env: c.VU.Env, channel: ch, session: sess}
	err = x.perform(metadata.AppendToOutgoingContext(ctx, list...), c, w)
	sess.line.give(ch, x.useless)
	if err == nil && w.answer.code == int(codes.Unauthenticated) && by != nil {
		by.Refused(value)
	}
	return err
}

// session returns the VU's way to the endpoint.
func (s *step) session(v *protocol.VU) (*session, error) {
	held, err := v.Session(s.to.key, s.open)
	if err != nil {
		return nil, err
	}
	sess := held.(*session) //nolint:forcetypeassert // no other protocol uses the key
	if sess.ctx.Err() != nil {
		return nil, context.Canceled
	}
	return sess, nil
}

// prove returns the credential that the request is sent with, and its value; nil for none.
func (s *step) prove(env *protocol.Env) (*credential.Credential, *credential.Value, error) {
	if s.credential == "" {
		return nil, nil, nil
	}
	by := env.Credentials[s.credential]
	value := by.Value()
	if value == nil {
		return nil, nil, fmt.Errorf("%w: %s", credential.ErrNone, s.credential)
	}
	return by, value, nil
}

// fields returns the request's metadata: names and values in turn.
func (s *step) fields(c *protocol.Call, w *scratch, v *credential.Value) ([]string, error) {
	env := c.VU.Env
	list := make([]string, 0, 2*len(s.metadata)+8)
	list = append(list, "x-perfd", env.Identity())
	own := true
	for i := range s.metadata {
		f := &s.metadata[i]
		own = own && f.name != "traceparent"
		if f.value == nil {
			list = append(list, f.name, f.fixed)
			continue
		}
		var err error
		if w.text, err = f.value.Append(w.text[:0], c.Scope); err != nil {
			return nil, err
		}
		text := string(w.text)
		if !isValue(f.name, text) {
			return nil, f.at.wrong(errNotPrintable, text)
		}
		list = append(list, f.name, text)
	}
	if own {
		w.text = protocol.AppendTraceparent(w.text[:0], &c.Result)
		list = append(list, "traceparent", string(w.text))
	}
	return append(list, s.proof(v)...), nil
}

// proof returns the metadata of a credential's value, none of nil.
func (s *step) proof(v *credential.Value) []string {
	if v == nil {
		return nil
	}
	fields := s.sent.Load()
	if fields == nil || fields.of != v {
		fields = &credentialFields{v, fieldsOf(v.Header)}
		s.sent.Store(fields)
	}
	return fields.list
}

var errNotPrintable = errors.New("must be printable ASCII")

// fieldsOf returns header fields as they are written in HTTP/1.1 as metadata.
func fieldsOf(header []byte) (list []string) {
	for line := range bytes.Lines(header) {
		if name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(":")); ok {
			list = append(list, strings.ToLower(string(name)), string(bytes.TrimSpace(value)))
		}
	}
	return list
}

// An exchange is what is done on a channel for one request.
type exchange struct {
	step    *step
	env     *protocol.Env
	channel *channel
	session *session
	useless bool // the channel is not to be used again
}

func (x *exchange) perform(ctx context.Context, c *protocol.Call, w *scratch) (err error) {
	s := x.step
	b, err := x.bound(ctx, &c.Result)
	if err != nil {
		return err
	}
	if w.room, err = b.first.fill(&w.out, w.room, c.Scope); err != nil {
		return err
	}
	options := s.options
	if len(c.Keep.Headers) > 0 {
		options = append(slices.Clip(options), grpc.Header(&w.answer.header), grpc.Trailer(&w.answer.trailer))
	}
	r := newRPC(ctx, x.env.Now)
	err = x.channel.cc.Invoke(r, s.path, &w.out, &w.in, options...)
	c.Result.Done = int64(x.env.Now())
	x.measure(r, &c.Result)
	w.answer.duration = time.Duration(c.Result.Duration())
	if err != nil {
		st, err := x.settle(r, err, c.Result.Done >= int64(c.Deadline))
		if st != nil {
			w.answer.code, w.answer.message = int(st.code), st.message
			x.doubt(b, st.code)
		}
		return err
	}
	w.answer.raw = w.in.bytes
	if c.Keep.Body {
		w.answer.body, err = x.decode(ctx, b, w.answer.body[:0], w.answer.raw)
	}
	return err
}

// measure sets the phases and byte counts.
func (x *exchange) measure(r *rpc, res *load.Result) {
	res.SentBytes, res.ReceivedBytes = x.channel.sent.Swap(0), x.channel.received.Swap(0)
	wrote := x.opened(r, res)
	first := r.first.Load()
	if first == noTime || first > res.Done {
		first = res.Done
	}
	first = max(first, wrote)
	res.Phases[load.PhaseFirstByte] = first - wrote
	res.Phases[load.PhaseTransfer] = res.Done - first
}

// opened sets the phases of the opening of a connection, if the request waited for one, and returns when they ended.
func (x *exchange) opened(r *rpc, res *load.Result) int64 {
	wrote := r.sent.Load()
	if wrote == noTime || wrote > res.Done {
		wrote = res.Done
	}
	d := x.channel.dial.Load()
	if d == nil || d.begin < res.Sent || d.end > wrote {
		return res.Sent
	}
	res.Phases[load.PhaseDNS], res.Phases[load.PhaseTLS] = d.dns, d.tls
	// The handshake of HTTP/2 belongs to the connect.
	res.Phases[load.PhaseConnect] = max(0, wrote-res.Sent-d.dns-d.tls)
	return wrote
}

// settle says how an RPC ended: by the server's status, or by an error. Late says that its time was up.
func (x *exchange) settle(r *rpc, err error, late bool) (*statusError, error) {
	st, _ := status.FromError(err)
	code, text := st.Code(), st.Message()
	switch {
	case x.session.ctx.Err() != nil:
		return nil, context.Canceled
	case code == codes.DeadlineExceeded && late:
		// A connection on which nothing at all came may be one to nobody; one that is not open by now may never be.
		x.useless = r.conn.Load() == nil || x.channel.arrived.Load() == r.arrived.Load()
		return nil, context.DeadlineExceeded
	case code == codes.ResourceExhausted && strings.HasPrefix(text, "grpc: received message"):
		return nil, &limitError{fmt.Sprintf("the answer's message is larger than %d bytes (max_read)", x.step.to.target.MaxRead)}
	case code == codes.Internal && strings.HasPrefix(text, "peer header list size exceeded limit"):
		return nil, &limitError{fmt.Sprintf("the answer's metadata comes to more than %d bytes (max_header)", x.step.to.target.MaxHeader)}
	case errors.As(err, new(*wire.ProtocolError)):
		return nil, err
	case code == codes.Internal && (strings.HasPrefix(text, "grpc: ") || strings.HasPrefix(text, "cardinality violation")):
		return nil, &wire.ProtocolError{Text: text}
	case code == codes.Internal && text == io.ErrUnexpectedEOF.Error(): // whatever status came after it
		return nil, &partialError{}
	case strings.HasPrefix(text, notGRPC+": 200 "):
		return nil, &wire.ProtocolError{Text: "the server speaks no gRPC: " + strings.TrimPrefix(text, notGRPC+": 200 (OK); ")}
	case r.answered.Load(), strings.HasPrefix(text, notGRPC):
		return &statusError{code, text}, nil
	case strings.HasPrefix(text, "stream terminated by RST_STREAM"):
		return nil, &resetError{text}
	}
	return nil, x.broken(r, text)
}

// broken returns why a request failed whose server said nothing of it.
func (x *exchange) broken(r *rpc, text string) error {
	nc := r.conn.Load()
	if nc == nil {
		// It was not sent: the connection was not opened, or it ended before.
		x.useless = true
		if d := x.channel.dial.Load(); d != nil && d.err != nil {
			return d.err
		}
		nc = x.channel.conn.Load()
	}
	if nc != nil {
		if err := nc.failure.Load(); err != nil {
			return *err
		}
	}
	if text == draining {
		return &drainedError{}
	}
	return &wire.ProtocolError{Text: text}
}

// draining is what grpc-go says of a request that the server will not answer, because it closes the connection.
const draining = "the connection is draining"

// A drainedError is a request on a connection that the server closes, and on another one that it closes, too.
type drainedError struct{}

func (*drainedError) Error() string {
	return "the server closes the connection without an answer (GOAWAY)"
}

// Cause returns load.Closed.
func (*drainedError) Cause() load.Cause { return load.Closed }

// notGRPC is how grpc-go begins to say that an answer is one of HTTP alone.
const notGRPC = "unexpected HTTP status code received from server"

// A partialError is the end of an answer within a message.
type partialError struct{}

func (*partialError) Error() string { return "the answer ended within a message" }

// Cause returns load.Partial.
func (*partialError) Cause() load.Cause { return load.Partial }

// A limitError is an answer that is larger than the configuration lets it be.
type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

// Cause returns load.Overload.
func (e *limitError) Cause() load.Cause { return load.Overload }

// A resetError is the end of a request by its server without an answer, on a connection that goes on.
type resetError struct{ text string }

func (e *resetError) Error() string { return e.text }

// Cause returns load.Reset.
func (e *resetError) Cause() load.Cause { return load.Reset }

// Credential names the entry of credentials that requests are sent with, empty for none.
func (s *step) Credential() string { return s.credential }

// Judge is the default expectation: the status OK.
func (s *step) Judge(c *protocol.Call) load.Cause {
	if c.Result.Code == int32(codes.OK) {
		return load.None
	}
	a, _ := c.Response.(*answer)
	e := &statusError{code: codes.Code(uint32(c.Result.Code))} //nolint:gosec // it was one
	if a != nil {
		e.message = a.message
	}
	c.Err = e
	return load.Status
}

// Cause returns load.Status.
func (e *statusError) Cause() load.Cause { return load.Status }

// A statusError is a status other than OK.
type statusError struct {
	code    codes.Code
	message string
}

func (e *statusError) Error() string {
	text := "status " + codeName(e.code)
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}
