package grpc

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// A made is a server whose services a text defines.
type made struct {
	file protoreflect.FileDescriptor
	g    *grpc.Server
	done chan error
}

// FindFileByPath returns the server's own file, by which reflection describes it.
func (m *made) FindFileByPath(string) (protoreflect.FileDescriptor, error) { return m.file, nil }

// FindDescriptorByName returns a descriptor of the server's own file.
func (m *made) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if s := m.file.Services().ByName(name.Name()); s != nil {
		return s, nil
	}
	return m.file.Messages().ByName(name.Name()), nil
}

// A talk is what a server says on a stream: it gets messages and sends them as JSON.
type talk struct {
	grpc.ServerStream
	md protoreflect.MethodDescriptor
}

func (k *talk) get() (string, error) {
	in := dynamicpb.NewMessage(k.md.Input())
	if err := k.RecvMsg(in); err != nil {
		return "", err
	}
	text, err := protojson.Marshal(in)
	return strings.ReplaceAll(string(text), " ", ""), err
}

func (k *talk) send(text string) error {
	out := dynamicpb.NewMessage(k.md.Output())
	if err := protojson.Unmarshal([]byte(text), out); err != nil {
		return err
	}
	return k.SendMsg(out)
}

// serveProto serves what the only service of a definition does, by method.
func serveProto(t testing.TB, l net.Listener, definition string, does map[string]func(*talk) error, options ...grpc.ServerOption) *made {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"made.proto": definition})}}
	files, err := c.Compile(t.Context(), "made.proto")
	if err != nil {
		t.Fatal(err)
	}
	m := &made{file: files[0], g: grpc.NewServer(options...), done: make(chan error, 1)}
	sd := m.file.Services().Get(0)
	desc := &grpc.ServiceDesc{ServiceName: string(sd.FullName()), HandlerType: (*any)(nil)}
	for name, do := range does {
		md := sd.Methods().ByName(protoreflect.Name(name))
		// A method that takes one message and answers one is a stream of one each.
		desc.Streams = append(desc.Streams, grpc.StreamDesc{
			StreamName: name, ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, s grpc.ServerStream) error { return do(&talk{s, md}) },
		})
	}
	m.g.RegisterService(desc, m)
	reflectionpb.RegisterServerReflectionServer(m.g, reflection.NewServerV1(reflection.ServerOptions{Services: m.g, DescriptorResolver: m}))
	go func() { m.done <- m.g.Serve(l) }()
	t.Cleanup(m.g.Stop)
	return m
}

// stop ends the server and its connections.
func (m *made) stop(t testing.TB) {
	t.Helper()
	m.g.Stop()
	if err := <-m.done; err != nil {
		t.Fatal(err)
	}
}

