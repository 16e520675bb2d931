package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A segment begins with its version, and then holds frames:
//
//	mark     4 bytes  where to go on after damage
//	length   4 bytes  little endian, of the payload
//	crc32c   4 bytes  little endian, of length, type and payload
//	type     1 byte
//	payload
const (
	family      = "perfdq\x00"
	version     = family + "\x01"
	frameMark   = "\xf7pQ\x9d"
	frameHeader = 4 + 4 + 4 + 1
	// maxPayload bounds what a damaged length may ask for.
	maxPayload = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendHeader makes room for a frame's header.
func appendHeader(dst []byte) []byte { return append(dst, make([]byte, frameHeader)...) }

// finishFrame fills in the header of a frame that begins at 0.
func finishFrame(frame []byte, kind byte) {
	copy(frame, frameMark)
	binary.LittleEndian.PutUint32(frame[4:], uint32(len(frame)-frameHeader))
	frame[12] = kind
	binary.LittleEndian.PutUint32(frame[8:], frameSum(frame))
}

func frameSum(frame []byte) uint32 {
	sum := crc32.Update(0, castagnoli, frame[4:8])
	return crc32.Update(sum, castagnoli, frame[12:])
}

var errDamaged = errors.New("not a whole frame")

// readFrame reads the frame at an offset of a segment that is size bytes long
// into buf, which it returns grown. errDamaged says that there is none.
func readFrame(f io.ReaderAt, at, size int64, buf []byte) (frame []byte, err error) {
	if size-at < frameHeader {
		return buf[:0], errDamaged
	}
	buf = grow(buf, frameHeader)
	if _, err := f.ReadAt(buf, at); err != nil && !errors.Is(err, io.EOF) {
		return buf[:0], fmt.Errorf("read segment: %w", err)
	}
	length := int64(binary.LittleEndian.Uint32(buf[4:]))
	if string(buf[:4]) != frameMark || length > maxPayload || length > size-at-frameHeader {
		return buf[:0], errDamaged
	}
	sum := binary.LittleEndian.Uint32(buf[8:])
	buf = grow(buf, frameHeader+int(length))
	if _, err := f.ReadAt(buf[frameHeader:], at+frameHeader); err != nil && !errors.Is(err, io.EOF) {
		return buf[:0], fmt.Errorf("read segment: %w", err)
	}
	if frameSum(buf) != sum {
		return buf[:0], errDamaged
	}
	return buf, nil
}

func grow(buf []byte, n int) []byte {
	if cap(buf) >= n {
		return buf[:n]
	}
	bigger := make([]byte, n, n+n/4)
	copy(bigger, buf)
	return bigger
}

const (
	// searched is how much of a file is looked at at once.
	searched = 1 << 20
	// mostSummed bounds the bytes that one search adds up: what is no perfd's file may hold the mark everywhere.
	mostSummed = 1 << 30
)

// findFrame returns the offset of the first whole frame after an offset, size
// where there is none. It needs little memory, and holes of a sparse file cost nothing.
func findFrame(f io.ReaderAt, after, size int64) (int64, error) {
	window := make([]byte, 0, min(searched, max(0, size-after-1)))
	var buf []byte
	summed := int64(0)
	for at := after + 1; at < size; {
		if at = nextContent(f, at, size); at >= size {
			break
		}
		window = window[:min(int64(cap(window)), size-at)]
		n, err := f.ReadAt(window, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read segment: %w", err)
		}
		if n < len(frameMark) {
			break
		}
		i := bytes.Index(window[:n], []byte(frameMark))
		if i < 0 {
			at += int64(n - len(frameMark) + 1) // the mark may begin at the end of what was read
			continue
		}
		at += int64(i)
		frame, err := readFrame(f, at, size, buf)
		if err == nil {
			return at, nil
		}
		if !errors.Is(err, errDamaged) {
			return 0, err
		}
		if summed += int64(searched + cap(frame)); summed > mostSummed {
			break
		}
		buf = frame
		at++
	}
	return size, nil
}

// A Frame is a whole frame as it lies in a file. Other files than a queue's are
// made of frames too.
type Frame []byte

// Kind is the frame's type.
func (f Frame) Kind() byte { return f[12] }

// Payload is what the frame carries. It is part of the frame.
func (f Frame) Payload() []byte { return f[frameHeader:] }

// ErrDamaged says that no whole frame is there.
var ErrDamaged = errDamaged

// AppendFrame appends a frame whose payload encode appends.
func AppendFrame(dst []byte, kind byte, encode func(dst []byte) []byte) []byte {
	at := len(dst)
	dst = encode(appendHeader(dst))
	finishFrame(dst[at:], kind)
	return dst
}

// ReadFrame reads the frame at an offset of a file that is size bytes long into
// buf, which the frame shares where it fits. ErrDamaged says that none is there;
// any other error is the file's.
func ReadFrame(f io.ReaderAt, at, size int64, buf []byte) (Frame, error) {
	return readFrame(f, at, size, buf)
}

// FindFrame returns the offset of the first whole frame after an offset, size
// where there is none: where reading goes on after damage.
func FindFrame(f io.ReaderAt, after, size int64) (int64, error) { return findFrame(f, after, size) }
