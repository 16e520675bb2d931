package websocket

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/wire"
)

// The opcodes of frames (RFC 6455 section 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

const (
	finBit      = 0x80
	compressed  = 0x40 // RSV1, of the first frame of a message (RFC 7692 section 6)
	maskBit     = 0x80
	maxControl  = 125     // bytes of the payload of a control frame
	maxHeader   = 14      // bytes of a frame before its payload
	maxFragment = 1 << 16 // frames of one message
)

// A header is what stands before the payload of a frame.
type header struct {
	fin, compressed bool
	op              byte
	length          uint64
}

func (h *header) control() bool { return h.op&0x8 != 0 }

// parseHeader reads the header of a frame of a server at the front of p and returns its length, 0 where p does not
// hold all of it.
func parseHeader(p []byte) (h header, n int, err error) {
	if len(p) < 2 {
		return h, 0, nil
	}
	h.fin, h.compressed, h.op = p[0]&finBit != 0, p[0]&compressed != 0, p[0]&0xf
	switch {
	case p[0]&0x30 != 0:
		return h, 0, protocolError("a frame has a reserved bit set")
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return h, 0, protocolError("a frame has the reserved opcode %#x", h.op)
	case p[1]&maskBit != 0:
		return h, 0, protocolError("a frame of the server is masked")
	}
	n, h.length = 2, uint64(p[1])
	switch h.length {
	case 126:
		if n = 4; len(p) < n {
			return h, 0, nil
		}
		h.length = uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if n = 10; len(p) < n {
			return h, 0, nil
		}
		if h.length = binary.BigEndian.Uint64(p[2:]); h.length>>63 != 0 {
			return h, 0, protocolError("a frame has a length of more than 63 bits")
		}
	}
	if h.control() && (!h.fin || h.compressed || h.length > maxControl) {
		return h, 0, protocolError("a control frame is fragmented, compressed or longer than %d bytes", maxControl)
	}
	return h, n, nil
}

// appendFrame appends a whole frame of a client, whose payload it masks with the key.
func appendFrame(dst []byte, first byte, key uint32, payload []byte) []byte {
	dst = append(dst, first|finBit)
	switch n := len(payload); {
	case n <= maxControl:
		dst = append(dst, maskBit|byte(n))
	case n < 1<<16:
		dst = append(dst, maskBit|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, maskBit|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, key)
	from := len(dst)
	dst = append(dst, payload...)
	mask(key, dst[from:])
	return dst
}

// mask masks a payload, or unmasks it, eight bytes at a time.
func mask(key uint32, p []byte) {
	k := uint64(key) | uint64(key)<<32
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(k)
		k = bits.RotateLeft64(k, -8)
	}
}

// parseClose reads the payload of a close frame.
func parseClose(p []byte) (*closedError, error) {
	switch {
	case len(p) == 0:
		return &closedError{code: closeNoStatus}, nil
	case len(p) == 1:
		return nil, protocolError("a close frame has half a code")
	}
	e := &closedError{code: int32(binary.BigEndian.Uint16(p)), reason: string(p[2:])}
	switch {
	case e.code < 1000 || e.code >= 1004 && e.code <= 1006 || e.code >= 1015 && e.code < 3000 || e.code >= 5000:
		return nil, protocolError("a close frame has code %d, which must not be sent", e.code)
	case !utf8.Valid(p[2:]):
		return nil, &codedError{closeInvalid, &wire.ProtocolError{Text: "the reason of a close frame is not valid UTF-8"}}
	}
	return e, nil
}

// The codes of closes (RFC 6455 section 7.4.1, and IANA's registry).
const (
	closeNormal    = 1000
	closeProtocol  = 1002
	closeNoStatus  = 1005
	closeInvalid   = 1007
	closePolicy    = 1008
	closeTooBig    = 1009
	closeFault     = 1011
	closeTryAgain  = 1013
	closeBadRoute  = 1014
	firstOfLibrary = 3000 // codes from here on belong to libraries and applications
)

// A closedError says that the server closed the stream with a close frame.
type closedError struct {
	code   int32
	reason string
}

func (e *closedError) Error() string {
	if e.code == closeNoStatus {
		return "the server closed without a code"
	}
	if e.reason == "" {
		return fmt.Sprintf("the server closed with code %d", e.code)
	}
	return fmt.Sprintf("the server closed with code %d: %.100s", e.code, e.reason)
}

// Cause returns how a request fails that the close ended: by what the server says of itself or of its client.
func (e *closedError) Cause() load.Cause {
	switch {
	case e.code == closePolicy, e.code == closeFault, e.code == closeTryAgain, e.code == closeBadRoute, e.code >= firstOfLibrary:
		return load.Status
	case e.code == closeProtocol, e.code == 1003, e.code == closeInvalid, e.code == closeTooBig, e.code == 1010:
		return load.Protocol
	}
	return load.Closed
}

// A codedError is a failure that the server is told by a code.
type codedError struct {
	code uint16
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func protocolError(format string, args ...any) error {
	return &codedError{closeProtocol, &wire.ProtocolError{Text: fmt.Sprintf(format, args...)}}
}