// listen listens on an address, which may be one of a server that has just ended.
func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	var c net.ListenConfig
	l, err := c.Listen(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A server that is redeployed in mid-run with another description of its service is read by that, and asked for it once.
func TestARedeployedServerIsDescribedAgain(t *testing.T) {
	t.Parallel()
	const head = `syntax = "proto3"; package made; message Ask {} service Stock { rpc Get(Ask) returns (Reply); } `
	reply := func(text string) map[string]func(*talk) error {
		return map[string]func(*talk) error{"Get": func(k *talk) error {
			if _, err := k.get(); err != nil {
				return err
			}
			return k.send(text)
		}}
	}
	for name, c := range map[string]struct{ message, answer, want string }{
		"with a field more":             {`message Reply { string name = 1; Size size = 2; } message Size { int32 of = 1; }`, `{"name": "lamp", "size": {"of": 7}}`, `{"name":"lamp","size":{"of":7}}`},
		"with a field of another type":  {`message Reply { fixed64 name = 1; }`, `{"name": 7}`, `{"name":7}`},
		"with a field more, in a field": {`message Reply { repeated Part parts = 3; } message Part { string a = 1; string b = 2; }`, `{"parts": [{"a": "x", "b": "y"}]}`, `{"parts":[{"a":"x","b":"y"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := listen(t, "127.0.0.1:0")
			address := l.Addr().String()
			first := serveProto(t, l, head+`message Reply { string name = 1; repeated Part parts = 3; } message Part { string a = 1; }`, reply(`{"name": "lamp", "parts": [{"a": "x"}]}`))
			u := newUser(t)
			s := mustCompile(t, "http://"+address, "", `{method: made.Stock/Get}`, nil)
			if got, want := body(t, u.do(s, nil)), `{"name":"lamp","parts":[{"a":"x"}]}`; got != want {
				t.Fatalf("body = %s, want %s", got, want)
			}
			if r := &u.call.Result; r.Waited <= 0 || r.Sent-r.Due-r.Waited > int64(time.Second) {
				t.Errorf("due %d, sent %d, of which %d for descriptors", r.Due, r.Sent, r.Waited)
			}
			first.stop(t)
			serveProto(t, listen(t, address), head+c.message, reply(c.answer))
			// A description holds for a while, in which a message may make no sense.
			for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
				if call := u.do(s, nil); call.Result.Cause == load.None && string(call.Response.Body()) == c.want {
					break
				} else if time.Since(begin) > 45*time.Second {
					t.Fatalf("%v: %v, want %s", call.Result.Cause, call.Err, c.want)
				}
			}
			for range 3 {
				if got := body(t, u.do(s, nil)); got != c.want {
					t.Errorf("body = %s, want %s", got, c.want)
				}
			}
			for _, held := range u.shared {
				if all, ok := held.(*schema); ok && all.version.Load() != 1 {
					t.Errorf("the service was described again %d times, want once", all.version.Load())
				}
			}
		})
	}
}

// However often a server is connected to again, it is not asked at every request.
func TestADescriptionHoldsForAWhile(t *testing.T) {
	s := &schema{services: map[string]*description{"made.Stock": {files: &protoregistry.Files{}, read: 100}}}
	for _, c := range []struct {
		what      string
		service   string
		read, now int64
		want      bool
	}{
		{"another service", "made.Other", 100, 100 + 2*rereadAfter, false},
		{"what was described since", "made.Stock", 50, 100 + 2*rereadAfter, false},
		{"just after", "made.Stock", 100, 99 + rereadAfter, false},
		{"in time", "made.Stock", 100, 100 + rereadAfter, true},
		{"once more", "made.Stock", 100, 100 + 2*rereadAfter, false},
	} {
		if got := s.drop(c.service, c.read, c.now); got != c.want {
			t.Errorf("%s: is described again: %t, want %t", c.what, got, c.want)
		}
	}
}

// body returns the body of an answer.
func body(t testing.TB, c *protocol.Call) string {
	t.Helper()
	if c.Result.Cause != load.None {
		t.Fatalf("cause %v: %v", c.Result.Cause, c.Err)
	}
	return string(c.Response.Body())
}

// A method that the server had not when it described itself is asked for again, and so is one that it has no more.
func TestAMethodComesAndGoes(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	address := l.Addr().String()
	const head = `syntax = "proto3"; package made; message Ask {} message Reply { string name = 1; } `
	answer := map[string]func(*talk) error{"Get": func(k *talk) error { return k.send(`{"name": "lamp"}`) }}
	with := func(methods string) string { return head + "service Stock { " + methods + " }" }
	now := serveProto(t, l, with(`rpc Get(Ask) returns (Reply);`), answer)
	u := newUser(t)
	s := mustCompile(t, "http://"+address, "", `{method: made.Stock/Get}`, nil)
	body(t, u.do(s, nil))
	for _, want := range []load.Cause{load.Input, load.None, load.Input} {
		now.stop(t)
		if want == load.None {
			now = serveProto(t, listen(t, address), with(`rpc Get(Ask) returns (Reply);`), answer)
		} else {
			now = serveProto(t, listen(t, address), with(`rpc Take(Ask) returns (Reply);`), nil)
		}
		for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			c := u.do(s, nil)
			if c.Result.Cause == want {
				break
			}
			if time.Since(begin) > 45*time.Second {
				t.Fatalf("cause %v: %v, want %v", c.Result.Cause, c.Err, want)
			}
		}
	}
}
