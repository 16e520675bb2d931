package grpc

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perfd/perfd/internal/load"
)

// An enemy is the server's side of one connection over HTTP/2, on which it breaks rules.
type enemy struct {
	*http2.Framer
	c      net.Conn
	stream uint32 // of the last request
	block  bytes.Buffer
	pack   *hpack.Encoder
}

func newEnemy(c net.Conn) *enemy {
	e := &enemy{Framer: http2.NewFramer(c, c), c: c}
	e.AllowIllegalWrites, e.AllowIllegalReads = true, true
	e.pack = hpack.NewEncoder(&e.block)
	return e
}

// greet takes the client's preface and says the server's settings.
func (e *enemy) greet(settings ...http2.Setting) bool {
	if _, err := io.ReadFull(e.c, make([]byte, len(http2.ClientPreface))); err != nil {
		return false
	}
	return errors.Join(e.WriteSettings(settings...), e.WriteSettingsAck()) == nil
}

// asked reads to the message of a request.
func (e *enemy) asked() bool {
	for {
		f, err := e.ReadFrame()
		if err != nil {
			return false
		}
		if d, ok := f.(*http2.DataFrame); ok {
			e.stream = d.StreamID
			return true
		}
	}
}

// pack returns a block of header fields, names and values in turn.
func (e *enemy) fields(list ...string) []byte {
	e.block.Reset()
	for i := 0; i < len(list); i += 2 {
		_ = e.pack.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]}) // a buffer takes all
	}
	return bytes.Clone(e.block.Bytes())
}

// A failed write is that of a client that has gone, which is what most of them are to do; reading on finds it out.

func (e *enemy) headers(end bool, list ...string) {
	_ = e.WriteHeaders(http2.HeadersFrameParam{StreamID: e.stream, BlockFragment: e.fields(list...), EndHeaders: true, EndStream: end})
}

// head begins an answer.
func (e *enemy) head(more ...string) {
	e.headers(false, append([]string{":status", "200", "content-type", "application/grpc"}, more...)...)
}

func (e *enemy) data(p string) { _ = e.WriteData(e.stream, false, []byte(p)) }

// emptyMessage is a message without fields, and ok the trailers of a success.
const emptyMessage = "\x00\x00\x00\x00\x00"

func (e *enemy) ok() { e.headers(true, "grpc-status", "0") }

// answers is a whole answer.
func (e *enemy) answers() {
	e.head()
	e.data(emptyMessage)
	e.ok()
}

// end says that nothing more comes.
func (e *enemy) end() {
	if c, ok := e.c.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
}

