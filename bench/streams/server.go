package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"regexp"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/perfd/perfd/test/proc"
)

// definition is what the server of gRPC offers.
const definition = `syntax = "proto3";
package bench;
message Message { bytes body = 1; }
service Echo {
  rpc Unary(Message) returns (Message);
  rpc Pour(Message) returns (stream Message);
  rpc Converse(stream Message) returns (stream Message);
}
`

var serving = regexp.MustCompile(`serving on (\S+)`)

// startServer runs this program again, as a server, under a command line.
func (b *bench) startServer(ctx context.Context, kind string, before ...string) (*proc.Process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	line := append(before, self, "-serve", kind)
	p, err := proc.Start(proc.Spec{Path: line[0], Args: line[1:], Files: b.files})
	if err != nil {
		return nil, "", err
	}
	m, err := p.WaitFor(ctx, serving)
	if err != nil {
		p.Kill()
		return nil, "", err
	}
	return p, m[1], nil
}

func serveStreams(ctx context.Context, kind string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		_ = l.Close() // which ends the server, and with it the process
	}()
	fmt.Println("serving on", l.Addr())
	if kind == "grpc" {
		return serveGRPC(l)
	}
	return (&http.Server{Handler: http.HandlerFunc(echoFrames)}).Serve(l)
}

// raw is a codec of messages that are bytes.
type raw struct{}

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	p := v.(*[]byte)
	if n := data.Len(); cap(*p) < n {
		*p = make([]byte, n)
	} else {
		*p = (*p)[:n]
	}
	data.CopyTo(*p)
	return nil
}

func (raw) Name() string { return "proto" }

func serveGRPC(l net.Listener) error {
	echo := func(s grpc.ServerStream, messages int) error {
		p := new([]byte)
		for range messages {
			if err := s.RecvMsg(p); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			q := append([]byte(nil), *p...) // grpc-go may send it after this returns
			if err := s.SendMsg(&q); err != nil {
				return err
			}
		}
		return nil
	}
	g := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.InitialWindowSize(256<<10), grpc.InitialConnWindowSize(1<<20))
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			p := new([]byte)
			return p, decode(p)
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Converse", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return echo(s, math.MaxInt) }},
			{StreamName: "Pour", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
				p := new([]byte)
				if err := s.RecvMsg(p); err != nil {
					return err
				}
				for {
					if err := s.SendMsg(p); err != nil {
						return err
					}
				}
			}},
		},
	}, nil)
	return g.Serve(l)
}

// echoFrames is a WebSocket that sends every message back, for frames of less than 64 KiB in one piece each.
func echoFrames(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if rw.Flush() != nil {
		return
	}
	in := bufio.NewReaderSize(c, 1<<10)
	var out []byte
	for {
		if out, err = appendEcho(out[:0], in); err != nil {
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// appendEcho reads a frame and appends what answers it.
func appendEcho(out []byte, in *bufio.Reader) ([]byte, error) {
	var head [8]byte // with the mask
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return out, err
	}
	out = append(out, head[0], head[1]&0x7f)
	n := int(head[1] & 0x7f)
	switch n {
	case 126:
		if _, err := io.ReadFull(in, head[2:4]); err != nil {
			return out, err
		}
		out = append(out, head[2:4]...)
		n = int(binary.BigEndian.Uint16(head[2:4]))
	case 127:
		return out, errors.New("a frame is too long")
	}
	if _, err := io.ReadFull(in, head[4:]); err != nil {
		return out, err
	}
	from := len(out)
	out = append(out, make([]byte, n)...)
	if _, err := io.ReadFull(in, out[from:]); err != nil {
		return out, err
	}
	for i := range n {
		out[from+i] ^= head[4+i%4]
	}
	if out[0]&0xf == 0x9 { // a ping, which a pong answers
		out[0] = out[0]&0xf0 | 0xa
	}
	return out, nil
}
