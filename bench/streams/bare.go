package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
)

// loop is the bare loop of a comparison: it prints a measurement.
func loop(ctx context.Context, what, address string, span time.Duration) error {
	do := map[string]func(context.Context, *grpc.ClientConn, []byte, *atomic.Uint64) error{"unary": unary, "stream": stream, "converse": converse}[what]
	if do == nil {
		return fmt.Errorf("there is no loop named %q", what)
	}
	message := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte(text))
	alive, stop := context.WithCancel(ctx)
	counts := make([]atomic.Uint64, 8*connections) // one in a cache line
	var all sync.WaitGroup
	failed := make(chan error, connections)
	for i := range connections {
		cc, err := grpc.NewClient("passthrough:///"+address,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})),
			grpc.WithUserAgent("bench"), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableHealthCheck(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
			grpc.WithStaticStreamWindowSize(256<<10), grpc.WithStaticConnWindowSize(1<<20), grpc.WithReadBufferSize(8<<10), grpc.WithWriteBufferSize(16<<10))
		if err != nil {
			stop()
			return err
		}
		defer func() { _ = cc.Close() }()
		all.Go(func() {
			if err := do(alive, cc, message, &counts[8*i]); alive.Err() == nil {
				failed <- err
			}
		})
	}
	m, err := measure(counts, span, failed)
	stop()
	all.Wait()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// measure counts what is done in a span, after the warm-up.
func measure(counts []atomic.Uint64, span time.Duration, failed <-chan error) (m measurement, err error) {
	look := func() (n uint64, cpu time.Duration) {
		for i := range counts {
			n += counts[i].Load()
		}
		var u syscall.Rusage
		if err = syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return 0, 0
		}
		return n, time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	pass := func(d time.Duration) error {
		select {
		case err := <-failed:
			return err
		case <-time.After(d):
			return nil
		}
	}
	if err := pass(warm); err != nil {
		return m, err
	}
	n, cpu := look()
	if err := pass(span); err != nil {
		return m, err
	}
	n2, cpu2 := look()
	return measurement{n2 - n, cpu2 - cpu}, err
}

// fields are the metadata that perfd sends.
func fields(ctx context.Context) context.Context {
	var id [24]byte
	for i := range 3 {
		x := rand.Uint64()
		for k := range 8 {
			id[8*i+k] = byte(x >> (8 * k))
		}
	}
	return metadata.AppendToOutgoingContext(ctx,
		"x-perfd", "run=0123456789abcdef; scenario=closed",
		"traceparent", "00-"+hex.EncodeToString(id[:16])+"-"+hex.EncodeToString(id[16:])+"-00")
}

func unary(ctx context.Context, cc *grpc.ClientConn, message []byte, n *atomic.Uint64) error {
	answer := new([]byte)
	for {
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := cc.Invoke(fields(limited), "/bench.Echo/Unary", &message, answer)
		cancel()
		if err != nil {
			return err
		}
		n.Add(1)
	}
}

func stream(ctx context.Context, cc *grpc.ClientConn, message []byte, n *atomic.Uint64) error {
	s, err := cc.NewStream(fields(ctx), &grpc.StreamDesc{ServerStreams: true}, "/bench.Echo/Pour")
	if err != nil {
		return err
	}
	if err := s.SendMsg(&message); err != nil {
		return err
	}
	answer := new([]byte)
	for {
		if err := s.RecvMsg(answer); err != nil {
			return err
		}
		n.Add(1)
	}
}

func converse(ctx context.Context, cc *grpc.ClientConn, message []byte, n *atomic.Uint64) error {
	s, err := cc.NewStream(fields(ctx), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/bench.Echo/Converse")
	if err != nil {
		return err
	}
	answer := new([]byte)
	for {
		if err := s.SendMsg(&message); err != nil {
			return err
		}
		if err := s.RecvMsg(answer); err != nil {
			return err
		}
		n.Add(1)
	}
}