// serveEnemies serves each connection by a function until that returns, and reads then until the client leaves.
func serveEnemies(t testing.TB, does func(e *enemy)) (address string) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				e := newEnemy(c)
				does(e)
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// peak returns the most bytes that a collection of the heap found alive while f ran. The heap is collected often, whatever
// the environment says: what grows is found, and garbage is not counted.
func peak(f func()) (most uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for {
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64())
			select {
			case <-over:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	f()
	close(over)
	wg.Wait()
	return most
}

func gzipped(t testing.TB, n int) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for ; n > 0; n -= len(zeros) {
		if _, err := w.Write(zeros[:min(n, len(zeros))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// framed returns a message as it stands in DATA frames.
func framed(flag byte, p string) string {
	n := len(p)
	return string([]byte{flag, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + p
}

// split sends bytes in frames that the client has room for, as far as it says so.
func (e *enemy) split(p string) {
	for len(p) > 0 {
		n := min(len(p), 16<<10)
		e.data(p[:n])
		p = p[n:]
	}
}

// TestAServerThatBreaksTheRules holds what a request on which a server does something bad fails for, that it ends in
// time, and what it costs. A request by one message and the receipt of one on a stream have the same cause, unless the
// case has another for streams.
func TestAServerThatBreaksTheRules(t *testing.T) {
	const hangs = 400 * time.Millisecond
	bomb := gzipped(t, 64<<20)
	same := load.Cause(255)
	set := "{max_read: 1MiB, max_header: 16KiB, descriptors: {protoset: [" + interopSet(t) + "]}}"
	for _, h := range []struct {
		name     string
		settings []http2.Setting
		does     func(e *enemy)
		cause    load.Cause
		onStream load.Cause
		words    string
	}{
		{"settings that never come", nil, nil, load.Timeout, same, ""},
		{"flow control that never opens", []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(*enemy) {}, load.Timeout, same, ""},
		{"no stream is allowed", []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, func(*enemy) {}, load.Timeout, same, ""},
		{"settings that make no sense", []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1 << 31}}, func(*enemy) {}, load.Protocol, same, ""},
		{"silence", nil, func(*enemy) {}, load.Timeout, same, ""},

		{"a head that never ends", nil, func(e *enemy) {
			_ = e.WriteHeaders(http2.HeadersFrameParam{StreamID: e.stream, BlockFragment: e.fields(":status", "200")})
			for e.WriteContinuation(e.stream, false, e.fields("a", strings.Repeat("b", 1000))) == nil {
			}
		}, load.Protocol, same, ""},
		{"a head that never ends, of nothing", nil, func(e *enemy) {
			_ = e.WriteHeaders(http2.HeadersFrameParam{StreamID: e.stream, BlockFragment: e.fields(":status", "200")})
			for e.WriteContinuation(e.stream, false, nil) == nil {
			}
		}, load.Timeout, same, ""},
		{"half a head", nil, func(e *enemy) {
			_ = e.WriteHeaders(http2.HeadersFrameParam{StreamID: e.stream, BlockFragment: e.fields(":status", "200")})
		}, load.Timeout, same, ""},
		{"a head that is too large", nil, func(e *enemy) { e.head("a", strings.Repeat("b", 15<<10), "c", strings.Repeat("d", 1<<10)) }, load.Overload, same, "max_header"},
		{"a head that is no HPACK", nil, func(e *enemy) {
			_ = e.WriteHeaders(http2.HeadersFrameParam{StreamID: e.stream, BlockFragment: []byte("\xff\xff\xff\xff\xff\xff\xff"), EndHeaders: true})
		}, load.Protocol, same, ""},
		{"interim answers without end", nil, func(e *enemy) {
			block := e.fields(":status", "100")
			for e.WriteHeaders(http2.HeadersFrameParam{StreamID: e.stream, BlockFragment: block, EndHeaders: true}) == nil {
			}
		}, load.Timeout, same, ""},
		{"a head in the middle", nil, func(e *enemy) { e.head(); e.head() }, load.Protocol, same, ""},
		{"a page", nil, func(e *enemy) {
			e.headers(false, ":status", "200", "content-type", "text/html")
			e.data("<html>")
			e.headers(true)
		}, load.Protocol, same, "text/html"},
		{"the page of a proxy", nil, func(e *enemy) { e.headers(true, ":status", "503", "content-type", "text/html") }, load.Status, same, "503"},
		{"no status of HTTP", nil, func(e *enemy) { e.headers(true, "content-type", "text/html") }, load.Protocol, same, ""},
		{"metadata that is no base64", nil, func(e *enemy) { e.head("x-bin", "%") }, load.Protocol, same, ""},

		{"no grpc-status", nil, func(e *enemy) { e.head(); e.headers(true, "a", "b") }, load.Status, same, "UNKNOWN"},
		{"a status that is no number", nil, func(e *enemy) { e.head(); e.headers(true, "grpc-status", "OK") }, load.Protocol, same, "grpc-status"},
		{"a status beyond all numbers", nil, func(e *enemy) { e.head(); e.headers(true, "grpc-status", "99999999999999999999") }, load.Protocol, same, "grpc-status"},
		{"a status that nobody knows", nil, func(e *enemy) { e.head(); e.headers(true, "grpc-status", "77") }, load.Status, same, "77"},
		{"two statuses", nil, func(e *enemy) { e.head(); e.headers(true, "grpc-status", "0", "grpc-status", "13") }, load.Status, same, "INTERNAL"},
		{"a message of percent signs", nil, func(e *enemy) { e.head(); e.headers(true, "grpc-status", "5", "grpc-message", "%zz%%4") }, load.Status, same, "NOT_FOUND: %zz%%4"},
		{"a success without a message", nil, func(e *enemy) { e.head(); e.ok() }, load.Protocol, load.Closed, ""},
		{"a success that is all", nil, func(e *enemy) {
			e.headers(true, ":status", "200", "content-type", "application/grpc", "grpc-status", "0")
		}, load.Protocol, load.Closed, ""},
		{"two messages", nil, func(e *enemy) { e.head(); e.data(emptyMessage + emptyMessage); e.ok() }, load.Protocol, load.None, ""},

		{"a message of 4 GiB", nil, func(e *enemy) { e.head(); e.data("\x00\xff\xff\xff\xff") }, load.Overload, same, "max_read"},
		{"a message that is larger than is read", nil, func(e *enemy) { e.head(); e.split(framed(0, strings.Repeat("a", 1<<20+1))) }, load.Overload, same, "max_read"},
		{"half a message", nil, func(e *enemy) { e.head(); e.data("\x00\x00\x00\x00\x0aabc"); e.ok() }, load.Partial, same, ""},
		{"half a length", nil, func(e *enemy) { e.head(); e.data("\x00\x00"); e.ok() }, load.Partial, same, ""},
		{"a message of another kind", nil, func(e *enemy) { e.head(); e.data(framed(2, "")) }, load.Protocol, same, ""},
		{"compression without a name", nil, func(e *enemy) { e.head(); e.data(framed(1, "")) }, load.Protocol, same, ""},
		{"compression that nobody knows", nil, func(e *enemy) { e.head("grpc-encoding", "zip"); e.data(framed(1, "a")) }, load.Protocol, same, ""},
		{"compression that is none", nil, func(e *enemy) { e.head("grpc-encoding", "gzip"); e.data(framed(1, "abc")); e.ok() }, load.Protocol, same, ""},
		{"a bomb", nil, func(e *enemy) { e.head("grpc-encoding", "gzip"); e.split(framed(1, bomb)); e.ok() }, load.Overload, same, "max_read"},
		{"a frame that is larger than is allowed", nil, func(e *enemy) { e.head(); e.data(strings.Repeat("a", 1<<20)) }, load.Protocol, same, ""},
		{"padding that is longer than its frame", nil, func(e *enemy) {
			e.head()
			_ = e.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, e.stream, []byte("\xffabc"))
		}, load.Protocol, same, ""},

		{"a reset", nil, func(e *enemy) { _ = e.WriteRSTStream(e.stream, http2.ErrCodeInternal) }, load.Reset, same, "INTERNAL_ERROR"},
		{"a reset that refuses", nil, func(e *enemy) {
			for {
				if e.WriteRSTStream(e.stream, http2.ErrCodeRefusedStream) != nil || !e.asked() {
					return
				}
			}
		}, load.Reset, same, "REFUSED_STREAM"},
		{"a reset in the middle", nil, func(e *enemy) { e.head(); _ = e.WriteRSTStream(e.stream, http2.ErrCodeCancel) }, load.Reset, same, "CANCEL"},
		{"resets of what was never there", nil, func(e *enemy) {
			for i := range uint32(10000) {
				_ = e.WriteRSTStream(2*i+1001, http2.ErrCodeCancel)
			}
			e.answers()
		}, load.None, same, ""},
		{"a good-bye to nobody, each time", nil, func(e *enemy) { _ = e.WriteGoAway(0, http2.ErrCodeNo, nil) }, load.Closed, same, ""},
		{"a good-bye after which it answers", nil, func(e *enemy) { _ = e.WriteGoAway(e.stream, http2.ErrCodeNo, nil); e.answers() }, load.None, same, ""},
		{"a good-bye for all streams, and one for none", nil, func(e *enemy) {
			_ = e.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
			_ = e.WriteGoAway(0, http2.ErrCodeNo, nil)
			e.end()
		}, load.Closed, same, ""},
		{"a good-bye to a stream that the server may not open", nil, func(e *enemy) { _ = e.WriteGoAway(2, http2.ErrCodeNo, nil) }, load.Timeout, same, ""},
		{"a good-bye that grows", nil, func(e *enemy) {
			_ = e.WriteGoAway(e.stream, http2.ErrCodeNo, nil)
			_ = e.WriteGoAway(e.stream+2, http2.ErrCodeNo, nil)
		}, load.Timeout, same, ""},
		{"a good-bye for too many pings", nil, func(e *enemy) {
			_ = e.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
			e.end()
		}, load.Closed, same, ""},
		{"an end", nil, func(e *enemy) { e.head(); e.end() }, load.Closed, same, ""},

		{"a promise", nil, func(e *enemy) {
			_ = e.WritePushPromise(http2.PushPromiseParam{StreamID: e.stream, PromiseID: 2, BlockFragment: e.fields(":path", "/"), EndHeaders: true})
			e.answers()
		}, load.None, same, ""},
		{"frames that nobody knows", nil, func(e *enemy) {
			for range 1000 {
				_ = e.WriteRawFrame(0xfe, 0xff, e.stream, []byte("abc"))
			}
			e.answers()
		}, load.None, same, ""},
		{"a flood of settings, whose receipts are read", nil, func(e *enemy) {
			go func() { _, _ = io.Copy(io.Discard, e.c) }()
			for range 20000 {
				_ = e.WriteSettings()
			}
			e.answers()
		}, load.None, same, ""},
		{"a flood of settings, whose receipts nobody reads", nil, func(e *enemy) {
			_ = e.c.SetWriteDeadline(time.Now().Add(2 * time.Second))
			for e.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}) == nil {
			}
		}, load.Timeout, same, ""},
		{"a flood of pings, whose answers nobody reads", nil, func(e *enemy) {
			_ = e.c.SetWriteDeadline(time.Now().Add(2 * time.Second))
			for e.WritePing(false, [8]byte{}) == nil {
			}
		}, load.Timeout, same, ""},
		{"a window that grows by nothing", nil, func(e *enemy) { _ = e.WriteWindowUpdate(e.stream, 0) }, load.Protocol, same, ""},
		{"a stream of nothing without end", nil, func(e *enemy) {
			e.head()
			for e.WriteData(e.stream, false, nil) == nil {
			}
		}, load.Timeout, same, ""},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			address := serveEnemies(t, func(e *enemy) {
				if h.does != nil && e.greet(h.settings...) && e.asked() {
					h.does(e)
				}
			})
			for name, step := range map[string]string{
				"a request": `{method: grpc.testing.TestService/UnaryCall, message: {}}`,
				"a stream":  `{method: grpc.testing.TestService/FullDuplexCall, send: {}, receive: any}`,
			} {
				want := h.cause
				if name == "a stream" && h.onStream != same {
					want = h.onStream
				}
				timeout := 20 * time.Second
				if want == load.Timeout {
					timeout = hangs
				}
				k := &talker{user: newUser(t), t: t, address: address, target: set}
				begin := time.Now()
				c := k.step(step, timeout)
				if took := time.Since(begin); took > timeout+5*time.Second {
					t.Errorf("%s took %v, its timeout is %v", name, took, timeout)
				}
				if c.Result.Cause != want || h.words != "" && (c.Err == nil || !strings.Contains(c.Err.Error(), h.words)) {
					t.Errorf("%s: %v: %v, want %v: %s", name, c.Result.Cause, c.Err, want, h.words)
				}
			}
		})
	}
}

