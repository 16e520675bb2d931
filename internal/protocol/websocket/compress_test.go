package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/coder/websocket"

	"github.com/perfd/perfd/internal/load"
)

// deflated returns the payload of a compressed message, by Go's own library.
func deflated(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, text)
	if err := errors.Join(err, w.Flush()); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), deflateTail)
}

// serveDeflate serves WebSockets whose messages are compressed where the client offers that.
func serveDeflate(t testing.TB, handle func(ctx context.Context, c *websocket.Conn) error) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionNoContextTakeover, CompressionThreshold: 1})
		if err != nil {
			return
		}
		defer c.CloseNow()
		_ = handle(r.Context(), c) // the client sees what is wrong
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestCompressedMessages sends less than the messages are, takes less, and counts what they are.
func TestCompressedMessages(t *testing.T) {
	text := strings.Repeat(`{"type":"tick","price":100}`, 1000)
	base := serveDeflate(t, echo)
	u := newUser(t, base)
	c := u.must(`{url: /, compression: permessage-deflate, on_open: [{text: ` + "'" + text + "'" + `}], receive: any}`)
	if got, _ := c.Response.Header("Sec-WebSocket-Extensions"); !strings.HasPrefix(got, deflateName) {
		t.Errorf("the server agrees to %q", got)
	}
	if got := string(c.Response.Body()); got != text {
		t.Errorf("%d bytes came back, want those %d that were sent", len(got), len(text))
	}
	c = u.must(`{send: {text: ` + "'" + text + "'" + `}, echo: body}`)
	if r := c.Result; r.SentBytes > 2000 || r.ReceivedBytes > 2000 {
		t.Errorf("%d bytes were sent and %d came, for a message of %d", r.SentBytes, r.ReceivedBytes, len(text))
	}
	u.must(`{send: {text: a}, echo: body}`)
	u.must(`{send: {text: ""}, echo: body}`)
	u.must(`{send: {binary: AAEC}, receive: any}`)
	if n, want := u.count.sum.Bytes, int64(2*len(text)+4); n != [2]int64{want, want} {
		t.Errorf("messages of %d bytes, want %d each way", n, want)
	}
	// A server that does not agree gets and sends messages as they are.
	plain := newUser(t, serve(t, echo).URL)
	c = plain.must(`{url: /, compression: permessage-deflate, send: {text: ` + "'" + text + "'" + `}, echo: body}`)
	if _, agreed := c.Response.Header("Sec-WebSocket-Extensions"); agreed || c.Result.SentBytes < int64(len(text)) {
		t.Errorf("agreed: %t, %d bytes were sent", agreed, c.Result.SentBytes)
	}
	// One to which nothing was offered does not compress.
	c = newUser(t, base).must(`{url: /, send: {text: ` + "'" + text + "'" + `}, echo: body}`)
	if c.Result.SentBytes < int64(len(text)) || c.Result.ReceivedBytes < int64(len(text)) {
		t.Errorf("%d bytes were sent and %d came though nothing was asked for", c.Result.SentBytes, c.Result.ReceivedBytes)
	}
}

// TestACompressedMessageInFragments has a ping between its frames, and one message that is not compressed after it.
func TestACompressedMessageInFragments(t *testing.T) {
	p := deflated(t, "hello, hello, hello")
	base, _ := serveAgreeing(t, "Sec-WebSocket-Extensions: "+deflateOffer+"\r\n", frames(opText|compressed, p[:3], finBit|opPing, "", 0, "", finBit, p[3:], finBit|opText, "plain"))
	u := newUser(t, base)
	u.must(`{url: /, compression: permessage-deflate}`)
	u.must(`{send: {text: go}, receive: "body == 'hello, hello, hello'"}`)
	// The server has ended the stream. What came before that counts nevertheless.
	u.fails(`{receive: "body == 'other'"}`, load.Closed)
	if n := u.count.sum.Bytes[load.Received]; n != int64(len("hello, hello, hello")+len("plain")) {
		t.Errorf("messages of %d bytes came", n)
	}
}

