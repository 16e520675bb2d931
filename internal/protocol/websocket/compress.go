package websocket

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/perfd/perfd/internal/wire"
)

// Messages are compressed by permessage-deflate (RFC 7692) where a step asks for it and the server agrees. Neither side
// keeps its window from message to message: a stream that waits holds nothing, and what a message needs is shared by all.

const (
	deflateName = "permessage-deflate"
	// deflateOffer is what the opening request says.
	deflateOffer = deflateName + "; server_no_context_takeover; client_no_context_takeover"
	// deflateTail ends what was compressed of a message, and is not sent (RFC 7692 section 7.2.1).
	deflateTail = "\x00\x00\xff\xff"
	// deflateEnd is the tail and an empty last block, after which a reader finds the end.
	deflateEnd = deflateTail + "\x01\x00\x00\xff\xff"
)

// agreedDeflate checks a server's answer to deflateOffer (RFC 7692 section 7.1).
func agreedDeflate(answer string) error {
	name, rest, more := strings.Cut(answer, ";")
	if strings.TrimSpace(name) != deflateName || strings.Contains(rest, ",") {
		return protocolError("the server uses extension %.60q, which was not offered", answer)
	}
	seen := map[string]bool{}
	for more {
		var parameter string
		parameter, rest, more = strings.Cut(rest, ";")
		key, value, valued := strings.Cut(strings.TrimSpace(parameter), "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		ok := !seen[key]
		switch key {
		case "server_no_context_takeover", "client_no_context_takeover":
			ok = ok && !valued
		case "server_max_window_bits": // a smaller window than that of the reader
			bits, err := strconv.Atoi(value)
			ok = ok && err == nil && bits >= 8 && bits <= 15 && value[0] != '0' && value[0] != '+'
		default: // client_max_window_bits was not offered
			ok = false
		}
		if !ok {
			return protocolError("the server agrees to %s by the parameter %.40q, which it must not use", deflateName, strings.TrimSpace(parameter))
		}
		seen[key] = true
	}
	if !seen["server_no_context_takeover"] {
		return protocolError("the server agrees to %s and keeps its window from message to message, which the offer rules out", deflateName)
	}
	return nil
}

// An appender writes to a slice.
type appender struct{ to []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.to = append(a.to, p...)
	return len(p), nil
}

// rooms are buffers for one message each.
var rooms = sync.Pool{New: func() any { return new(appender) }}

// release gives a buffer back, unless it is too large to be kept.
func release(a *appender) {
	if cap(a.to) <= spare {
		a.to = a.to[:0]
		rooms.Put(a)
	}
}

// appendMessage appends the frame of a message of a client, compressed where that makes it shorter.
func appendMessage(dst []byte, first byte, key uint32, payload []byte, deflates bool) []byte {
	if !deflates || len(payload) == 0 {
		return appendFrame(dst, first, key, payload)
	}
	room := rooms.Get().(*appender) //nolint:forcetypeassert // it holds nothing else
	defer release(room)
	_ = flate.StatelessDeflate(room, payload, false, nil) // an appender does not fail
	if n := len(room.to) - len(deflateTail); n < len(payload) {
		return appendFrame(dst, first|compressed, key, room.to[:n])
	}
	return appendFrame(dst, first, key, payload)
}

// An inflater reads one compressed message after another.
type inflater struct {
	flate io.ReadCloser
	rest  []byte // of the message
	end   string // what follows it
}

var inflaters = sync.Pool{New: func() any {
	in := &inflater{}
	in.flate = flate.NewReader(in)
	return in
}}

func (in *inflater) Read(p []byte) (int, error) {
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	m := copy(p[n:], in.end)
	in.end = in.end[m:]
	if n+m == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n + m, nil
}

// ReadByte spares the decoder a buffer of its own.
func (in *inflater) ReadByte() (byte, error) {
	var b [1]byte
	_, err := in.Read(b[:])
	return b[0], err
}

var errInflate error = &codedError{closeInvalid, &wire.ProtocolError{Text: "a message is not compressed as it says"}}

// inflate appends what a compressed message says to dst, which is empty, at most so many bytes.
func inflate(dst, payload []byte, most int) ([]byte, error) {
	in := inflaters.Get().(*inflater) //nolint:forcetypeassert // it holds nothing else
	defer func() {
		in.rest = nil
		inflaters.Put(in)
	}()
	in.rest, in.end = payload, deflateEnd
	if err := in.flate.(flate.Resetter).Reset(in, nil); err != nil { //nolint:forcetypeassert // as its documentation says
		return dst, err
	}
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, 512)
		}
		n, err := in.flate.Read(dst[len(dst):min(cap(dst), most+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > most:
			return dst, &codedError{closeTooBig, tooLargeError(most)}
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, errInflate
		}
	}
}
