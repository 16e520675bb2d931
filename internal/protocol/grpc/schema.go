package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// A schema is what a server says of itself, as far as the steps of a run have asked. It is safe for concurrent use.
type schema struct {
	steps   sync.Map     // *step to *described
	version atomic.Int64 // how often a description was dropped

	mu       sync.Mutex
	services map[string]*description
}

// A description is what a server says of one service.
type description struct {
	pending chan struct{} // closed when the answer is there; nil while nobody asks
	files   *protoregistry.Files
	read    int64 // when the server said so, ns since zero
}

// described is a step that the server has described, or why it cannot be sent.
type described struct {
	*bound
	err     error
	read    int64 // as description.read
	version int64 // of the schema
}

// rereadAfter is how long a description holds at least, in ns: what a server answers must not make every request ask for it.
const rereadAfter = int64(time.Second)

// Close does nothing: descriptors are memory.
func (*schema) Close() error { return nil }

// schema returns what is known of the endpoint's services.
func (x *exchange) schema() (*schema, error) {
	if s := x.session.schema.Load(); s != nil {
		return s, nil
	}
	held, err := x.env.Shared(protocol.Key{Kind: Kind.Name, Name: "descriptors " + x.step.to.key.Name}, func() (io.Closer, error) {
		return &schema{services: map[string]*description{}}, nil
	})
	if err != nil {
		return nil, err
	}
	s := held.(*schema) //nolint:forcetypeassert // nobody else uses the key
	x.session.schema.Store(s)
	return s, nil
}

// bound returns what the step is by its descriptors. Where the server is asked for them first, the time that this takes is
// no part of the request, whose result r is.
func (x *exchange) bound(ctx context.Context, r *load.Result) (*bound, error) {
	s := x.step
	if s.bound != nil {
		return s.bound, nil
	}
	all, err := x.schema()
	if err != nil {
		return nil, err
	}
	begin := int64(x.env.Now())
	version := all.version.Load()
	held, ok := all.steps.Load(s)
	if ok {
		d := held.(*described) //nolint:forcetypeassert // it holds nothing else
		if d.version == version && (d.err == nil || begin-d.read < rereadAfter || !all.drop(s.service, d.read, begin)) {
			return d.bound, d.err
		}
		version = all.version.Load()
	}
	of, err := x.fetch(ctx, all, r)
	if err != nil {
		return nil, err
	}
	d := &described{read: of.read, version: version}
	d.bound, d.err = s.describe(of)
	all.steps.Store(s, d)
	waited := int64(x.env.Now()) - begin
	r.Sent += waited
	r.Waited += waited
	r.Done = max(r.Done, r.Sent)
	return d.bound, d.err
}

// drop has a service described again that was described at an instant, unless that was just before, and reports whether it does.
func (s *schema) drop(service string, read, now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.services[service]
	if d == nil || d.files == nil || d.read != read || now-read < rereadAfter {
		return false
	}
	d.files = nil
	s.version.Add(1)
	return true
}

// isOlder reports whether the step was described before the channel's connection was opened: the server may be another one by now.
func (x *exchange) isOlder(b *bound) bool {
	nc := x.channel.conn.Load()
	return b.read > 0 && nc != nil && nc.opened > b.read
}

// doubt has the service described again if the status of an answer may mean that the server has changed.
func (x *exchange) doubt(b *bound, code codes.Code) {
	if code == codes.Unimplemented && x.isOlder(b) {
		x.redescribe(b)
	}
}

// redescribe has the service described again before it is asked next, and reports whether it does.
func (x *exchange) redescribe(b *bound) bool {
	all, err := x.schema()
	return err == nil && all.drop(x.step.service, b.read, int64(x.env.Now()))
}

// decode appends a message of an answer as JSON. One that does not fit to what the server said before it was connected to
// has the service described again.
func (x *exchange) decode(ctx context.Context, b *bound, dst, raw []byte) ([]byte, error) {
	older, strange := x.isOlder(b), false
	var look func(protoreflect.Message)
	if older {
		look = func(m protoreflect.Message) { strange = hasUnknown(m) }
	}
	out, err := appendJSON(dst, raw, b.method.Output(), b.types, look)
	if !older || err == nil && !strange || !x.redescribe(b) {
		return out, err
	}
	var none load.Result
	again, why := x.bound(ctx, &none)
	if why != nil {
		return out, err
	}
	return appendJSON(dst, raw, again.method.Output(), again.types, nil)
}

// hasUnknown reports whether a message has fields that its type has not.
func hasUnknown(m protoreflect.Message) (found bool) {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					found = hasUnknown(v.Message())
					return !found
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := 0; i < v.List().Len() && !found; i++ {
				found = hasUnknown(v.List().Get(i).Message())
			}
		default:
			found = hasUnknown(v.Message())
		}
		return !found
	})
	return found
}

// describe compiles the step by what the server says of its service.
func (s *step) describe(of description) (*bound, error) {
	md, wrong := methodOf(of.files, s.service, s.method)
	if wrong != nil {
		return nil, &expr.ValueError{Text: withHint(wrong.text, wrong.hint)}
	}
	var errs block.Errors
	b := s.bind(md, dynamicpb.NewTypes(of.files), &errs)
	if err := errs.Err(); err != nil {
		return nil, &expr.ValueError{Text: err.Error()}
	}
	b.read = of.read
	return b, nil
}

func withHint(text, hint string) string {
	if hint == "" {
		return text
	}
	return text + "; " + hint
}

// fetch returns what the server says of the step's service, for which one request at a time asks.
func (x *exchange) fetch(ctx context.Context, all *schema, r *load.Result) (description, error) {
	service := x.step.service
	for {
		all.mu.Lock()
		d := all.services[service]
		if d == nil {
			d = &description{}
			all.services[service] = d
		}
		if d.files != nil {
			defer all.mu.Unlock()
			return *d, nil
		}
		wait := d.pending
		if wait == nil {
			done := make(chan struct{})
			d.pending = done
			all.mu.Unlock()
			files, err := x.reflect(ctx, r)
			all.mu.Lock()
			defer all.mu.Unlock()
			d.pending = nil
			close(done)
			if err != nil {
				return description{}, err
			}
			d.files, d.read = files, int64(x.env.Now())
			return *d, nil
		}
		all.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			if x.session.ctx.Err() != nil {
				return description{}, context.Canceled
			}
			return description{}, context.DeadlineExceeded
		}
	}
}

// reflect asks the server for the files of the step's service.
func (x *exchange) reflect(ctx context.Context, res *load.Result) (*protoregistry.Files, error) {
	r := newRPC(ctx, x.env.Now)
	files, err := reflectService(r, x.channel.cc, x.step.service)
	if err == nil {
		return files, nil
	}
	res.Done = int64(x.env.Now())
	var refused *noReflectionError
	switch {
	case errors.As(err, &refused):
		return nil, &expr.ValueError{Text: err.Error()}
	case errors.Is(err, errUnknownService):
		return nil, &unknownError{x.step.service}
	}
	x.measure(r, res)
	at, ok := ctx.Deadline()
	st, err := x.settle(r, err, ok && res.Done >= int64(at.Sub(x.env.Zero)))
	if st != nil {
		err = fmt.Errorf("the server's reflection fails: %w", st)
	}
	return nil, err
}

// An unknownError says that a server has not the service that it is asked for.
type unknownError struct{ service string }

func (e *unknownError) Error() string { return "the server has no service " + e.service }

// Cause returns load.Status: gRPC has the status UNIMPLEMENTED for it.
func (e *unknownError) Cause() load.Cause { return load.Status }