func TestAnAnswerToTheOfferOfCompression(t *testing.T) {
	const agreed = deflateName + "; server_no_context_takeover"
	for answer, wrong := range map[string]string{
		agreed: "",
		agreed + "; client_no_context_takeover; server_max_window_bits=10": "",
		agreed + `;server_max_window_bits="15"`:                            "",
		deflateName:                                                        "keeps its window",
		deflateName + "; client_no_context_takeover":                       "keeps its window",
		agreed + "; server_no_context_takeover":                            "must not use",
		agreed + "; client_max_window_bits=10":                             "must not use",
		agreed + "; server_max_window_bits":                                "must not use",
		agreed + "; server_max_window_bits=16":                             "must not use",
		agreed + "; server_max_window_bits=08":                             "must not use",
		agreed + "; server_max_window_bits=7":                              "must not use",
		agreed + "; client_no_context_takeover=1":                          "must not use",
		agreed + "; x-other":                                               "must not use",
		agreed + ";":                                                       "must not use",
		agreed + ", " + agreed:                                             "was not offered",
		"x-webkit-deflate-frame":                                           "was not offered",
		"":                                                                 "was not offered",
	} {
		err := agreedDeflate(answer)
		if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%q: %v, want %q", answer, err, wrong)
		}
	}
	base, _ := serveAgreeing(t, "Sec-WebSocket-Extensions: "+agreed+"\r\n", "")
	newUser(t, base).fails(`{url: /}`, load.Protocol) // nothing was offered
	base, _ = serveAgreeing(t, strings.Repeat("Sec-WebSocket-Extensions: "+agreed+"\r\n", 2), "")
	newUser(t, base).fails(`{url: /, compression: permessage-deflate}`, load.Protocol)
}

// TestCompressionThatBreaksTheRules holds what a bomb may cost, too.
func TestCompressionThatBreaksTheRules(t *testing.T) {
	bomb := deflated(t, strings.Repeat("\x00", 64<<20))
	for _, h := range []struct {
		name, sent string
		cause      load.Cause
		told       int
	}{
		{"a bomb", frames(finBit|compressed|opBinary, bomb), load.Overload, closeTooBig},
		{"a bomb in fragments", frames(compressed|opBinary, bomb[:100], finBit, bomb[100:]), load.Overload, closeTooBig},
		{"no deflate", frames(finBit|compressed|opBinary, "\xff\xff\xff\xff"), load.Protocol, closeInvalid},
		{"the half of a block", frames(finBit|compressed|opText, deflated(t, "hello, hello, hello")[:5]), load.Protocol, closeInvalid},
		{"a distance beyond the begin", frames(finBit|compressed|opText, "\x02\x04\x00"), load.Protocol, closeInvalid},
		{"text that is not UTF-8", frames(finBit|compressed|opText, deflated(t, "\xff")), load.Protocol, closeInvalid},
		{"a compressed continuation", frames(compressed|opText, "", finBit|compressed, ""), load.Protocol, closeProtocol},
		{"a compressed ping", frames(finBit|compressed|opPing, ""), load.Protocol, closeProtocol},
	} {
		t.Run(h.name, func(t *testing.T) {
			base, told := serveAgreeing(t, "Sec-WebSocket-Extensions: "+deflateOffer+"\r\n", h.sent)
			u := newUser(t, base)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			u.fails(`{url: /, compression: permessage-deflate, send: {text: go}, receive: any}`, h.cause)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
				t.Errorf("%d bytes were allocated for a message of at most 1 MiB", n)
			}
			if got := <-told; len(got) != 8 || int(binary.BigEndian.Uint16([]byte(got[6:]))) != h.told {
				t.Errorf("the server is told %q, want a close with %d", got, h.told)
			}
		})
	}
}

// TestAnEndOfCompressionWithinAMessage is that of a sender whose last block says that it is the last (RFC 7692 section
// 7.2.3.4 has the example).
func TestAnEndOfCompressionWithinAMessage(t *testing.T) {
	for name, p := range map[string]string{
		"one block":           "\xf2\x48\xcd\xc9\xc9\x07\x00",
		"a last block":        "\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
		"no compression":      "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
		"two blocks":          "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
		"Go's own compressor": deflated(t, "Hello"),
	} {
		if got, err := inflate(nil, []byte(p), 5); string(got) != "Hello" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := inflate(nil, []byte("\xf2\x48\xcd\xc9\xc9\x07\x00"), 4); !errors.As(err, new(tooLargeError)) {
		t.Errorf("5 bytes where 4 are taken: %v", err)
	}
}

// FuzzInflate reads the payload of a compressed message as Go's own library does.
func FuzzInflate(f *testing.F) {
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"))
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"))
	f.Add([]byte("\x02\x04\x00"))
	f.Add([]byte(deflated(f, strings.Repeat("a", 1<<12))))
	const most = 1 << 16
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := inflate(nil, p, most)
		want, werr := io.ReadAll(io.LimitReader(flate.NewReader(iotest.OneByteReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(deflateEnd)))), most+1))
		if len(want) <= most && (werr == nil) != (err == nil) || len(want) > most && err == nil {
			t.Fatalf("%x: %v, Go's own library says %v", p, err, werr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Errorf("%x is %q, want %q", p, got, want)
		}
		frame := appendMessage(nil, opBinary, 0, p, true)
		h, n, err := parseHeader(append([]byte{frame[0], frame[1] &^ maskBit}, frame[2:]...))
		if err != nil {
			t.Fatal(err)
		}
		body := frame[n+4:]
		if h.compressed {
			if body, err = inflate(nil, body, len(p)); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(body, p) {
			t.Errorf("%x comes out as %x", p, body)
		}
	})
}
