package grpc

import (
	"errors"

	"google.golang.org/grpc/mem"
)

// A codec passes messages on as the bytes that they are.
type codec struct{}

var errNotBytes = errors.New("a message of a step is bytes")

// Marshal returns the bytes of an *outgoing. Those of a message that is always the same are
// read by many requests at once; any other is copied, since grpc-go may read it after its call has ended.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*outgoing)
	if !ok {
		return nil, errNotBytes
	}
	if m.shared {
		return mem.BufferSlice{mem.SliceBuffer(m.bytes)}, nil
	}
	return mem.BufferSlice{mem.Copy(m.bytes, mem.DefaultBufferPool())}, nil
}

// Unmarshal appends a message to an *incoming.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*incoming)
	if !ok {
		return errNotBytes
	}
	n := data.Len()
	if cap(m.bytes) < n {
		m.bytes = make([]byte, n)
	}
	m.bytes = m.bytes[:n]
	data.CopyTo(m.bytes)
	return nil
}

// Name is the name of the codec whose messages these are.
func (codec) Name() string { return "proto" }

// outgoing is a message to send.
type outgoing struct {
	bytes  []byte
	shared bool // nobody ever changes the bytes
}

// incoming takes a message.
type incoming struct{ bytes []byte }
