package wire

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/perfd/perfd/internal/load"
)

func TestAcceptedCodings(t *testing.T) {
	for value, want := range map[string]Codings{
		"": 0, "gzip": Gzip, "GZIP , br": Gzip | Brotli, "gzip;q=1.0, deflate;q=0.5": Gzip | Deflate, "gzip;q=0": 0, "gzip; q=0.000, zstd": Zstd,
		"*": AllCodings, "br;q=0.001": Brotli, "identity, compress": 0, ",,": 0, "x-gzip": Gzip,
	} {
		if got := AcceptedCodings(value); got != want {
			t.Errorf("%q asks for %b, want %b", value, got, want)
		}
	}
}

// FuzzCoded gives any bytes as a body in a coding: they are the target's fault, if anybody's.
func FuzzCoded(f *testing.F) {
	plain := []byte(strings.Repeat("all work and no play ", 20))
	for i, open := range []func(io.Writer) io.WriteCloser{
		func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
		func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
	} {
		var b bytes.Buffer
		z := open(&b)
		z.Write(plain)
		z.Close()
		f.Add(b.Bytes(), uint8(i), uint8(0))
		f.Add(b.Bytes()[:b.Len()/2], uint8(i), uint8(i))
	}
	x := &Exchange{KeepBody: true, MaxKept: 1 << 20, Decode: AllCodings}
	f.Fuzz(func(t *testing.T, body []byte, first, second uint8) {
		field := CodingNames[first%4]
		if second > 0 {
			field += ", " + CodingNames[second%4]
		}
		_, err := play(x, []byte("HTTP/1.1 200 OK\r\nContent-Encoding: "+field+"\r\n\r\n"), body)
		switch Classify(err) {
		case load.None, load.Protocol, load.Partial, load.Overload, load.Closed:
		default:
			t.Fatalf("%s: cause %v (%v)", field, Classify(err), err)
		}
		if len(x.Body()) > x.MaxKept {
			t.Fatalf("%d bytes are kept", len(x.Body()))
		}
	})
}
