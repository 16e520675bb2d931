package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// A schema is what a server says of itself, as far as the steps of a run have asked. It is safe for concurrent use.
type schema struct {
	bound sync.Map // *step to *described

	mu      sync.Mutex
	pending map[string]chan struct{} // by service; closed when the answer is there
	files   map[string]*protoregistry.Files
}

// described is a step that the server has described, or why it cannot be sent.
type described struct {
	*bound
	err error
}

// Close does nothing: descriptors are memory.
func (*schema) Close() error { return nil }

// described returns what the server says of the step.
func (x *exchange) described(ctx context.Context) (*bound, error) {
	s := x.step
	key := protocol.Key{Kind: Kind.Name, Name: "descriptors " + s.to.key.Name}
	held, err := x.call.VU.Env.Shared(key, func() (io.Closer, error) {
		return &schema{pending: map[string]chan struct{}{}, files: map[string]*protoregistry.Files{}}, nil
	})
	if err != nil {
		return nil, err
	}
	all := held.(*schema) //nolint:forcetypeassert // nobody else uses the key
	if d, ok := all.bound.Load(s); ok {
		d := d.(*described) //nolint:forcetypeassert // it holds nothing else
		return d.bound, d.err
	}
	files, err := x.fetch(ctx, all)
	if err != nil {
		return nil, err
	}
	d := &described{}
	d.bound, d.err = s.describe(files)
	all.bound.Store(s, d)
	return d.bound, d.err
}

// describe compiles the step by the files that describe its service.
func (s *step) describe(files *protoregistry.Files) (*bound, error) {
	md, wrong := methodOf(files, s.service, s.method)
	if wrong != nil {
		return nil, &expr.ValueError{Text: withHint(wrong.text, wrong.hint)}
	}
	var errs block.Errors
	b := s.bind(md, dynamicpb.NewTypes(files), &errs)
	if err := errs.Err(); err != nil {
		return nil, &expr.ValueError{Text: err.Error()}
	}
	return b, nil
}

func withHint(text, hint string) string {
	if hint == "" {
		return text
	}
	return text + "; " + hint
}

// fetch returns the files of the step's service, for which one request at a time asks.
func (x *exchange) fetch(ctx context.Context, all *schema) (*protoregistry.Files, error) {
	service := x.step.service
	for {
		all.mu.Lock()
		if files := all.files[service]; files != nil {
			all.mu.Unlock()
			return files, nil
		}
		wait := all.pending[service]
		if wait == nil {
			done := make(chan struct{})
			all.pending[service] = done
			all.mu.Unlock()
			files, err := x.reflect(ctx)
			all.mu.Lock()
			if err == nil {
				all.files[service] = files
			}
			delete(all.pending, service)
			all.mu.Unlock()
			close(done)
			return files, err
		}
		all.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			if x.session.ctx.Err() != nil {
				return nil, context.Canceled
			}
			return nil, context.DeadlineExceeded
		}
	}
}

// reflect asks the server for the files of the step's service.
func (x *exchange) reflect(ctx context.Context) (*protoregistry.Files, error) {
	r := newRPC(ctx, x.call.VU.Env.Now)
	files, err := reflectService(r, x.channel.cc, x.step.service)
	if err == nil {
		return files, nil
	}
	x.call.Result.Done = int64(x.call.VU.Env.Now())
	var refused *noReflectionError
	switch {
	case errors.As(err, &refused):
		return nil, &expr.ValueError{Text: err.Error()}
	case errors.Is(err, errUnknownService):
		return nil, &unknownError{x.step.service}
	}
	x.measure(r)
	if err = x.settle(r, err); err == nil {
		code := codes.Code(uint32(x.scratch.answer.code)) //nolint:gosec // it was one
		err = fmt.Errorf("the server's reflection fails: %w", &statusError{code, x.scratch.answer.message})
	}
	return nil, err
}

// An unknownError says that a server has not the service that it is asked for.
type unknownError struct{ service string }

func (e *unknownError) Error() string { return "the server has no service " + e.service }

// Cause returns load.Status: gRPC has the status UNIMPLEMENTED for it.
func (e *unknownError) Cause() load.Cause { return load.Status }
