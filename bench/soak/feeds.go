package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/perfd/perfd/test/proc"
)

// feedProto is what the server of feeds offers by gRPC.
const feedProto = `syntax = "proto3";
package soak;
message Ask {}
message Tick { int64 seq = 1; }
service Feed { rpc Watch(Ask) returns (stream Tick); }
`

// A made is what feeds have made of the sequences of their messages.
type made struct {
	Sent      int64 `json:"sent"`
	Missing   int64 `json:"missing"` // numbers that a later message skipped, those that came afterwards included
	Reordered int64 `json:"reordered"`
	Repeated  int64 `json:"repeated"`
}

func (m made) plus(n made) made {
	return made{m.Sent + n.Sent, m.Missing + n.Missing, m.Reordered + n.Reordered, m.Repeated + n.Repeated}
}

// feeds is a server of numbered messages, once a second on each stream, of which some numbers are skipped, late or sent
// twice. Each stream numbers from 1.
type feeds struct {
	quiet atomic.Bool // no message is sent any more
	mu    sync.Mutex
	made  map[string]*made // by kind of stream
	open  map[string]int
	turns sync.WaitGroup // messages that are being sent
	seed  atomic.Uint64
}

// serve sends messages on a stream until its client leaves.
func (f *feeds) serve(ctx context.Context, kind string, send func(seq int64) error) error {
	f.mu.Lock()
	f.open[kind]++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.open[kind]--
	}()
	source := rand.New(rand.NewPCG(f.seed.Add(1), 0))
	seq := int64(0)
	next := time.NewTimer(time.Duration(source.Int64N(int64(time.Second)))) // streams are spread over the second
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
			next.Reset(time.Second)
		}
		var numbers []int64
		var m made
		switch x := source.IntN(100); {
		case seq == 0: // nobody knows what comes before the first
			seq++
			numbers = []int64{seq}
		case x < 4: // some are missing
			skipped := 1 + source.Int64N(3)
			seq += skipped + 1
			numbers, m.Missing = []int64{seq}, skipped
		case x < 7: // one is late
			numbers = []int64{seq + 2, seq + 1}
			seq += 2
			m.Missing, m.Reordered = 1, 1
		case x < 10: // one comes twice
			seq++
			numbers, m.Repeated = []int64{seq, seq}, 1
		default:
			seq++
			numbers = []int64{seq}
		}
		m.Sent = int64(len(numbers))
		if err := f.turn(kind, numbers, m, send); err != nil {
			return err
		}
	}
}

// turn sends messages, unless the feeds are quiet.
func (f *feeds) turn(kind string, numbers []int64, m made, send func(int64) error) error {
	f.mu.Lock()
	if f.quiet.Load() {
		f.mu.Unlock()
		return nil
	}
	f.turns.Add(1)
	f.mu.Unlock()
	defer f.turns.Done()
	for _, n := range numbers {
		if err := send(n); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	*f.made[kind] = f.made[kind].plus(m)
	return nil
}

// account is what the control of the feeds answers.
type account struct {
	Made map[string]made `json:"made"`
	Open map[string]int  `json:"open"`
}

// control answers what was made, and makes the feeds quiet first where that is asked for.
func (f *feeds) control(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/quiet" {
		f.mu.Lock()
		f.quiet.Store(true)
		f.mu.Unlock()
		f.turns.Wait()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a := account{map[string]made{}, f.open}
	for kind, m := range f.made {
		a.Made[kind] = *m
	}
	_ = json.NewEncoder(w).Encode(a) // a soak that does not get it complains
}

// The kinds of streams.
const (
	ofGRPC      = "grpc"
	ofWebSocket = "websocket"
)

// serveFeeds is the process of the feeds.
func serveFeeds(ctx context.Context, web, rpc string) error {
	f := &feeds{made: map[string]*made{ofGRPC: {}, ofWebSocket: {}}, open: map[string]int{}}
	lc := &net.ListenConfig{}
	onWeb, err := lc.Listen(ctx, "tcp", web)
	if err != nil {
		return err
	}
	onRPC, err := lc.Listen(ctx, "tcp", rpc)
	if err != nil {
		return err
	}
	g := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}))
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "soak.Feed", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			if err := s.RecvMsg(new([]byte)); err != nil {
				return err
			}
			return f.serve(s.Context(), ofGRPC, func(seq int64) error {
				p := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(seq)) //nolint:gosec // it is positive
				return s.SendMsg(&p)
			})
		}}},
	}, nil)
	mux := http.NewServeMux()
	mux.HandleFunc("/account", f.control)
	mux.HandleFunc("/quiet", f.control)
	mux.HandleFunc("/feed", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }() // it is closed already where it ended well
		alive := c.CloseRead(context.WithoutCancel(r.Context()))
		_ = f.serve(alive, ofWebSocket, func(seq int64) error { // the client has left
			return c.Write(alive, websocket.MessageText, fmt.Appendf(nil, `{"seq":%d}`, seq))
		})
	})
	h := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 2)
	go func() { ended <- h.Serve(onWeb) }()
	go func() { ended <- g.Serve(onRPC) }()
	fmt.Println("serving on", web)
	select {
	case <-ctx.Done(): // the process ends, as one that is restarted does
		return nil
	case err := <-ended:
		return err
	}
}

// bytesCodec is a codec of messages that are bytes.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	p, ok := v.(*[]byte)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return mem.BufferSlice{mem.SliceBuffer(*p)}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	p, ok := v.(*[]byte)
	if !ok {
		return errors.ErrUnsupported
	}
	*p = data.Materialize()
	return nil
}

func (bytesCodec) Name() string { return "proto" }

// A feedServer is the process of the feeds, which can be started again where it was.
type feedServer struct {
	*proc.Process
	web, rpc string
}

func newFeedServer() (*feedServer, error) {
	s := &feedServer{}
	for _, at := range []*string{&s.web, &s.rpc} {
		port, err := proc.FreePort()
		if err != nil {
			return nil, err
		}
		*at = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return s, nil
}

func (s *feedServer) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.Process, err = proc.Start(proc.Spec{Path: self, Args: []string{"-feeds.web", s.web, "-feeds.grpc", s.rpc}, Files: files})
	if err != nil {
		return err
	}
	if _, err := s.WaitFor(ctx, serving); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// ask asks the control of the feeds.
func (s *feedServer) ask(ctx context.Context, path string) (a account, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.web+path, http.NoBody)
	if err != nil {
		return a, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	return a, json.NewDecoder(res.Body).Decode(&a)
}