// TestWhatAHostileServerCosts holds the memory of requests whose answers are bombs, or are never taken.
func TestWhatAHostileServerCosts(t *testing.T) {
	bomb, set := gzipped(t, 64<<20), interopSet(t)
	page := strings.Repeat("a", 16<<10)
	for name, does := range map[string]func(e *enemy){
		"a bomb": func(e *enemy) { e.head("grpc-encoding", "gzip"); e.split(framed(1, bomb)); e.ok() },
		"a head that never ends": func(e *enemy) {
			_ = e.WriteHeaders(http2.HeadersFrameParam{StreamID: e.stream, BlockFragment: e.fields(":status", "200")})
			for e.WriteContinuation(e.stream, false, e.fields("a", page[:1000])) == nil {
			}
		},
		"a page without end": func(e *enemy) {
			e.headers(false, ":status", "200", "content-type", "text/html")
			p := []byte(page)
			for e.WriteData(e.stream, false, p) == nil {
			}
		},
		"pings without end": func(e *enemy) {
			_ = e.c.SetWriteDeadline(time.Now().Add(2 * time.Second))
			for e.WritePing(false, [8]byte{}) == nil {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			address := serveEnemies(t, func(e *enemy) {
				if e.greet() && e.asked() {
					does(e)
				}
			})
			k := &talker{user: newUser(t), t: t, address: address, target: "{max_read: 1MiB, descriptors: {protoset: [" + set + "]}}"}
			idle := peak(func() {})
			most := peak(func() { k.step(`{method: grpc.testing.TestService/UnaryCall, message: {}}`, time.Second) })
			if most > idle+24<<20 {
				t.Errorf("%d MiB more than before", (most-idle)>>20)
			}
		})
	}
}

