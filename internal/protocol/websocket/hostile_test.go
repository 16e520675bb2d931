package websocket

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// frames returns frames of a server, each written by its first byte and its payload.
func frames(list ...any) string {
	var b []byte
	for i := 0; i < len(list); i += 2 {
		p := list[i+1].(string)
		b = append(b, byte(list[i].(int)))
		switch n := len(p); {
		case n <= maxControl:
			b = append(b, byte(n))
		case n < 1<<16:
			b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
		default:
			b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
		}
		b = append(b, p...)
	}
	return string(b)
}

// hostile is what a server may send against the rules, with the cause of the request that waits meanwhile and the code
// that the server is told, 0 for none.
var hostile = []struct {
	name, sent string
	cause      load.Cause
	told       int
}{
	{"more bytes than 63 bits count", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", load.Protocol, closeProtocol},
	{"more bytes than are taken", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", load.Overload, closeTooBig},
	{"one byte more than is taken", "\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x01", load.Overload, closeTooBig},
	{"fragments of more bytes than are taken", frames(opText, strings.Repeat("a", 1<<20), finBit, "b"), load.Overload, closeTooBig},
	{"fragments without end", frames(opText, "") + strings.Repeat("\x00\x00", maxFragment), load.Protocol, closeProtocol},
	{"a masked frame", "\x81\x85\x01\x02\x03\x04hello", load.Protocol, closeProtocol},
	{"a reserved bit", "\x91\x00", load.Protocol, closeProtocol},
	{"compression that was not agreed on", "\xc1\x00", load.Protocol, closeProtocol},
	{"a reserved opcode of messages", "\x83\x00", load.Protocol, closeProtocol},
	{"a reserved opcode of control", "\x8b\x00", load.Protocol, closeProtocol},
	{"a control frame of 126 bytes", frames(finBit|opPing, strings.Repeat("a", 126)), load.Protocol, closeProtocol},
	{"a control frame in fragments", frames(opPing, "a"), load.Protocol, closeProtocol},
	{"a continuation of nothing", frames(finBit, "a"), load.Protocol, closeProtocol},
	{"a message within another", frames(opText, "a", finBit|opText, "b"), load.Protocol, closeProtocol},
	{"text that is not UTF-8", frames(finBit|opText, "\xff"), load.Protocol, closeInvalid},
	{"text that is not UTF-8, in fragments", frames(opText, "\xe2\x82", finBit, "a"), load.Protocol, closeInvalid},
	{"half a code", frames(finBit|opClose, "\x03"), load.Protocol, closeProtocol},
	{"a code below 1000", frames(finBit|opClose, "\x03\xe7"), load.Protocol, closeProtocol},
	{"the code of no code", frames(finBit|opClose, "\x03\xed"), load.Protocol, closeProtocol},
	{"the code of an end without close", frames(finBit|opClose, "\x03\xee"), load.Protocol, closeProtocol},
	{"a code that nobody owns", frames(finBit|opClose, "\x0b\xb7"), load.Protocol, closeProtocol},
	{"a code above 4999", frames(finBit|opClose, "\x13\x88"), load.Protocol, closeProtocol},
	{"a reason that is not UTF-8", frames(finBit|opClose, "\x03\xe8\xff"), load.Protocol, closeInvalid},
	{"a close without code", frames(finBit|opClose, ""), load.Closed, closeNormal},
	{"an end within a frame", "\x81\x05hel", load.Closed, 0},
}

// serveBytes serves streams whose server sends the bytes as soon as it is told something, and returns its address and
// the first frame that it is told afterwards.
func serveBytes(t testing.TB, sent string) (base string, told <-chan string) {
	t.Helper()
	return serveAgreeing(t, "", sent)
}

// serveAgreeing is serveBytes of a server that answers the opening with header fields, too.
func serveAgreeing(t testing.TB, fields, sent string) (base string, told <-chan string) {
	t.Helper()
	return serveAt(t, "127.0.0.1", fields, sent)
}

// serveAt is serveAgreeing on a host.
func serveAt(t testing.TB, host, fields, sent string) (base string, told <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	frame := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		p := make([]byte, 6+len("go"))
		if !greetWith(c, fields) {
			return
		}
		if _, err := io.ReadFull(c, p); err != nil {
			return
		}
		_, _ = io.WriteString(c, sent) // the client may have enough before its end
		_ = c.(*net.TCPConn).CloseWrite()
		n, _ := io.ReadFull(c, p[:6])
		if n == 6 {
			m, _ := io.ReadFull(c, p[6:min(cap(p), 6+int(p[1]&^maskBit))])
			mask(binary.LittleEndian.Uint32(p[2:]), p[6:6+m])
			n += m
		}
		frame <- string(p[:n])
	}()
	return "ws://" + l.Addr().String(), frame
}

func TestAServerThatBreaksTheRules(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			base, told := serveBytes(t, h.sent)
			u := newUser(t, base)
			c := u.fails(`{url: /, send: {text: go}, receive: any}`, h.cause)
			if c.Response != nil {
				t.Errorf("there is an answer: %.40q", c.Response.Body())
			}
			got := <-told
			if h.told == 0 {
				if got != "" {
					t.Errorf("the server is told %q, want nothing", got)
				}
				return
			}
			if len(got) != 8 || got[0] != finBit|opClose || int(binary.BigEndian.Uint16([]byte(got[6:]))) != h.told {
				t.Errorf("the server is told %q, want a close with %d", got, h.told)
			}
		})
	}
}

