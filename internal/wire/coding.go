package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Codings is a set of content codings (RFC 9110 section 8.4.1).
type Codings uint8

// The codings that perfd decodes.
const (
	Gzip    Codings = 1 << iota
	Deflate         // zlib (RFC 1950), or bare deflate as some servers send it
	Brotli
	Zstd

	AllCodings = Gzip | Deflate | Brotli | Zstd
)

// CodingNames holds the names of codings as header fields have them, each at the place of its bit.
var CodingNames = [...]string{"gzip", "deflate", "br", "zstd"}

// codingOf returns the coding of a name, 0 for one that perfd does not decode.
func codingOf(name []byte) Codings {
	for i, known := range CodingNames {
		if equalFold(name, known) {
			return 1 << i
		}
	}
	if equalFold(name, "x-gzip") {
		return Gzip
	}
	return 0
}

// AcceptedCodings returns the codings that the value of an Accept-Encoding field asks
// for and perfd decodes.
func AcceptedCodings(value string) (c Codings) {
	for list := []byte(value); len(list) > 0; {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		name, weight, _ := bytes.Cut(item, []byte(";"))
		weight = bytes.TrimRight(trim(weight), "0")
		if refused := equalFold(weight, "q=") || equalFold(weight, "q=0."); refused {
			continue
		}
		if name = trim(name); string(name) == "*" {
			c = AllCodings
		}
		c |= codingOf(name)
	}
	return c
}

// maxCodings bounds how many codings one body has.
const maxCodings = 4

// coded is the codings of a body in the order in which they were applied.
type coded struct {
	list  [maxCodings]Codings
	n     int
	other bool // one of them is not known, or there are too many
}

// add takes the value of a Content-Encoding field.
func (c *coded) add(list []byte) {
	for len(list) > 0 {
		var name []byte
		name, list, _ = bytes.Cut(list, []byte(","))
		name = trim(name)
		if len(name) == 0 || equalFold(name, "identity") {
			continue
		}
		one := codingOf(name)
		if one == 0 || c.n == maxCodings {
			c.other = true
			return
		}
		c.list[c.n] = one
		c.n++
	}
}

// decodable reports whether a body is coded, and by nothing but what was asked for.
// What nobody asked for is left as it came.
func (c *coded) decodable(asked Codings) bool {
	for _, one := range c.list[:c.n] {
		if one&asked == 0 {
			return false
		}
	}
	return c.n > 0 && !c.other
}

const (
	// bombSize is how much of a body is decoded whatever it was packed to, in bytes.
	bombSize = 16 << 20
	// bombRatio bounds what a byte of a body unpacks to beyond bombSize. Text rarely
	// comes to 30, and a gzip bomb to 1000.
	bombRatio = 300
	// zstdWindow is the largest window of a zstd body, in bytes (RFC 9659 section 3).
	zstdWindow = 8 << 20
)

// A BombError says that a body unpacks to more than any answer is worth.
type BombError struct{ Packed, Unpacked int64 } // bytes

func (e *BombError) Error() string {
	return fmt.Sprintf("the body unpacks from %d bytes to more than %d, as a decompression bomb does", e.Packed, e.Unpacked)
}

// A decoder decodes one coding of one body after another.
type decoder interface {
	io.Reader
	// Reset makes it read another body.
	Reset(r io.Reader) error
	// release lets go of what it reads.
	release()
}

// decoders holds decoders that no body uses, each coding's at the place of its bit.
var decoders = [...]sync.Pool{
	{New: func() any { return &gunzipper{} }},
	{New: func() any { return &inflater{in: bufio.NewReaderSize(nil, smallBuffer)} }},
	{New: func() any { return &unbrotler{brotli.NewReader(nil)} }},
	{New: func() any {
		z, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow)) // the options are right
		return &unzstder{z}
	}},
}

type gunzipper struct{ gzip.Reader }

func (*gunzipper) release() {}

type unbrotler struct{ *brotli.Reader }

func (u *unbrotler) release() { _ = u.Reset(nil) }

type unzstder struct{ *zstd.Decoder }

func (u *unzstder) release() { _ = u.Reset(nil) }

// An inflater decodes what goes by the name of deflate.
type inflater struct {
	in   *bufio.Reader
	out  io.Reader
	zlib io.ReadCloser // nil before the first body of its kind
	bare io.ReadCloser
}

// Reset reads the first two bytes, which tell zlib (RFC 1950 section 2.2) from bare deflate.
func (f *inflater) Reset(r io.Reader) (err error) {
	f.in.Reset(r)
	f.out = nil
	head, err := f.in.Peek(2)
	if err != nil {
		return noEOF(err)
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		if f.zlib == nil {
			f.zlib, err = zlib.NewReader(f.in)
		} else {
			err = f.zlib.(zlib.Resetter).Reset(f.in, nil) //nolint:forcetypeassert // documented
		}
		f.out = f.zlib
		return err
	}
	if f.bare == nil {
		f.bare = flate.NewReader(f.in)
	} else {
		err = f.bare.(flate.Resetter).Reset(f.in, nil) //nolint:forcetypeassert // documented
	}
	f.out = f.bare
	return err
}

func (f *inflater) Read(p []byte) (int, error) {
	n, err := f.out.Read(p)
	if errors.Is(err, io.EOF) {
		if _, more := f.in.Peek(1); more == nil {
			return n, errors.New("bytes after its end")
		}
	}
	return n, err
}

func (f *inflater) release() { f.in.Reset(nil) }

// noEOF returns err, and for an early end one that is not taken for the body's.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode reads and decodes the body.
func (x *Exchange) decode(c coded) error {
	var in io.Reader = &x.body
	first, err := x.body.next()
	if err != nil {
		return atEnd(err) // nothing is coded as nothing
	}
	x.body.rest = first
	name := ""
	for i := range c.n { // the last that was applied comes off first
		bit := bits.TrailingZeros8(uint8(c.list[c.n-1-i]))
		d := decoders[bit].Get().(decoder)
		defer func() {
			d.release()
			decoders[bit].Put(d)
		}()
		if name = CodingNames[bit]; err == nil {
			err = d.Reset(in)
		}
		in = d
	}
	p := largeBuffers.Get().(*buffer)
	defer p.recycle()
	for err == nil {
		var n int
		n, err = in.Read(p.b)
		if kept := x.take(p.b[:n]); kept != nil {
			return kept
		}
		if x.size > bombSize && x.size/bombRatio > x.received {
			return &BombError{x.received, x.size}
		}
	}
	if errors.Is(err, io.EOF) && x.body.err == nil {
		// The coding has ended, and so must the body.
		if _, end := x.body.Read(p.b[:1]); end == nil {
			err = errors.New("bytes after its end")
		}
	}
	switch {
	case x.body.err != nil && !errors.Is(x.body.err, io.EOF):
		return x.body.err // of the connection
	case errors.Is(err, io.EOF) && x.body.err != nil:
		return nil
	}
	return &ProtocolError{name + ": " + err.Error()}
}