// TestRapidResets lets a server end each of many requests at once: the connection goes on, and nothing of them is left.
func TestRapidResets(t *testing.T) {
	address := serveEnemies(t, func(e *enemy) {
		if !e.greet() {
			return
		}
		for n := 0; e.asked(); n++ {
			if n%100 == 99 {
				e.answers()
			} else if e.WriteRSTStream(e.stream, http2.ErrCodeCancel) != nil {
				return
			}
		}
	})
	u := newUser(t)
	s := mustCompile(t, "http://"+address, "{descriptors: {protoset: ["+interopSet(t)+"]}}", `{method: grpc.testing.TestService/UnaryCall}`, nil)
	for n := range 500 {
		want := load.Reset
		if n%100 == 99 {
			want = load.None
		}
		if c := u.do(s, nil); c.Result.Cause != want {
			t.Fatalf("request %d: %v: %v, want %v", n, c.Result.Cause, c.Err, want)
		}
	}
	if n := u.Env.Connections.Opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestAStreamThatNeverEnds sends messages faster than they are taken, none of which is waited for: the step ends in time,
// and memory does not grow with what was sent.
func TestAStreamThatNeverEnds(t *testing.T) {
	k := newTalker(t, map[string]func(*talk) error{"Watch": func(k *talk) error {
		for {
			if err := k.send(`{"id": 1, "text": "abc"}`); err != nil {
				return err
			}
		}
	}})
	idle := peak(func() {})
	most := peak(func() {
		begin := time.Now()
		c := k.step(`{method: made.Talk/Watch, receive: json.id == 2}`, time.Second)
		if took := time.Since(begin); c.Result.Cause != load.Timeout || took > 6*time.Second {
			t.Errorf("%v: %v after %v, want timeout after 1s", c.Result.Cause, c.Err, took)
		}
	})
	if most > idle+48<<20 {
		t.Errorf("%d MiB more than before, after %d messages", (most-idle)>>20, k.count(received))
	}
	k.must(`{close: cancel}`)
}

// TestAMessageBeforeTheHead is of an answer whose head comes after its message.
func TestAMessageBeforeTheHead(t *testing.T) {
	address := serveEnemies(t, func(e *enemy) {
		if e.greet() && e.asked() {
			e.data(emptyMessage)
			e.answers()
		}
	})
	k := &talker{user: newUser(t), t: t, address: address, target: "{descriptors: {protoset: [" + interopSet(t) + "]}}"}
	if c := k.step(`{method: grpc.testing.TestService/UnaryCall}`, time.Second); c.Result.Cause != load.Protocol {
		t.Errorf("%v: %v", c.Result.Cause, c.Err)
	}
}
