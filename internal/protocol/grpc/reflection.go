package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/perfd/perfd/internal/wire"
)

// reflections are the methods by which a server describes itself, the newer first. Both have the same messages.
var reflections = []string{
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}

// mostFiles bounds the files that describe one service, and largestDescribed what they come to, in bytes.
const (
	mostFiles        = 2000
	largestDescribed = 64 << 20
)

// errUnknownService says that a server does not know the service that it is asked to describe.
var errUnknownService = errors.New("the server knows no such service")

// reflectService asks a server for the files that describe a service.
func reflectService(ctx context.Context, cc grpc.ClientConnInterface, service string) (*protoregistry.Files, error) {
	for i, method := range reflections {
		files, err := reflectBy(ctx, cc, method, service)
		if status.Code(err) == codes.Unimplemented {
			if i+1 < len(reflections) {
				continue
			}
			return nil, &noReflectionError{}
		}
		return files, err
	}
	return nil, nil
}

// A noReflectionError says that a server does not describe itself.
type noReflectionError struct{}

func (*noReflectionError) Error() string {
	return "the server has no reflection; describe its services by descriptors: {protoset: […]} or {proto: […]}"
}

func reflectBy(ctx context.Context, cc grpc.ClientConnInterface, method, service string) (*protoregistry.Files, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method,
		grpc.ForceCodecV2(encoding.GetCodecV2("proto")), grpc.MaxCallRecvMsgSize(largestDescribed))
	if err != nil {
		return nil, err
	}
	r := reflecting{stream: stream, set: map[string]*descriptorpb.FileDescriptorProto{}}
	err = r.ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service}})
	if err != nil {
		return nil, err
	}
	for name := r.missing(); name != ""; name = r.missing() {
		r.asked[name] = true
		err := r.ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: name}})
		if err != nil && !errors.Is(err, errUnknownService) { // a file that is not there is left out
			return nil, err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	files, err := filesOf(r.set)
	if err != nil {
		return nil, &wire.ProtocolError{Text: "the server describes " + service + " by files that do not fit together: " + err.Error()}
	}
	return files, nil
}

// reflecting is one conversation with a server about its files.
type reflecting struct {
	stream grpc.ClientStream
	set    map[string]*descriptorpb.FileDescriptorProto
	asked  map[string]bool // names of files
	size   int             // bytes
}

// ask sends a question and takes the files of its answer.
func (r *reflecting) ask(q *reflectionpb.ServerReflectionRequest) error {
	if r.asked == nil {
		r.asked = map[string]bool{}
	}
	// Of a send that fails, the receive that follows says why.
	_ = r.stream.SendMsg(q)
	var a reflectionpb.ServerReflectionResponse
	switch err := r.stream.RecvMsg(&a); {
	case errors.Is(err, io.EOF):
		return &wire.ProtocolError{Text: "the server's reflection ends without an answer"}
	case err != nil:
		return err
	}
	if e := a.GetErrorResponse(); e != nil {
		if codes.Code(uint32(e.GetErrorCode())) == codes.NotFound { //nolint:gosec // what is out of range is no code
			return errUnknownService
		}
		return &wire.ProtocolError{Text: fmt.Sprintf("the server's reflection fails: code %d: %s", e.GetErrorCode(), e.GetErrorMessage())}
	}
	list := a.GetFileDescriptorResponse().GetFileDescriptorProto()
	if len(list) == 0 {
		return &wire.ProtocolError{Text: "the server's reflection answers something else"}
	}
	for _, p := range list {
		var f descriptorpb.FileDescriptorProto
		if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(p, &f); err != nil {
			return &wire.ProtocolError{Text: "the server's reflection sends no descriptor: " + err.Error()}
		}
		r.set[f.GetName()] = &f
		if r.size += len(p); r.size > largestDescribed || len(r.set) > mostFiles {
			return &wire.ProtocolError{Text: "the server describes the service by too many files"}
		}
	}
	return nil
}

// missing returns a file that another imports and nobody has asked for, "" for none.
func (r *reflecting) missing() string {
	for _, f := range r.set {
		for _, name := range f.Dependency {
			if _, is := r.set[name]; !is && !r.asked[name] {
				return name
			}
		}
	}
	return ""
}
