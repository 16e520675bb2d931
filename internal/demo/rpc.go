package demo

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The definitions of the services' gRPC faces.
//
//go:embed services.proto
var servicesProto string

// rpcs are the methods of each service, and the routes that they are other faces of.
var rpcs = map[string]struct {
	service string
	methods map[string]string // route by method; {names} are fields of the message
}{
	"user":         {"demo.v1.Users", map[string]string{"SignIn": "POST /api/auth/login", "Profile": "GET /api/users/profile"}},
	"catalog":      {"demo.v1.Catalog", map[string]string{"List": "GET /api/products?q={q}&limit={limit}", "Get": "GET /api/products/{productId}"}},
	"cart":         {"demo.v1.Carts", map[string]string{"Add": "POST /api/cart/items", "Fill": "POST /api/cart/items"}},
	"order":        {"demo.v1.Orders", map[string]string{"Create": "POST /api/orders", "Get": "GET /api/orders/{orderId}"}},
	"payment":      {"demo.v1.Payments", map[string]string{"Charge": "POST /api/payments"}},
	"inventory":    {"demo.v1.Inventory", map[string]string{"Get": "GET /api/inventory/{productId}", "Watch": "GET /api/inventory/{productId}"}},
	"notification": {"demo.v1.Notifications", map[string]string{"Send": "POST /api/notifications", "Converse": "POST /api/notifications"}},
}

// described returns the descriptors of the gRPC faces.
var described = sync.OnceValue(func() *protoregistry.Files {
	const name = "services.proto"
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{name: servicesProto})}}
	compiled, err := c.Compile(context.Background(), name)
	files := new(protoregistry.Files)
	if err == nil {
		err = files.RegisterFile(compiled[0])
	}
	if err != nil {
		panic(fmt.Sprintf("demo: %v", err)) // the file is the program's own
	}
	return files
})

// A resolver finds the descriptors of the gRPC faces, and whatever else the program has a descriptor of: health, and reflection itself.
type resolver struct{}

func (resolver) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if f, err := described().FindFileByPath(path); err == nil {
		return f, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (resolver) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if d, err := described().FindDescriptorByName(name); err == nil {
		return d, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

// newRPC returns the gRPC face of a service, with reflection and health.
func newRPC(s *Service) (*grpc.Server, error) {
	of := rpcs[s.name]
	d, err := described().FindDescriptorByName(protoreflect.FullName(of.service))
	if err != nil {
		return nil, err
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no service", of.service)
	}
	desc := &grpc.ServiceDesc{ServiceName: of.service, HandlerType: (*any)(nil), Metadata: "services.proto"}
	for i := range sd.Methods().Len() {
		m := rpc{s: s, md: sd.Methods().Get(i)}
		route, ok := of.methods[string(m.md.Name())]
		if !ok {
			return nil, fmt.Errorf("%s has no route", m.md.FullName())
		}
		m.method, m.path, _ = strings.Cut(route, " ")
		if m.md.IsStreamingClient() || m.md.IsStreamingServer() {
			desc.Streams = append(desc.Streams, grpc.StreamDesc{
				StreamName: string(m.md.Name()), Handler: m.stream, ClientStreams: m.md.IsStreamingClient(), ServerStreams: m.md.IsStreamingServer(),
			})
			continue
		}
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: string(m.md.Name()), Handler: m.handle})
	}
	g := grpc.NewServer()
	g.RegisterService(desc, s)
	healthpb.RegisterHealthServer(g, health.NewServer())
	o := reflection.ServerOptions{Services: g, DescriptorResolver: resolver{}}
	reflectionpb.RegisterServerReflectionServer(g, reflection.NewServerV1(o))
	reflectionalphapb.RegisterServerReflectionServer(g, reflection.NewServer(o))
	return g, nil
}

// An rpc is a method that is another face of a route.
type rpc struct {
	s            *Service
	md           protoreflect.MethodDescriptor
	method, path string // of the route
}

// handle asks the service's own route, so that both faces have one state, one fate and one count.
func (m rpc) handle(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // the order is grpc-go's
	in := dynamicpb.NewMessage(m.md.Input())
	if err := decode(in); err != nil {
		return nil, err
	}
	return m.answer(ctx, in)
}

// answer returns the route's answer to a message.
func (m rpc) answer(ctx context.Context, in proto.Message) (*dynamicpb.Message, error) {
	body, err := protojson.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := m.request(ctx, body)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	w := &recorded{header: http.Header{}}
	m.s.handler.ServeHTTP(w, r)
	switch {
	case w.code == 0:
		return nil, status.FromContextError(ctx.Err()).Err()
	case w.code >= 300:
		return nil, w.fail(ctx)
	}
	out := dynamicpb.NewMessage(m.md.Output())
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(w.body.Bytes(), out); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return out, nil
}