// TestAMessageThatCannotBeEchoedIsNotSent fails before anything of the message is sent, and spoils no later step.
func TestAMessageThatCannotBeEchoedIsNotSent(t *testing.T) {
	u := newUser(t, serve(t, echo).URL)
	u.must(`{url: /}`)
	u.fails(`{send: {text: no JSON}, echo: json.id}`, load.Input)
	u.vu.Rest()
	u.must(`{ping: true}`)
	if n := u.count.received(); n != 0 || u.count.sum.Count[load.Sent] != 0 {
		t.Errorf("%d messages were sent and %d came back, want none", u.count.sum.Count[load.Sent], n)
	}
	u.must(`{send: {json: {id: 1}}, echo: json.id}`)
}

// TestAMessageWithoutAnswerWasSent counts what was sent to a server that never answers.
func TestAMessageWithoutAnswerWasSent(t *testing.T) {
	u := newUser(t, serve(t, func(ctx context.Context, c *websocket.Conn) error {
		for {
			if _, _, err := c.Read(ctx); err != nil {
				return err
			}
		}
	}).URL)
	u.must(`{url: /}`)
	for range 2 {
		step := compile(t, u.base, `{send: {text: hello}, receive: any}`)
		if c := u.do(step, 20*time.Millisecond); c.Result.Cause != load.Timeout {
			t.Fatalf("cause %v (%v), want timeout", c.Result.Cause, c.Err)
		}
	}
	if n := u.count.sum.Count[load.Sent]; n != 2 {
		t.Errorf("%d messages were counted as sent, want 2", n)
	}
}

// TestAMessageThatIsSentAgainCountsOnce has the server close a stream in the instant in which it is used again.
func TestAMessageThatIsSentAgainCountsOnce(t *testing.T) {
	var opened, took atomic.Int32
	closing := make(chan struct{})
	u := newUser(t, serve(t, func(ctx context.Context, c *websocket.Conn) error {
		if opened.Add(1) == 1 {
			<-closing
			return c.CloseNow()
		}
		for {
			kind, p, err := c.Read(ctx)
			if err != nil {
				return err
			}
			took.Add(1)
			if err := c.Write(ctx, kind, p); err != nil {
				return err
			}
		}
	}).URL)
	u.must(`{url: /}`)
	step := compile(t, u.base, `{url: /, send: {text: hello}, echo: body}`)
	time.AfterFunc(20*time.Millisecond, func() { close(closing) })
	if c := u.do(step, 10*time.Second); c.Result.Cause != load.None {
		t.Fatal(c.Err)
	} else if s := c.Response.(expr.Streamed).Stream(); s.Sent != 1 {
		t.Errorf("the step sent %d messages, want 1", s.Sent)
	}
	if n := u.count.sum.Count[load.Sent]; n != 1 || took.Load() != 1 {
		t.Errorf("%d messages were counted, the server took %d; want 1 each", n, took.Load())
	}
}

