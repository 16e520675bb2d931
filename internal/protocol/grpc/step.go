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

	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A step is a compiled request, shared by all VUs.
type step struct {
	to              *endpoint
	service, method string
	path            string
	message         *tree
	metadata        []field
	options         []grpc.CallOption
	credential      string // name of the entry of credentials, empty for none
	sent            atomic.Pointer[credentialFields]

	bound *bound // by the files of descriptors; nil where the server describes itself
}

// bound is what a step is by its method's descriptor. It is immutable.
type bound struct {
	message message
	fixed   []byte // the message, if it is always the same
	isFixed bool
	output  protoreflect.MessageDescriptor
	types   *dynamicpb.Types
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
	owned  bool // the line is the session's own
	renew  bool // each iteration has a new connection
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
	c.Result.Code = int32(w.answer.code) //nolint:gosec // a code is small
	c.Response = &w.answer
}

func (s *step) perform(c *protocol.Call, w *scratch) error {
	held, err := c.VU.Session(s.to.key, s.open)
	if err != nil {
		return err
	}
	sess := held.(*session) //nolint:forcetypeassert // no other protocol uses the key
	if sess.ctx.Err() != nil {
		return context.Canceled
	}
	ctx, cancel := context.WithDeadline(sess.ctx, c.VU.Env.Zero.Add(c.Deadline))
	defer cancel()
	var by *credential.Credential
	var value *credential.Value
	if s.credential != "" {
		by = c.VU.Env.Credentials[s.credential]
		if value = by.Value(); value == nil {
			return fmt.Errorf("%w: %s", credential.ErrNone, s.credential)
		}
	}
	if ctx, err = s.withMetadata(ctx, c, w, value); err != nil {
		return err
	}
	ch, err := sess.line.take(c.Result.Sent)
	if err != nil {
		return err
	}
	x := exchange{step: s, call: c, scratch: w, channel: ch, session: sess}
	err = x.perform(ctx)
	sess.line.give(ch, x.useless)
	if err == nil && w.answer.code == int(codes.Unauthenticated) && by != nil {
		by.Refused(value)
	}
	return err
}

// withMetadata returns a context with the request's metadata.
func (s *step) withMetadata(ctx context.Context, c *protocol.Call, w *scratch, v *credential.Value) (context.Context, error) {
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
			return ctx, err
		}
		text := string(w.text)
		if !isValue(f.name, text) {
			return ctx, f.at.wrong(errNotPrintable, text)
		}
		list = append(list, f.name, text)
	}
	if own {
		w.text = protocol.AppendTraceparent(w.text[:0], &c.Result)
		list = append(list, "traceparent", string(w.text))
	}
	if v != nil {
		fields := s.sent.Load()
		if fields == nil || fields.of != v {
			fields = &credentialFields{v, fieldsOf(v.Header)}
			s.sent.Store(fields)
		}
		list = append(list, fields.list...)
	}
	return metadata.AppendToOutgoingContext(ctx, list...), nil
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

// An exchange is one request under way.
type exchange struct {
	step    *step
	call    *protocol.Call
	scratch *scratch
	channel *channel
	session *session
	useless bool // the channel is not to be used again
}

func (x *exchange) perform(ctx context.Context) error {
	s, c, w := x.step, x.call, x.scratch
	b := s.bound
	if b == nil {
		var err error
		if b, err = x.described(ctx); err != nil {
			return err
		}
		c.Result.Sent = int64(c.VU.Env.Now())
	}
	if w.out.shared = b.isFixed; b.isFixed {
		w.out.bytes = b.fixed
	} else {
		if cap(w.room) > scratchSpare {
			w.room = nil
		}
		var err error
		if w.room, err = b.message.appendTo(w.room[:0], c.Scope); err != nil {
			return err
		}
		w.out.bytes = w.room
	}
	options := s.options
	if len(c.Keep.Headers) > 0 {
		options = append(slices.Clip(options), grpc.Header(&w.answer.header), grpc.Trailer(&w.answer.trailer))
	}
	r := newRPC(ctx, c.VU.Env.Now)
	err := x.channel.cc.Invoke(r, s.path, &w.out, &w.in, options...)
	c.Result.Done = int64(c.VU.Env.Now())
	x.measure(r)
	if err != nil {
		return x.settle(r, err)
	}
	w.answer.raw, w.answer.duration = w.in.bytes, time.Duration(c.Result.Duration())
	if c.Keep.Body {
		return w.answer.decode(b.output, b.types)
	}
	return nil
}

// measure sets the phases and byte counts.
func (x *exchange) measure(r *rpc) {
	res := &x.call.Result
	res.SentBytes, res.ReceivedBytes = x.channel.sent.Swap(0), x.channel.received.Swap(0)
	wrote := r.sent.Load()
	if wrote == noTime || wrote > res.Done {
		wrote = res.Done
	}
	if d := x.channel.dial.Load(); d != nil && d.begin >= res.Sent && d.end <= wrote {
		res.Phases[load.PhaseDNS], res.Phases[load.PhaseTLS] = d.dns, d.tls
		// The handshake of HTTP/2 belongs to the connect.
		res.Phases[load.PhaseConnect] = max(0, wrote-res.Sent-d.dns-d.tls)
	} else {
		wrote = res.Sent
	}
	first := r.first.Load()
	if first == noTime || first > res.Done {
		first = res.Done
	}
	first = max(first, wrote)
	res.Phases[load.PhaseFirstByte] = first - wrote
	res.Phases[load.PhaseTransfer] = res.Done - first
}

// settle takes the status of a request that did not end well. It returns nil if the server has answered.
func (x *exchange) settle(r *rpc, err error) error {
	st, _ := status.FromError(err)
	code, text := st.Code(), st.Message()
	switch {
	case x.session.ctx.Err() != nil:
		return context.Canceled
	case code == codes.DeadlineExceeded && x.call.Result.Done >= int64(x.call.Deadline):
		// A connection on which nothing at all came may be one to nobody; one that is not open by now may never be.
		x.useless = r.conn.Load() == nil || x.channel.arrived.Load() == r.arrived.Load()
		return context.DeadlineExceeded
	case code == codes.ResourceExhausted && strings.HasPrefix(text, "grpc: received message"):
		return &limitError{fmt.Sprintf("the answer's message is larger than %d bytes (max_read)", x.step.to.target.MaxRead)}
	case code == codes.Internal && strings.HasPrefix(text, "peer header list size exceeded limit"):
		return &limitError{fmt.Sprintf("the answer's metadata comes to more than %d bytes (max_header)", x.step.to.target.MaxHeader)}
	case errors.As(err, new(*wire.ProtocolError)):
		return err
	case code == codes.Internal && (strings.HasPrefix(text, "grpc: ") || strings.HasPrefix(text, "cardinality violation")):
		return &wire.ProtocolError{Text: text}
	case r.answered.Load(), strings.HasPrefix(text, "unexpected HTTP status code received from server"):
		x.scratch.answer.code, x.scratch.answer.message = int(code), text
		x.scratch.answer.duration = time.Duration(x.call.Result.Duration())
		return nil
	case strings.HasPrefix(text, "stream terminated by RST_STREAM"):
		return &resetError{text}
	}
	return x.broken(r, text)
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
	return &wire.ProtocolError{Text: text}
}

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