// stream asks the service's own route: for each message of a client, whose last answer is the one of a method that answers
// once, or time and again for a message that says how often.
func (m rpc) stream(_ any, s grpc.ServerStream) error {
	var last *dynamicpb.Message
	for {
		in := dynamicpb.NewMessage(m.md.Input())
		switch err := s.RecvMsg(in); {
		case errors.Is(err, io.EOF) && last != nil && !m.md.IsStreamingServer():
			return s.SendMsg(last)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !m.md.IsStreamingClient():
			return m.watch(s, in)
		}
		var err error
		if last, err = m.answer(s.Context(), in); err != nil {
			return err
		}
		if m.md.IsStreamingServer() {
			if err := s.SendMsg(last); err != nil {
				return err
			}
		}
	}
}

// watchEvery is how often a message is sent to a client that does not say.
const watchEvery = time.Second

// watch answers a message time and again, with a number that rises by 1: count times, or for ever where that is 0.
func (m rpc) watch(s grpc.ServerStream, in *dynamicpb.Message) error {
	number := func(name protoreflect.Name) int64 { return in.Get(in.Descriptor().Fields().ByName(name)).Int() }
	every := watchEvery
	if ms := number("every_ms"); ms > 0 {
		every = time.Duration(ms) * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for seq, count := int64(1), number("count"); ; seq++ {
		out, err := m.answer(s.Context(), in)
		if err != nil {
			return err
		}
		out.Set(out.Descriptor().Fields().ByName("seq"), protoreflect.ValueOfInt64(seq))
		if err := s.SendMsg(out); err != nil || seq == count {
			return err
		}
		select {
		case <-tick.C:
		case <-s.Context().Done():
			return status.FromContextError(s.Context().Err()).Err()
		}
	}
}

var fieldInPath = regexp.MustCompile(`\{(\w+)\}`)

// request returns the route's request for a message.
func (m rpc) request(ctx context.Context, message []byte) (*http.Request, error) {
	var fields map[string]any
	if err := json.Unmarshal(message, &fields); err != nil {
		return nil, err
	}
	path := fieldInPath.ReplaceAllStringFunc(m.path, func(name string) string {
		if v, ok := fields[strings.Trim(name, "{}")]; ok {
			return url.QueryEscape(fmt.Sprint(v))
		}
		return ""
	})
	body := io.Reader(http.NoBody)
	if m.method != http.MethodGet {
		body = bytes.NewReader(message)
	}
	r, err := http.NewRequestWithContext(ctx, m.method, path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	md, _ := metadata.FromIncomingContext(ctx)
	for _, name := range []string{"authorization", "traceparent", "tracestate"} {
		for _, v := range md.Get(name) {
			r.Header.Add(name, v)
		}
	}
	return r, nil
}

// recorded is the answer of a route.
type recorded struct {
	header http.Header
	code   int // 0 for none
	body   bytes.Buffer
}

func (w *recorded) Header() http.Header { return w.header }

func (w *recorded) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
}

func (w *recorded) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// statuses are what statuses of HTTP are in gRPC.
var statuses = map[int]codes.Code{
	http.StatusBadRequest: codes.InvalidArgument, http.StatusUnauthorized: codes.Unauthenticated, http.StatusNotFound: codes.NotFound,
	http.StatusConflict: codes.FailedPrecondition, http.StatusInternalServerError: codes.Internal, http.StatusBadGateway: codes.Unavailable,
	http.StatusServiceUnavailable: codes.Unavailable, http.StatusGatewayTimeout: codes.DeadlineExceeded,
}

// fail returns the status of a route's refusal.
func (w *recorded) fail(ctx context.Context) error {
	var why struct{ Error string }
	if err := json.Unmarshal(w.body.Bytes(), &why); err != nil {
		why.Error = strings.TrimSpace(w.body.String())
	}
	if v := w.header.Get("X-Circuit-Breaker"); v != "" {
		if err := grpc.SetTrailer(ctx, metadata.Pairs("x-circuit-breaker", v)); err != nil {
			return err
		}
	}
	code, ok := statuses[w.code]
	if !ok {
		code = codes.Unknown
	}
	return status.Error(code, why.Error)
}

// isRPC reports whether a request is one of gRPC.
func isRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}