// TestAStepEndsAmongMessagesWithoutEnd keeps a step's deadline although the server never makes the stream wait.
func TestAStepEndsAmongMessagesWithoutEnd(t *testing.T) {
	u := newUser(t, serve(t, func(ctx context.Context, c *websocket.Conn) error {
		p := []byte(strings.Repeat("a", 100))
		for c.Write(ctx, websocket.MessageText, p) == nil {
		}
		return nil
	}).URL)
	u.must(`{url: /}`)
	time.Sleep(2 * time.Duration(idleCheck)) // the stream rests
	begin := time.Now()
	c := u.do(compile(t, u.base, `{receive: body == "b"}`), 100*time.Millisecond)
	if took := time.Since(begin); c.Result.Cause != load.Timeout || took > 5*time.Second {
		t.Errorf("cause %v (%v) after %v, want timeout after 100ms", c.Result.Cause, c.Err, took)
	}
}

// TestAMessageIsSentAlthoughAPingIsDue has a ping become due between the moment in which a message is to be written and
// that in which it is.
func TestAMessageIsSentAlthoughAPingIsDue(t *testing.T) {
	u := newUser(t, serve(t, echo).URL)
	u.must(`{url: /, ping_every: 1h}`)
	held, err := u.vu.Session(protocol.Key{Kind: Kind.Name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := held.(*session)
	frame := appendFrame(nil, opText, 1, []byte("hello"))
	for i := range int64(1000) {
		s.pend, s.pingAt = frame, s.stream.Now()+5*i
		if _, err := s.next(s.stream.Now() + int64(2*time.Second)); err != nil {
			t.Fatalf("with a ping %d ns later: %v", 5*i, err)
		}
	}
}

// TestStreamsAreOpenedAgainUnderTheLimit asks for the token of each attempt, and waits until it is due.
func TestStreamsAreOpenedAgainUnderTheLimit(t *testing.T) {
	var opened, tokens atomic.Int32
	u := newUser(t, serve(t, func(ctx context.Context, c *websocket.Conn) error {
		if opened.Add(1) == 1 {
			return c.CloseNow()
		}
		return echo(ctx, c)
	}).URL)
	u.vu.Env.Redirect = func(host string, _ uint16, _ []netip.Addr, turn bool) (time.Duration, bool) {
		if host != "127.0.0.1" {
			t.Errorf("a token for %q", host)
		}
		if tokens.Add(1); turn {
			return 0, true
		}
		return 50 * time.Millisecond, false
	}
	c := u.must(`{url: /, reconnect: {back_off: 1ms}, listen: 300ms}`)
	if n := tokens.Load(); n != 2 || opened.Load() != 2 {
		t.Errorf("asked %d times for a token of %d openings, want twice for the second", n, opened.Load())
	}
	if again := u.count.timed[load.Reconnect]; len(again) != 1 || again[0] < int64(50*time.Millisecond) || c.Result.Waited != 0 {
		t.Errorf("opened again after %v, want 50ms at least", again)
	}
}

// TestWhatAnOpeningSays reads an opening request as a server does.
func TestWhatAnOpeningSays(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan *http.Request, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			t.Error(err)
		}
		asked <- r
	}()
	u := newUser(t, "ws://"+l.Addr().String())
	c := u.fails(`{url: "/a?b=c", headers: {Origin: http://shop.example, user-agent: mine}, subprotocols: [a.v1, a.v2]}`, load.Closed)
	r := <-asked
	if r.Method != http.MethodGet || r.RequestURI != "/a?b=c" || r.Host != l.Addr().String() {
		t.Errorf("%s %s of %s", r.Method, r.RequestURI, r.Host)
	}
	for name, want := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Version": "13", "Sec-Websocket-Protocol": "a.v1, a.v2",
		"Origin": "http://shop.example", "User-Agent": "mine", "X-Perfd": "scenario/run",
		"Traceparent": "00-00000000000000000000000000000000-0000000000000000-00",
	} {
		if got := r.Header[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if key := r.Header.Get("Sec-Websocket-Key"); len(key) != keyLength || c.Result.SentBytes == 0 {
		t.Errorf("key %q, %d bytes sent", key, c.Result.SentBytes)
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	for address, want := range map[string]string{
		"/a b":                 `holds ' ', which must be percent-encoded`,
		"/ä":                   `holds 'ä', which must be percent-encoded`,
		"/a#b":                 "holds a fragment, which is never sent",
		"ftp://127.0.0.1/":     "must be ws or wss",
		"ws://127.0.0.1:0/":    `port "0" is not one`,
		"ws://a:b@127.0.0.1/":  "must not hold a password",
		"ws://${host}/":        "must not hold ${…}",
		"ws:///a":              "not a URL",
		"realtime":             "must begin with / or be a whole URL",
		"ws://[fe80::1%25?]/a": "not a URL",
	} {
		if err := mistakes("ws://127.0.0.1", "{url: '"+address+"'}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	var o opening
	if o.address(block.Text{S: "wss://Bücher.example/", Path: "url"}, &protocol.Compiler{Symbols: expr.NewSymbols(nil), Errors: &block.Errors{}}); o.host != "xn--bcher-kva.example" || o.origin != (wire.Origin{TLS: true, Host: o.host, Port: 443}) {
		t.Errorf("host %q, origin %+v", o.host, o.origin)
	}
}

// FuzzStream gives a step what a server sends, which ends: the step ends too, for a cause that is the server's.
func FuzzStream(f *testing.F) {
	for _, h := range hostile {
		if len(h.sent) < 1<<10 {
			f.Add([]byte(h.sent), false)
			f.Add([]byte(h.sent), true)
		}
	}
	f.Add([]byte(frames(opText, "he", finBit|opPing, "a", 0, "l", finBit, "lo", finBit|opBinary, strings.Repeat("a", 200), finBit|opClose, "\x03\xe8")), false)
	packed := deflated(f, `{"seq": 1, "type": "tick"}`)
	f.Add([]byte(frames(opText|compressed, packed[:5], finBit|opPing, "a", finBit, packed[5:], finBit|compressed|opBinary, deflated(f, strings.Repeat("a", 1<<12)))), true)
	step := compile(f, "ws://127.0.0.1", `{send: {text: go}, receive: size > 100000}`)
	n := 0
	f.Fuzz(func(t *testing.T, sent []byte, agrees bool) {
		if len(sent) > 1<<16 {
			return
		}
		open, fields := `{url: /, sequence: json.seq, each: json.type != nil}`, ""
		if agrees {
			open, fields = `{url: /, sequence: json.seq, each: json.type != nil, compression: permessage-deflate}`, "Sec-WebSocket-Extensions: "+deflateOffer+"\r\n"
		}
		n++ // each host has ports of its own, of which a closed connection keeps one for a minute
		base, told := serveAt(t, fmt.Sprintf("127.%d.%d.%d", 1+n>>16&0x7f, n>>8&0xff, 1+n%254), fields, string(sent))
		u := newUser(t, base)
		u.must(open)
		c := u.do(step, 5*time.Second)
		switch c.Result.Cause {
		case load.Closed, load.Protocol, load.Status, load.Overload, load.Reset:
		default:
			if agrees && c.Result.Cause == load.None && c.Response.Size() > 100000 {
				break // what unpacks may be so large
			}
			t.Errorf("%q: cause %v (%v)", sent, c.Result.Cause, c.Err)
		}
		if s := u.count.sum; s.Count[load.Received] > uint64(len(sent)/2) || !agrees && s.Bytes[load.Received] > int64(len(sent)) {
			t.Errorf("%q: %d messages of %d bytes", sent, s.Count[load.Received], s.Bytes[load.Received])
		}
		u.vu.Close()
		<-told
	})
}
