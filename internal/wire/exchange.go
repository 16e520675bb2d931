package wire

import (
	"bytes"
	"io"
	"iter"
	"net/netip"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Limits of what is read of an answer.
const (
	defaultHead = 64 << 10 // status line and headers; trailers likewise
	keptSpare   = 64 << 10 // a larger buffer is not kept for the next answer
)

// An Exchange is one request and its answer. It is reused for request after
// request; the results of its methods are valid until the next.
type Exchange struct {
	// Out is the request's head and inline body as they go on the wire.
	Out []byte
	// Stream is StreamSize bytes more of body after Out, from its beginning; nil for none.
	Stream     io.ReadSeeker
	StreamSize int64
	HeadOnly   bool // the method is HEAD: the answer has no body
	Idempotent bool // may be sent once more although the server may have read it
	KeepBody   bool
	MaxKept    int     // most bytes of a body that is kept; a larger one is a *TooLargeError
	Decode     Codings // codings of a body that are decoded; one in any other is left as it came
	Deadline   int64   // ns since the transport's zero
	MaxHead    int     // most bytes of the answer's head; a longer one is a *HeadError. Likewise of trailers. 0 is 64 KiB.
	// Follows says that this exchange continues the one before it, after a redirect: Result.Sent is not set again.
	Follows bool
	// From is the address of the host whose redirect leads to this exchange: it may lead to fewer addresses than the
	// configuration. The zero address is for what the configuration names.
	From netip.Addr

	// Into takes over the connection of an answer that is a success and has a body, which is then not read; nil for
	// nobody. Adopted says that it did so.
	Into    *Stream
	Adopted bool

	// The answer.
	status   int
	cookies  bool
	whole    []byte // the body, in the input's buffer, if all of it came with the head
	kept     []byte // the part of any other body that was kept
	size     int64
	hash     xxhash.Digest
	duration time.Duration

	// Reading.
	in       input
	body     bodyReader
	scanned  int // bytes of the head that do not hold its end
	received int64
	first    int64 // when the answer's first byte came, ns since zero; 0 before

	// The state of the connection's callback.
	writing bool
	peek    bool  // test for the end of stream before writing
	written int64 // bytes of the request
	ioErr   error

	// Of HTTP/2.
	framed int64   // bytes of the request in frames
	frames []byte  // room for them, nil while the connection has it
	own    *buffer // room for the answer's head
}

// Reset forgets the answer and returns its buffer to the pool.
func (x *Exchange) Reset() {
	x.in.drop()
	if cap(x.kept) > keptSpare {
		x.kept = nil
	}
	x.Adopted = false
	x.status, x.cookies, x.whole, x.kept, x.size, x.duration = 0, false, nil, x.kept[:0], 0, 0
	x.scanned, x.received, x.first = 0, 0, 0
	x.writing, x.peek, x.written, x.framed, x.ioErr = false, false, 0, 0, nil
}

// Code returns the answer's status.
func (x *Exchange) Code() int { return x.status }

// Body returns the answer's body as far as it was kept.
func (x *Exchange) Body() []byte {
	switch {
	case !x.KeepBody:
		return nil
	case x.whole != nil:
		return x.whole
	}
	return x.kept
}

// Size returns the length of the whole decoded body in bytes.
func (x *Exchange) Size() int64 { return x.size }

// Sum returns the XXH64 hash of the whole decoded body.
func (x *Exchange) Sum() uint64 {
	if x.whole != nil || x.size == 0 {
		return xxhash.Sum64(x.whole)
	}
	return x.hash.Sum64()
}

// Duration returns the time from Result.Sent to Result.Done.
func (x *Exchange) Duration() time.Duration { return x.duration }

// Header returns the value of the first header field of a name.
func (x *Exchange) Header(name string) (string, bool) {
	for v := range headerValues(x.in.head(), name) {
		return string(v), true
	}
	return "", false
}

// HeaderValues yields the value of each header field of a name.
func (x *Exchange) HeaderValues(name string) iter.Seq[[]byte] {
	return headerValues(x.in.head(), name)
}

// SetsCookies reports whether the answer has a Set-Cookie field.
func (x *Exchange) SetsCookies() bool { return x.cookies }

// Target returns the request target in Out's first line.
func (x *Exchange) Target() []byte {
	_, rest, _ := bytes.Cut(x.Out, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	return target
}
