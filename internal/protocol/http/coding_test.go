package http

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/perfd/perfd/internal/load"
)

// packed returns p in a coding; bare is deflate without zlib's frame.
func packed(t testing.TB, coding string, p []byte) []byte {
	t.Helper()
	if coding == "gzip" {
		return zipped(p)
	}
	var b bytes.Buffer
	var z io.WriteCloser
	var err error
	switch coding {
	case "deflate":
		z = zlib.NewWriter(&b)
	case "bare":
		z, err = flate.NewWriter(&b, 6)
	case "br":
		z = brotli.NewWriterLevel(&b, 4)
	case "zstd":
		z, err = zstd.NewWriter(&b, zstd.WithWindowSize(1<<20))
	}
	if err != nil {
		t.Fatal(err)
	}
	z.Write(p)
	z.Close()
	return b.Bytes()
}

func chunked(fields string, p []byte) string {
	return "HTTP/1.1 200 OK\r\n" + fields + "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(p)), 16) + "\r\n" + string(p) + "\r\n0\r\n\r\n"
}

func sized(fields string, p []byte) string {
	return "HTTP/1.1 200 OK\r\n" + fields + "Content-Length: " + strconv.Itoa(len(p)) + "\r\n\r\n" + string(p)
}

func TestBodiesInEachCoding(t *testing.T) {
	plain := bytes.Repeat([]byte("all work and no play "), 5000)
	for _, coding := range []string{"gzip", "deflate", "bare", "br", "zstd"} {
		name := strings.Replace(coding, "bare", "deflate", 1)
		field := "Content-Encoding: " + name + "\r\n"
		good := packed(t, coding, plain)
		for _, c := range []struct {
			name, answer string
			want         load.Cause
			body         []byte
		}{
			{"whole", sized(field, good), load.None, plain},
			{"chunked", chunked(field, good), load.None, plain},
			{"in capitals", sized("Content-Encoding:  "+strings.ToUpper(name)+" \r\n", good), load.None, plain},
			{"with identity", sized("Content-Encoding: identity, "+name+"\r\n", good), load.None, plain},
			{"until close", "HTTP/1.1 200 OK\r\n" + field + "\r\n" + string(good), load.None, plain},
			{"empty", sized(field, nil), load.None, nil},
			{"empty and chunked", "HTTP/1.1 200 OK\r\n" + field + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", load.None, nil},
			{"of nothing", sized(field, packed(t, coding, nil)), load.None, nil},
			{"not coded so", sized(field, []byte("hello, this is just text")), load.Protocol, nil},
			{"stream cut, framing whole", sized(field, good[:len(good)/2]), load.Protocol, nil},
			{"connection cut", sized(field, good)[:len(sized(field, good))-len(good)/2], load.Partial, nil},
			{"bytes after its end", sized(field, append(bytes.Clone(good), "more"...)), load.Protocol, nil},
		} {
			for _, keep := range []bool{false, true} {
				t.Run(coding+" "+c.name+", kept "+strconv.FormatBool(keep), func(t *testing.T) {
					r := newRig(t, raw(t, func(nc net.Conn) { readHead(nc); io.WriteString(nc, c.answer) }))
					r.keep.Body = keep
					s := r.step(`{url: /, encodings: [` + name + `]}`)
					for range 2 { // decoders are used again
						call := r.do(s, 10e9)
						if call.Result.Cause != c.want {
							t.Fatalf("cause = %v (%v), want %v", call.Result.Cause, call.Err, c.want)
						}
						if c.want != load.None {
							continue
						}
						if n := call.Response.Size(); n != int64(len(c.body)) || keep && !bytes.Equal(call.Response.Body(), c.body) {
							t.Fatalf("%d bytes, want %d", n, len(c.body))
						}
					}
				})
			}
		}
	}
}

// What is asked for is decoded, whoever asks; an answer in anything else is left as it came.
func TestWhichCodingsAreDecoded(t *testing.T) {
	plain := []byte("all work and no play")
	zip, br := packed(t, "gzip", plain), packed(t, "br", plain)
	both := packed(t, "br", zip)
	for _, c := range []struct {
		target, step string
		fields       string
		body         []byte
		asks         string
		want         []byte
	}{
		{"", `{url: /}`, "Content-Encoding: gzip\r\n", zip, "", zip},
		{"", `{url: /, gzip: true}`, "Content-Encoding: gzip\r\n", zip, "gzip", plain},
		{"", `{url: /, gzip: true}`, "Content-Encoding: x-gzip\r\n", zip, "gzip", plain},
		{"", `{url: /, gzip: true}`, "Content-Encoding: br\r\n", br, "gzip", br},
		{"", `{url: /, encodings: [gzip, deflate, br, zstd]}`, "Content-Encoding: br\r\n", br, "gzip, deflate, br, zstd", plain},
		{"", `{url: /, encodings: [br, gzip]}`, "Content-Encoding: gzip, br\r\n", both, "br, gzip", plain},
		{"", `{url: /, encodings: [br, gzip]}`, "Content-Encoding: gzip\r\nContent-Encoding: br\r\n", both, "br, gzip", plain},
		{"", `{url: /, encodings: [br]}`, "Content-Encoding: gzip, br\r\n", both, "br", both},
		{"", `{url: /, encodings: [br]}`, "Content-Encoding: compress, br\r\n", br, "br", br},
		{"", `{url: /, encodings: [br]}`, "Content-Encoding: br, br, br, br, br\r\n", br, "br", br},
		{"", `{url: /, headers: {Accept-Encoding: "gzip, deflate, br"}}`, "Content-Encoding: br\r\n", br, "gzip, deflate, br", plain},
		{"", `{url: /, gzip: true, headers: {accept-encoding: br;q=1.0}}`, "Content-Encoding: br\r\n", br, "br;q=1.0", plain},
		{"", `{url: /, headers: {Accept-Encoding: "br;q=0, gzip"}}`, "Content-Encoding: br\r\n", br, "br;q=0, gzip", br},
		{"", `{url: /, headers: {Accept-Encoding: "br; q=0.000, *"}}`, "Content-Encoding: gzip\r\n", zip, "br; q=0.000, *", plain},
		{"", `{url: /, headers: {Accept-Encoding: identity}}`, "Content-Encoding: gzip\r\n", zip, "identity", zip},
		{"", `{url: /, headers: {Accept-Encoding: "${vu > 0 ? 'a' : 'gzip'}"}}`, "Content-Encoding: gzip\r\n", zip, "gzip", plain},
		{"gzip: true", `{url: /}`, "Content-Encoding: gzip\r\n", zip, "gzip", plain},
		{"gzip: true", `{url: /, encodings: [br]}`, "Content-Encoding: br\r\n", br, "br", plain},
		{"encodings: [br, zstd]", `{url: /}`, "Content-Encoding: br\r\n", br, "br, zstd", plain},
		{"encodings: [br, zstd]", `{url: /, encodings: []}`, "Content-Encoding: br\r\n", br, "", br},
		{"encodings: [br, zstd]", `{url: /, gzip: false}`, "Content-Encoding: br\r\n", br, "", br},
		{"encodings: [br, zstd]", `{url: /, gzip: true}`, "Content-Encoding: gzip\r\n", zip, "gzip", plain},
		{"headers: {Accept-Encoding: br}", `{url: /}`, "Content-Encoding: br\r\n", br, "br", plain},
		{"", `{url: /, method: HEAD, encodings: [br]}`, "Content-Encoding: br\r\n", nil, "br", nil},
	} {
		heads := make(chan string, 1)
		r := newRig(t, raw(t, func(nc net.Conn) { heads <- requestHead(nc); io.WriteString(nc, sized(c.fields, c.body)) }))
		r.target = c.target
		r.keep.Body = true
		call := r.get(c.step)
		if call.Err != nil || !bytes.Equal(call.Response.Body(), c.want) {
			t.Errorf("%s %s: %v, %q, want %q", c.target, c.step, call.Err, call.Response, c.want)
		}
		var asked []string
		for line := range strings.SplitSeq(<-heads, "\r\n") {
			if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, "Accept-Encoding") {
				asked = append(asked, value)
			}
		}
		if got := strings.Join(asked, " | "); got != c.asks {
			t.Errorf("%s %s asks for %q, want %q", c.target, c.step, got, c.asks)
		}
	}
}

