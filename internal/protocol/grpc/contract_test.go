package grpc

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compile compiles a step, with the block of its target.
func compile(t testing.TB, base, target, step string, symbols *expr.Symbols) (protocol.Step, error) {
	t.Helper()
	var errs block.Errors
	of := DefaultTarget()
	if target != "" {
		block.Decode(block.Parse("target.yaml", []byte(target), &errs), of, &errs)
	}
	c := Kind.Step()
	block.Decode(block.Parse("step.yaml", []byte(step), &errs), c, &errs)
	if symbols == nil {
		symbols = expr.NewSymbols(nil)
	}
	s := c.Compile(&protocol.Compiler{Defaults: of, Base: block.Text{S: base, Path: "url"}, Symbols: symbols, Errors: &errs})
	return s, errs.Err()
}

func mustCompile(t testing.TB, base, target, step string, symbols *expr.Symbols) protocol.Step {
	t.Helper()
	s, err := compile(t, base, target, step, symbols)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// protosetOf writes the descriptors of files, and of what they import, to a file.
func protosetOf(t testing.TB, files ...protoreflect.FileDescriptor) string {
	t.Helper()
	all := map[string]*descriptorpb.FileDescriptorProto{}
	for _, f := range files {
		addFile(f, all)
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range all {
		set.File = append(set.File, f)
	}
	content, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "set.binpb")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func interopSet(t testing.TB) string { return protosetOf(t, grpc_testing.File_grpc_testing_test_proto) }

func TestContract(t *testing.T) {
	set := interopSet(t)
	for name, target := range map[string]string{
		"a channel each": "{descriptors: {protoset: [" + set + "]}}",
		"shared":         "{descriptors: {protoset: [" + set + "]}, channels: 1}",
	} {
		t.Run(name, func(t *testing.T) {
			protocoltest.Run(t, protocoltest.Subject{
				Step: func(t testing.TB, addr string) protocol.Step {
					return mustCompile(t, "http://"+addr, target, "{method: grpc.testing.TestService/EmptyCall}", nil)
				},
				Greet:       greet,
				Answer:      answerAll,
				Ask:         func(c net.Conn) { _, _ = (&frames{c: c}).ask() },
				Garbage:     "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
				Allocations: 120,
			})
		})
	}
}

// Types of frames and their flags (RFC 9113 section 6).
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameGoAway, frameWindow = 0, 1, 3, 4, 6, 7, 8

	flagEndStream, flagAck, flagEndHeaders = 1, 1, 4
)

// frames reads the frames of a connection, and allocates nothing.
type frames struct {
	c       net.Conn
	head    [9]byte
	payload [1 << 14]byte

	stream uint32
	kind   byte
	flags  byte
}

func (f *frames) next() error {
	if _, err := io.ReadFull(f.c, f.head[:]); err != nil {
		return err
	}
	n := int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
	f.kind, f.flags, f.stream = f.head[3], f.head[4], binary.BigEndian.Uint32(f.head[5:])
	if n > len(f.payload) {
		return io.ErrShortBuffer
	}
	_, err := io.ReadFull(f.c, f.payload[:n])
	return err
}

// ask reads to the end of a request, and returns its stream.
func (f *frames) ask() (uint32, error) {
	for {
		if err := f.next(); err != nil {
			return 0, err
		}
		if (f.kind == frameData || f.kind == frameHeaders) && f.flags&flagEndStream != 0 {
			return f.stream, nil
		}
	}
}

// appendFrame appends a frame.
func appendFrame(dst []byte, kind, flags byte, stream uint32, payload string) []byte {
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	dst = binary.BigEndian.AppendUint32(dst, stream)
	return append(dst, payload...)
}

// The server's part of the handshake, and header blocks without dynamic entries (RFC 7541).
var (
	settings = appendFrame(appendFrame(nil, frameSettings, 0, 0, ""), frameSettings, flagAck, 0, "")

	answerHead = "\x88\x0f\x10\x10application/grpc" // :status 200, content-type
	answerEnd  = "\x00\x0bgrpc-status\x010"
)

// greet is the server's part of the handshake of HTTP/2.
func greet(c net.Conn) bool {
	var preface [24]byte
	if _, err := io.ReadFull(c, preface[:]); err != nil {
		return false
	}
	f := &frames{c: c}
	for f.kind != frameSettings {
		if f.next() != nil {
			return false
		}
	}
	_, err := c.Write(settings)
	return err == nil
}

// answerAll answers requests by an empty message until the client leaves.
func answerAll(c net.Conn) {
	f := &frames{c: c}
	var out []byte
	for {
		stream, err := f.ask()
		if err != nil {
			return
		}
		out = appendFrame(out[:0], frameHeaders, flagEndHeaders, stream, answerHead)
		out = appendFrame(out, frameData, 0, stream, "\x00\x00\x00\x00\x00")
		out = appendFrame(out, frameHeaders, flagEndHeaders|flagEndStream, stream, answerEnd)
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

func TestContractOfStreams(t *testing.T) {
	set := interopSet(t)
	for name, target := range map[string]string{
		"a channel each": "{descriptors: {protoset: [" + set + "]}}",
		"shared":         "{descriptors: {protoset: [" + set + "]}, channels: 1}",
	} {
		t.Run(name, func(t *testing.T) {
			protocoltest.Run(t, protocoltest.Subject{
				Step: func(t testing.TB, addr string) protocol.Step {
					return mustCompile(t, "http://"+addr, target, `{method: grpc.testing.TestService/FullDuplexCall, send: {}, receive: any}`, nil)
				},
				Greet:       greet,
				Answer:      answerMessages,
				Ask:         func(c net.Conn) { _ = (&frames{c: c}).message() },
				Garbage:     "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
				Allocations: 60,
				Pushes:      true,
			})
		})
	}
}

// message reads to the end of a message in one frame.
func (f *frames) message() error {
	for {
		if err := f.next(); err != nil || f.kind == frameData {
			return err
		}
	}
}

// answerMessages answers each message by an empty one until the client leaves.
func answerMessages(c net.Conn) {
	f := &frames{c: c}
	var out []byte
	begun := map[uint32]bool{}
	for f.message() == nil {
		if out = out[:0]; !begun[f.stream] {
			out = appendFrame(out, frameHeaders, flagEndHeaders, f.stream, answerHead)
			begun[f.stream] = true
		}
		out = appendFrame(out, frameData, 0, f.stream, "\x00\x00\x00\x00\x00")
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}