// A decompression bomb costs neither memory nor time, whatever reads it.
func TestDecompressionBombs(t *testing.T) {
	zeros := make([]byte, 20<<20)
	for _, c := range []struct{ coding, field string }{{"gzip", "gzip"}, {"deflate", "deflate"}, {"br", "br"}, {"zstd", "zstd"}} {
		answer := sized("Content-Encoding: "+c.field+"\r\n", packed(t, c.coding, zeros))
		for _, keep := range []bool{false, true} {
			r := newRig(t, raw(t, func(nc net.Conn) { readHead(nc); io.WriteString(nc, answer) }))
			r.keep.Body = keep
			call := r.get(`{url: /, encodings: [` + c.field + `]}`)
			if call.Result.Cause != load.Overload || call.Err == nil || !keep && !strings.Contains(call.Err.Error(), "decompression bomb") {
				t.Errorf("%s, kept %v: cause %v (%v), want overload", c.coding, keep, call.Result.Cause, call.Err)
			}
		}
	}
	twice := packed(t, "gzip", packed(t, "gzip", zeros))
	r := newRig(t, raw(t, func(nc net.Conn) { readHead(nc); io.WriteString(nc, sized("Content-Encoding: gzip, gzip\r\n", twice)) }))
	if call := r.get(`{url: /, gzip: true}`); call.Result.Cause != load.Overload {
		t.Errorf("twice: cause %v (%v), want overload", call.Result.Cause, call.Err)
	}
}

func TestMistakesOfEncodings(t *testing.T) {
	for text, want := range map[string]string{
		`{url: /, encodings: [gzip, brotli]}`:         `must be gzip, deflate, br, zstd, got "brotli"`,
		`{url: /, encodings: [gzip, gzip]}`:           "gzip is there already",
		`{url: /, encodings: [br], gzip: true}`:       "say the same",
		`{url: /, encodings: [GZIP, identity, zstd]}`: `got "identity"`,
	} {
		if _, err := newRig(t, "http://127.0.0.1").compile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// The length of a head that is read is a key, and a longer one perfd's own refusal.
func TestLongHeads(t *testing.T) {
	for _, c := range []struct {
		target, step string
		length       int
		want         load.Cause
	}{
		{"", `{url: /}`, 60 << 10, load.None},
		{"", `{url: /}`, 65 << 10, load.Overload},
		{"", `{url: /, max_header: 1MiB}`, 900 << 10, load.None},
		{"max_header: 4KiB", `{url: /}`, 3 << 10, load.None},
		{"max_header: 4KiB", `{url: /}`, 5 << 10, load.Overload},
		{"max_header: 4KiB", `{url: /, max_header: 8KiB}`, 5 << 10, load.None},
	} {
		r := newRig(t, raw(t, func(nc net.Conn) {
			readHead(nc)
			io.WriteString(nc, sized("X: "+strings.Repeat("x", c.length)+"\r\n", []byte("a")))
		}))
		r.target = c.target
		if call := r.get(c.step); call.Result.Cause != c.want || c.want != load.None && !strings.Contains(call.Err.Error(), "max_header") {
			t.Errorf("%s %s with %d bytes: cause %v (%v), want %v", c.target, c.step, c.length, call.Result.Cause, call.Err, c.want)
		}
	}
	for _, text := range []string{`{url: /, max_header: 0B}`, `{url: /, max_header: 100B}`, `{url: /, max_header: 1GiB}`} {
		if _, err := newRig(t, "http://127.0.0.1").compile(text); err == nil || !strings.Contains(err.Error(), "must be from 1KiB to 16MiB") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
