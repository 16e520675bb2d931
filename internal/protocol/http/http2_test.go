package http

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
)

// overEach runs a test over each version of HTTP, which is in its name.
func overEach(t *testing.T, test func(t *testing.T)) {
	for _, version := range []string{"1.1", "2"} {
		t.Run("HTTP "+version, test)
	}
}

// versionOf is the version in the name of a test that overEach runs, 1.1 for any other.
func versionOf(t testing.TB) string {
	if strings.Contains(t.Name(), "/HTTP_2") {
		return "2"
	}
	return "1.1"
}

// serveTwo runs Go's server with HTTP/2 without TLS.
func serveTwo(t testing.TB, f http.HandlerFunc) string {
	srv := httptest.NewUnstartedServer(f)
	srv.Config.Protocols = &http.Protocols{}
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestOneRequestOverHTTP2(t *testing.T) {
	base := serveTwo(t, func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		w.Header().Set("X-Proto", q.Proto)
		io.WriteString(w, q.Method+" "+q.URL.String()+" "+q.Host+" "+string(body))
	})
	r := newRig(t, base)
	r.target = `version: "2"`
	r.keep.Body = true
	for range 3 {
		call := r.get(`{url: "/a?b=c", body: hello}`)
		if call.Result.Cause != load.None {
			t.Fatal(call.Result.Cause, call.Err)
		}
		proto, _ := call.Response.Header("X-Proto")
		if want := "POST /a?b=c " + strings.TrimPrefix(base, "http://") + " hello"; string(call.Response.Body()) != want || proto != "HTTP/2.0" || call.Result.Code != 200 || call.Result.Version != 2 {
			t.Errorf("the answer is %d %q over %s, want %q", call.Result.Code, call.Response.Body(), proto, want)
		}
	}
	if n := r.env.Connections.Opened.Load(); n != 1 {
		t.Errorf("%d connections opened, want 1", n)
	}
}

// A peer is a server's end of a connection, which does with frames what it likes.
type peer struct {
	*http2.Framer
	net.Conn
	out   bytes.Buffer
	enc   *hpack.Encoder
	asked []hpack.HeaderField // of the last request

	settled bool // the client has acknowledged the settings
}

// framed serves connections by frames. Each begins with settings.
func framed(t testing.TB, settings []http2.Setting, f func(p *peer)) string {
	return each(t, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		p := &peer{Framer: http2.NewFramer(c, c), Conn: c}
		p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		p.AllowIllegalWrites = true
		p.enc = hpack.NewEncoder(&p.out)
		if p.WriteSettings(settings...) == nil {
			f(p)
		}
	})
}

// ask reads up to the end of the next request, and returns its stream; 0 at the end of the connection. The settings are
// acknowledged then.
func (p *peer) ask() (asked uint32) {
	for asked == 0 || !p.settled {
		f, err := p.ReadFrame()
		if err != nil {
			return 0
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if p.asked = f.Fields; f.StreamEnded() {
				asked = f.StreamID
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				asked = f.StreamID
			}
		case *http2.SettingsFrame:
			if p.settled = f.IsAck(); !p.settled {
				_ = p.WriteSettingsAck()
			}
		}
	}
	return asked
}

// head encodes fields, names and values in turn.
func (p *peer) head(fields ...string) []byte {
	p.out.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return p.out.Bytes()
}

// respond sends an answer.
func (p *peer) respond(id uint32, body string, fields ...string) {
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(append([]string{":status", "200"}, fields...)...), EndHeaders: true})
	_ = p.WriteData(id, true, []byte(body))
}

// rest answers all further requests.
func (p *peer) rest() {
	for id := p.ask(); id > 0; id = p.ask() {
		p.respond(id, "ok")
	}
}

// Each row is a server that misbehaves on its first stream, and is good afterwards.
func TestServersOfHTTP2ThatMisbehave(t *testing.T) {
	t.Parallel()
	raw := func(p *peer, kind http2.FrameType, flags http2.Flags, id uint32, payload string) {
		_ = p.WriteRawFrame(kind, flags, id, []byte(payload))
	}
	headers := func(fields ...string) func(*peer, uint32) {
		return func(p *peer, id uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(fields...), EndHeaders: true, EndStream: true})
		}
	}
	for _, c := range []struct {
		name string
		f    func(p *peer, id uint32)
		want load.Cause
		same bool // the connection goes on
	}{
		{"a good one", func(p *peer, id uint32) { p.respond(id, "ok") }, load.None, true},
		{"head only", headers(":status", "204"), load.None, true},
		{"interim answers", func(p *peer, id uint32) {
			for _, status := range []string{"100", "103"} {
				_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":status", status, "link", "x"), EndHeaders: true})
			}
			p.respond(id, "ok")
		}, load.None, true},
		{"trailers", func(p *peer, id uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":status", "200"), EndHeaders: true})
			_ = p.WriteData(id, false, []byte("abc"))
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head("t", "v"), EndHeaders: true, EndStream: true})
		}, load.None, true},
		{"padding and priority", func(p *peer, id uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":status", "200"), EndHeaders: true, PadLength: 9, Priority: http2.PriorityParam{StreamDep: 1, Weight: 3}})
			_ = p.WriteDataPadded(id, true, []byte("abc"), make([]byte, 7))
		}, load.None, true},
		{"a head in pieces", func(p *peer, id uint32) {
			block := bytes.Clone(p.head(":status", "200", "x", strings.Repeat("y", 50_000)))
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:10], EndStream: true})
			_ = p.WriteContinuation(id, false, block[10:16_000])
			_ = p.WriteContinuation(id, false, block[16_000:32_000])
			_ = p.WriteContinuation(id, true, block[32_000:])
		}, load.None, true},
		{"frames of other kinds", func(p *peer, id uint32) { raw(p, 0xfa, 0xff, id, "what is it"); p.respond(id, "ok") }, load.None, true},
		{"a ping first", func(p *peer, id uint32) { _ = p.WritePing(false, [8]byte{1}); p.respond(id, "ok") }, load.None, true},

		{"a reset", func(p *peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeInternal) }, load.StreamReset, true},
		{"a reset within a body", func(p *peer, id uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":status", "200"), EndHeaders: true})
			_ = p.WriteData(id, false, []byte("abc"))
			_ = p.WriteRSTStream(id, http2.ErrCodeCancel)
		}, load.StreamReset, true},
		{"a refused stream", func(p *peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeRefusedStream) }, load.None, true},
		{"GOAWAY before the stream", func(p *peer, _ uint32) { _ = p.WriteGoAway(0, http2.ErrCodeNo, nil); p.ask() }, load.None, false},
		{"GOAWAY for a reason", func(p *peer, id uint32) { _ = p.WriteGoAway(id, http2.ErrCodeEnhanceYourCalm, nil); p.Close() }, load.GoAway, false},
		{"GOAWAY after the stream", func(p *peer, id uint32) {
			_ = p.WriteGoAway(id, http2.ErrCodeNo, nil)
			p.respond(id, "ok")
			p.ask()
		}, load.None, false},

		{"closed", func(p *peer, _ uint32) { p.Close() }, load.Closed, false},
		{"closed within a body", func(p *peer, id uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":status", "200"), EndHeaders: true})
			_ = p.WriteData(id, false, []byte("abc"))
			p.Close()
		}, load.Partial, false},
		{"closed within a head", func(p *peer, id uint32) { raw(p, http2.FrameHeaders, 0, id, "\x88"); p.Close() }, load.Partial, false},
		{"a longer body", func(p *peer, id uint32) { p.respond(id, "abc", "content-length", "2") }, load.Protocol, true},
		{"a shorter body", func(p *peer, id uint32) { p.respond(id, "abc", "content-length", "4") }, load.Protocol, true},
		{"no body where one was promised", headers(":status", "200", "content-length", "4"), load.Protocol, true},
		{"a body without a head", func(p *peer, id uint32) { _ = p.WriteData(id, true, []byte("abc")) }, load.Protocol, true},
		{"a body of 204", func(p *peer, id uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":status", "204"), EndHeaders: true})
			_ = p.WriteData(id, true, []byte("abc"))
		}, load.Protocol, true},
		{"no status", headers("x", "y"), load.Protocol, true},
		{"two statuses", headers(":status", "200", ":status", "200"), load.Protocol, true},
		{"a status after a field", headers("x", "y", ":status", "200"), load.Protocol, true},
		{"a status of letters", headers(":status", "2x0"), load.Protocol, true},
		{"an unknown field of the protocol's own", headers(":status", "200", ":path", "/"), load.Protocol, true},
		{"a name in capitals", headers(":status", "200", "X", "y"), load.Protocol, true},
		{"a name with a line end", headers(":status", "200", "x\r\nset-cookie", "y"), load.Protocol, true},
		{"a value with a line end", headers(":status", "200", "x", "y\r\nset-cookie: a=b"), load.Protocol, true},
		{"a value with a NUL", headers(":status", "200", "x", "a\x00b"), load.Protocol, true},
		{"a field of connections", headers(":status", "200", "connection", "close"), load.Protocol, true},
		{"another protocol", headers(":status", "101"), load.Protocol, true},
		{"an interim end", headers(":status", "103"), load.Protocol, true},
		{"trailers without an end", func(p *peer, id uint32) {
			for range 2 {
				_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":status", "200"), EndHeaders: true})
			}
		}, load.Protocol, true},

		{"a push", func(p *peer, id uint32) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, BlockFragment: p.head(":path", "/"), EndHeaders: true})
		}, load.Protocol, false},
		{"a stream of the server's own", func(p *peer, _ uint32) { headers(":status", "200")(p, 2) }, load.Protocol, false},
		{"a stream that was not opened", func(p *peer, _ uint32) { headers(":status", "200")(p, 99) }, load.Protocol, false},
		{"a header block that is none", func(p *peer, id uint32) { raw(p, http2.FrameHeaders, 5, id, "\xff\xff\xff\xff\xff") }, load.Protocol, false},
		{"a frame that is too long", func(p *peer, id uint32) { raw(p, http2.FrameData, 0, id, strings.Repeat("x", 16385)) }, load.Protocol, false},
		{"a header block that is interrupted", func(p *peer, id uint32) {
			raw(p, http2.FrameHeaders, 0, id, "\x88")
			_ = p.WritePing(false, [8]byte{})
		}, load.Protocol, false},
		{"a continuation of nothing", func(p *peer, id uint32) { _ = p.WriteContinuation(id, true, nil) }, load.Protocol, false},
		{"padding longer than its frame", func(p *peer, id uint32) { raw(p, http2.FrameHeaders, 12, id, "\x05\x88") }, load.Protocol, false},
		{"a window without end", func(p *peer, _ uint32) { _ = p.WriteWindowUpdate(0, 1<<31-1) }, load.Protocol, false},
		{"a window of nothing", func(p *peer, _ uint32) { raw(p, http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00") }, load.Protocol, false},
		{"a ping of another length", func(p *peer, _ uint32) { raw(p, http2.FramePing, 0, 0, "x") }, load.Protocol, false},
		{"settings of another length", func(p *peer, _ uint32) { raw(p, http2.FrameSettings, 0, 0, "x") }, load.Protocol, false},
		{"settings that switch push on", func(p *peer, _ uint32) { _ = p.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1}) }, load.Protocol, false},

		{"a head without end", func(p *peer, id uint32) {
			raw(p, http2.FrameHeaders, 0, id, "\x88")
			for p.WriteContinuation(id, false, bytes.Repeat([]byte("\x00\x01a\x01b"), 3000)) == nil {
			}
		}, load.Overload, false},
		{"a head in pieces of nothing", func(p *peer, id uint32) {
			raw(p, http2.FrameHeaders, 0, id, "\x88")
			for p.WriteContinuation(id, false, nil) == nil {
			}
		}, load.Overload, false},
		{"a head that unpacks to a thousand times its size", func(p *peer, id uint32) {
			block := append([]byte{0x88, 0x40, 1, 'a', 0x7f, 0xa1, 0x1e}, bytes.Repeat([]byte("b"), 4000)...)
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: append(block, bytes.Repeat([]byte{0xbe}, 10_000)...), EndHeaders: true, EndStream: true})
		}, load.Overload, true},
		{"a flood of settings", func(p *peer, _ uint32) {
			go io.Copy(io.Discard, p.Conn)
			for p.WriteSettings() == nil {
			}
		}, load.Protocol, false},
		{"a flood of pings", func(p *peer, _ uint32) {
			go io.Copy(io.Discard, p.Conn)
			for p.WritePing(false, [8]byte{}) == nil {
			}
		}, load.Protocol, false},
		{"a flood of empty pieces", func(p *peer, id uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":status", "200"), EndHeaders: true})
			for p.WriteData(id, false, nil) == nil {
			}
		}, load.Protocol, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var first atomic.Bool
			r := newRig(t, framed(t, nil, func(p *peer) {
				id := p.ask()
				if id > 0 && first.CompareAndSwap(false, true) {
					c.f(p, id)
				} else if id > 0 {
					p.respond(id, "ok")
				}
				p.rest()
			}))
			r.target = `version: 2`
			call := r.do(r.step(`{url: /, method: POST, headers: {X-Long: "`+strings.Repeat("x", 20_000)+`"}}`), 20*time.Second)
			if call.Result.Cause != c.want {
				t.Errorf("cause %v (%v), want %v", call.Result.Cause, call.Err, c.want)
			}
			if call = r.get(`{url: /}`); call.Result.Cause != load.None {
				t.Errorf("the next request: cause %v (%v)", call.Result.Cause, call.Err)
			}
			if n := r.env.Connections.Opened.Load(); (n == 1) != c.same {
				t.Errorf("%d connections were opened, and the first should go on: %v", n, c.same)
			}
			r.vu.Close()
			closed := uint64(0)
			for i := range r.env.Connections.Closed {
				closed += r.env.Connections.Closed[i].Load()
			}
			if n := r.env.Connections.Opened.Load(); closed != n {
				t.Errorf("%d connections were opened, %d closed", n, closed)
			}
		})
	}
}

// A request that was refused is sent once more, and not again.
func TestARefusedStreamIsSentOnceMore(t *testing.T) {
	var asked atomic.Int64
	r := newRig(t, framed(t, nil, func(p *peer) {
		for id := p.ask(); id > 0; id = p.ask() {
			asked.Add(1)
			_ = p.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		}
	}))
	r.target = `version: 2`
	if call := r.get(`{url: /, method: POST}`); call.Result.Cause != load.StreamReset || asked.Load() != 2 || !strings.Contains(call.Err.Error(), "REFUSED_STREAM") {
		t.Errorf("cause %v (%v) after %d requests, want %v after 2", call.Result.Cause, call.Err, asked.Load(), load.StreamReset)
	}
	r.vu.Close()
}

// What connections left behind with GOAWAY is sent on the next, up to a bound.
func TestConnectionsThatAreLeftOneAfterAnother(t *testing.T) {
	for _, c := range []struct {
		left   int64
		want   load.Cause
		opened uint64
	}{{4, load.None, 5}, {5, load.GoAway, 5}} {
		var n atomic.Int64
		r := newRig(t, framed(t, nil, func(p *peer) {
			id := p.ask()
			if n.Add(1) <= c.left {
				_ = p.WriteGoAway(0, http2.ErrCodeNo, nil)
			} else {
				p.respond(id, "ok")
			}
			p.rest()
		}))
		r.target = `version: 2`
		if call := r.get(`{url: /, method: POST}`); call.Result.Cause != c.want || r.env.Connections.Opened.Load() != c.opened {
			t.Errorf("%d connections that are left: cause %v (%v) on %d, want %v on %d", c.left, call.Result.Cause, call.Err, r.env.Connections.Opened.Load(), c.want, c.opened)
		}
		r.vu.Close()
	}
}

// A server that takes no more of a body costs the timeout, and is counted.
func TestAWindowThatNeverOpens(t *testing.T) {
	r := newRig(t, framed(t, nil, func(p *peer) { p.ask() }))
	r.target = `version: 2`
	s := r.step(`{url: /, body: "` + strings.Repeat("x", 200_000) + `"}`)
	call := r.do(s, 200*time.Millisecond)
	if call.Result.Cause != load.Timeout || r.env.Connections.Stalls.Load() != 1 || call.Result.SentBytes < 65_535 || call.Result.SentBytes > 70_000 {
		t.Errorf("cause %v (%v), %d stalls, %d bytes sent", call.Result.Cause, call.Err, r.env.Connections.Stalls.Load(), call.Result.SentBytes)
	}
	r.vu.Close()
}

// Bodies in both directions are larger than all windows, and arrive as they were sent.
func TestLongBodiesOverHTTP2(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 200_000)
	base := serveTwo(t, func(w http.ResponseWriter, q *http.Request) {
		if _, err := io.Copy(w, q.Body); err != nil {
			t.Error(err)
		}
	})
	r := newRig(t, base)
	r.target = `version: 2`
	r.keep.Body = true
	s := r.step(`{url: /, body: "` + long + `"}`)
	for range 6 { // together more than the window of a connection, 16 MiB
		call := r.do(s, 30*time.Second)
		if call.Result.Cause != load.None || string(call.Response.Body()) != long {
			t.Fatalf("cause %v (%v), %d bytes of %d", call.Result.Cause, call.Err, call.Result.ReceivedBytes, len(long))
		}
	}
	r.vu.Close()
}

// Users that share connections keep to the server's limit of streams, and what they wait is a phase.
func TestStreamsKeepToTheLimit(t *testing.T) {
	const users, requests, limit = 8, 20, 2
	var most, now atomic.Int64
	var mu sync.Mutex
	base := framed(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: limit}}, func(p *peer) {
		var wg sync.WaitGroup
		defer wg.Wait()
		for id := p.ask(); id > 0; id = p.ask() {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			wg.Go(func() {
				time.Sleep(time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				now.Add(-1)
				p.respond(id, "ok")
			})
		}
	})
	r := newRig(t, base)
	r.target = `{version: 2, connections: {pool: 1}}`
	s := r.step(`{url: /}`)
	blocked := shareOut(t, r, s, users, requests)
	if most.Load() != limit || r.env.Connections.Opened.Load() != 1 {
		t.Errorf("%d streams at a time on %d connections, want %d on 1", most.Load(), r.env.Connections.Opened.Load(), limit)
	}
	if least := int64(users*requests/limit-users) * int64(time.Millisecond); blocked < least {
		t.Errorf("requests waited %v for a stream, want at least %v", time.Duration(blocked), time.Duration(least))
	}
}

// shareOut has users perform requests at the same time, and returns how long they waited for connections and streams.
func shareOut(t *testing.T, r *rig, s protocol.Step, users, requests int) (blocked int64) {
	t.Helper()
	first := &protocol.VU{ID: 100, Env: r.env}
	call := protocol.Call{VU: first, Scope: r.scope, Keep: &r.keep, Deadline: r.env.Now() + 30*time.Second}
	if s.Do(&call); call.Err != nil { // opens what users share
		t.Fatal(call.Err)
	}
	first.Close()
	var wg sync.WaitGroup
	var sum atomic.Int64
	for id := range users {
		vu := &protocol.VU{ID: id, Env: r.env}
		wg.Go(func() {
			defer vu.Close()
			call := protocol.Call{VU: vu, Scope: r.scope, Keep: &r.keep}
			for i := range requests {
				call.Result, call.Err = load.Result{}, nil
				call.Deadline = r.env.Now() + 30*time.Second
				if s.Do(&call); call.Err != nil {
					t.Errorf("request %d of user %d: %v (%v)", i, id, call.Result.Cause, call.Err)
					return
				}
				phases := int64(0)
				for _, p := range call.Result.Phases {
					phases += p
				}
				if phases > call.Result.Duration() {
					t.Errorf("phases %v are longer than %d", call.Result.Phases, call.Result.Duration())
				}
				sum.Add(call.Result.Phases[load.PhaseBlocked])
			}
		})
	}
	wg.Wait()
	r.closeShared()
	return sum.Load()
}

// A server that allows no stream at all is waited for until the timeout.
func TestNoStreamIsAllowed(t *testing.T) {
	r := newRig(t, framed(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, func(p *peer) { p.rest() }))
	r.target = `{version: 2, connections: {pool: 1}}`
	r.get(`{url: /}`) // is sent before the settings came
	call := r.do(r.step(`{url: /}`), 100*time.Millisecond)
	if call.Result.Cause != load.Timeout || call.Result.Phases[load.PhaseBlocked] < int64(90*time.Millisecond) {
		t.Errorf("cause %v (%v), phases %v", call.Result.Cause, call.Err, call.Result.Phases)
	}
	r.vu.Close()
	r.closeShared()
}

// Users that share connections are told apart, whatever becomes of some of them.
func TestSharedConnectionsOfHTTP2(t *testing.T) {
	base := serveTwo(t, func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		if q.URL.Path == "/hang" {
			<-q.Context().Done()
			return
		}
		_, _ = w.Write(body)
	})
	r := newRig(t, base)
	r.target = `{version: 2, connections: {pool: 2}}`
	r.keep.Body = true
	echo, hang := r.step(`{url: /, body: "I am ${vu}/${iteration}"}`), r.step(`{url: /hang}`)
	r.get(`{url: /}`)
	r.vu.Close()
	var wg sync.WaitGroup
	for id := range 16 {
		vu := &protocol.VU{ID: id, Env: r.env}
		wg.Go(func() {
			defer vu.Close()
			scope := &expr.Scope{VU: id}
			call := protocol.Call{VU: vu, Scope: scope, Keep: &r.keep}
			for i := range 100 {
				scope.Iteration = uint64(i)
				call.Result, call.Err, call.Response = load.Result{}, nil, nil
				if (i+id)%25 == 24 {
					call.Deadline = r.env.Now() + 5*time.Millisecond
					if hang.Do(&call); call.Result.Cause != load.Timeout {
						t.Errorf("user %d: a request without answer: %v (%v)", id, call.Result.Cause, call.Err)
					}
					continue
				}
				call.Deadline = r.env.Now() + 30*time.Second
				if echo.Do(&call); call.Err != nil {
					t.Errorf("request %d of user %d: %v (%v)", i, id, call.Result.Cause, call.Err)
					return
				}
				if got, want := string(call.Response.Body()), fmt.Sprint("I am ", id, "/", i); got != want {
					t.Errorf("user %d is answered %q, want %q", id, got, want)
				}
			}
			if id%2 == 0 {
				time.AfterFunc(time.Millisecond, vu.Interrupt)
				call.Result, call.Err = load.Result{}, nil
				call.Deadline = r.env.Now() + 30*time.Second
				if hang.Do(&call); call.Result.Cause != load.Canceled {
					t.Errorf("user %d: an interrupted request: %v (%v)", id, call.Result.Cause, call.Err)
				}
			}
		})
	}
	wg.Wait()
	r.closeShared()
}

// Each side reads whatever the other sends; a client that reads late sees what came meanwhile.
func TestWhatCameWhileAConnectionWasAtRest(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      func(p *peer)
		opened uint64
	}{
		{"a ping", func(p *peer) { _ = p.WritePing(false, [8]byte{1}) }, 1},
		{"GOAWAY", func(p *peer) { _ = p.WriteGoAway(1, http2.ErrCodeNo, nil) }, 2},
		{"the end", func(p *peer) { p.Close() }, 2},
		{"GOAWAY and the end", func(p *peer) { _ = p.WriteGoAway(1, http2.ErrCodeNo, nil); p.Close() }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first atomic.Bool
			done := make(chan struct{})
			r := newRig(t, framed(t, nil, func(p *peer) {
				p.respond(p.ask(), "ok")
				if first.CompareAndSwap(false, true) {
					c.f(p)
					close(done)
				}
				p.rest()
			}))
			r.target = `version: 2`
			s := r.step(`{url: /, method: POST}`)
			r.do(s, 5*time.Second)
			<-done
			<-time.After(5 * time.Millisecond) // the think time
			if call := r.do(s, 5*time.Second); call.Result.Cause != load.None || r.env.Connections.Opened.Load() != c.opened {
				t.Errorf("cause %v (%v), %d connections opened, want %d", call.Result.Cause, call.Err, r.env.Connections.Opened.Load(), c.opened)
			}
			if n := r.env.Connections.Closed[load.ClosedByPeer].Load(); n != c.opened-1 {
				t.Errorf("%d connections were closed by the peer, want %d", n, c.opened-1)
			}
			r.vu.Close()
		})
	}
}

// serveTLS runs a server whose handshakes choose one of the protocols that next returns.
func serveTLS(t *testing.T, next func() []string) (url, ca string) {
	a := newIssuer(t)
	pair, _, _ := a.issue()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	srv := &http.Server{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, q.Proto) }),
		ErrorLog: quiet,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := base.Clone()
			c.NextProtos = next()
			return c, nil
		}},
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() { srv.Close(); <-done })
	return "https://" + l.Addr().String(), a.file
}

func TestWhatTLSAgreesOn(t *testing.T) {
	both, one := []string{"h2", "http/1.1"}, []string{"http/1.1"}
	for _, c := range []struct {
		version string
		server  []string
		want    string // the protocol that the server saw
		cause   load.Cause
	}{
		{"auto", both, "HTTP/2.0", load.None},
		{"auto", one, "HTTP/1.1", load.None},
		{"2", both, "HTTP/2.0", load.None},
		{"2", one, "", load.TLS},
		{"1.1", both, "HTTP/1.1", load.None},
	} {
		for _, pool := range []string{"", "pool: 2, "} {
			url, ca := serveTLS(t, func() []string { return c.server })
			r := newRig(t, url)
			r.target = `{version: ` + c.version + `, connections: {` + pool + `max_age: 1m}, tls: {ca_file: ` + ca + `}}`
			r.keep.Body = true
			for i := range 3 {
				call := r.get(`{url: /, body: "` + strings.Repeat("x", 100_000) + `"}`)
				if call.Result.Cause != c.cause {
					t.Errorf("%s with a server of %v: cause %v (%v), want %v", c.version, c.server, call.Result.Cause, call.Err, c.cause)
					break
				}
				if c.cause != load.None {
					break
				}
				if got := string(call.Response.Body()); got != c.want || (call.Result.Version == 2) != (c.want == "HTTP/2.0") {
					t.Errorf("%s with a server of %v: request %d is over %q, version %d; want %q", c.version, c.server, i, got, call.Result.Version, c.want)
				}
			}
			if n := r.env.Connections.Opened.Load(); c.cause == load.None && n != 1 {
				t.Errorf("%s with a server of %v: %d connections, want 1", c.version, c.server, n)
			}
			r.vu.Close()
			r.closeShared()
		}
	}
}

// A proxy that begins to speak HTTP/2 in mid-run changes what is measured, which is counted.
func TestAChangeOfVersionIsCounted(t *testing.T) {
	var two atomic.Bool
	url, ca := serveTLS(t, func() []string {
		if two.Load() {
			return []string{"h2", "http/1.1"}
		}
		return []string{"http/1.1"}
	})
	r := newRig(t, url)
	r.target = `{version: auto, connections: {max_requests: 1}, tls: {ca_file: ` + ca + `}}`
	s := r.step(`{url: /}`)
	for i, want := range []uint64{0, 0, 1, 1, 2} {
		two.Store(i == 2 || i == 3)
		if call := r.do(s, 5*time.Second); call.Err != nil {
			t.Fatal(call.Err)
		}
		if got := r.env.Connections.VersionChanges.Load(); got != want {
			t.Errorf("after request %d: %d changes of version, want %d", i, got, want)
		}
	}
	r.vu.Close()
}

// The server's part of HTTP/2 by hand, which allocates nothing for a request.

// readFrame reads a frame into p and returns its kind, flags, stream and length.
func readFrame(c net.Conn, p []byte) (kind, flags byte, id uint32, n int, err error) {
	if _, err = io.ReadFull(c, p[:9]); err != nil {
		return 0, 0, 0, 0, err
	}
	kind, flags, id, n = p[3], p[4], binary.BigEndian.Uint32(p[5:]), int(p[0])<<16|int(p[1])<<8|int(p[2])
	_, err = io.ReadFull(c, p[:n])
	return kind, flags, id, n, err
}

var framesOfSettings = []byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x00\x04\x01\x00\x00\x00\x00")

// greetTwo reads what a client begins with, up to its first request, and sends settings.
func greetTwo(c net.Conn) bool {
	p := make([]byte, 16<<10)
	if _, err := io.ReadFull(c, p[:len(http2.ClientPreface)]); err != nil || string(p[:len(http2.ClientPreface)]) != http2.ClientPreface {
		return false
	}
	for _, want := range []byte{4, 8} {
		if kind, _, _, _, err := readFrame(c, p); err != nil || kind != want {
			return false
		}
	}
	_, err := c.Write(framesOfSettings)
	return err == nil
}

// askTwo reads the next request, and returns its stream; 0 at the end. The settings must have been acknowledged before.
func askTwo(c net.Conn, p []byte, settled *bool) (asked uint32) {
	for {
		kind, flags, id, _, err := readFrame(c, p)
		switch {
		case err != nil:
			return 0
		case kind == 4 && flags&1 != 0:
			*settled = true
		case (kind == 0 || kind == 1) && flags&1 != 0:
			asked = id
		}
		if *settled && asked > 0 {
			return asked
		}
	}
}

func answerTwo(c net.Conn) {
	p, settled := make([]byte, 16<<10), false
	answer := []byte("\x00\x00\x01\x01\x04\x00\x00\x00\x00\x88" + "\x00\x00\x05\x00\x01\x00\x00\x00\x00hello")
	for id := askTwo(c, p, &settled); id > 0; id = askTwo(c, p, &settled) {
		binary.BigEndian.PutUint32(answer[5:], id)
		binary.BigEndian.PutUint32(answer[15:], id)
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func stepTwo(t testing.TB, target, step, addr string) protocol.Step {
	var errs block.Errors
	of := DefaultTarget()
	block.Decode(block.Parse("target.yaml", []byte(target), &errs), of, &errs)
	c := Kind.Step()
	block.Decode(block.Parse("step.yaml", []byte(step), &errs), c, &errs)
	s := c.Compile(&protocol.Compiler{Defaults: of, Base: block.Text{S: "http://" + addr}, Symbols: expr.NewSymbols(nil), Errors: &errs})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContractOfHTTP2(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		for _, target := range []string{`{version: 2}`, `{version: 2, connections: {pool: 1}}`} {
			t.Run(method+" "+target, func(t *testing.T) {
				protocoltest.Run(t, protocoltest.Subject{
					Step: func(t testing.TB, addr string) protocol.Step {
						return stepTwo(t, target, `{url: "/a?b=c", method: `+method+`}`, addr)
					},
					Greet:   greetTwo,
					Answer:  answerTwo,
					Ask:     func(c net.Conn) { settled := false; askTwo(c, make([]byte, 16<<10), &settled) },
					Garbage: "220 mail.example.com ESMTP\r\n\r\n",
				})
			})
		}
	}
}

// FuzzFrames gives any bytes as what a server sends on a connection of HTTP/2.
func FuzzFrames(f *testing.F) {
	settings := string(framesOfSettings)
	for _, text := range []string{
		settings + "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88",
		settings + "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88\x00\x00\x05\x00\x01\x00\x00\x00\x01hello",
		settings + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x88\x00\x00\x04\x09\x04\x00\x00\x00\x01\x5c\x01\x32\x00",
		settings + "\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x07", settings + "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		settings + "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x09", "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x01", "HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	text := make(chan []byte, 1)
	r := newRig(f, each(f, func(c net.Conn) {
		p := make([]byte, 16<<10)
		if _, err := io.ReadFull(c, p[:len(http2.ClientPreface)]); err != nil {
			return
		}
		for kind := byte(4); kind != 1; { // up to the head of the request
			var err error
			if kind, _, _, _, err = readFrame(c, p); err != nil {
				return
			}
		}
		select {
		case answer := <-text:
			_, _ = c.Write(answer)
		default: // of an attempt that is repeated
		}
		_ = c.(*net.TCPConn).CloseWrite() // what is left, the client sees by the end
		_, _ = io.Copy(io.Discard, c)
	}))
	r.target = `{version: 2, gzip: true, max_header: 1KiB, max_read: 1KiB}`
	r.keep.Body = true
	get, post := r.step(`{url: /}`), r.step(`{url: /, body: "`+strings.Repeat("x", 70_000)+`"}`)
	f.Fuzz(func(t *testing.T, answer []byte, posts bool) {
		s := get
		if posts {
			s = post
		}
		text <- answer
		call := r.do(s, 10*time.Second)
		select {
		case <-text: // a large request may end before the server has read it
		default:
		}
		switch call.Result.Cause {
		case load.Internal, load.Timeout, load.Canceled:
			t.Errorf("%q: cause %v (%v)", answer, call.Result.Cause, call.Err)
		case load.None:
			if call.Result.Code < 200 || len(call.Response.Body()) > 1<<10 {
				t.Errorf("%q: code %d, body of %d bytes", answer, call.Result.Code, len(call.Response.Body()))
			}
		}
		r.vu.Close()
	})
}

// A body goes on for as long as the windows are open and the socket takes it: the server says nothing before it has all of it.
func TestABodyThatWindowsAllowAtOnce(t *testing.T) {
	for _, slow := range []bool{false, true} {
		r := newRig(t, framed(t, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 64 << 20}}, func(p *peer) {
			_ = p.WriteWindowUpdate(0, 64<<20)
			p.respond(p.ask(), "ok")
			if slow {
				time.Sleep(100 * time.Millisecond) // until the socket takes no more
			}
			p.rest()
		}))
		r.target = `version: 2`
		r.get(`{url: /}`)
		s := r.step(`{url: /, body: "` + strings.Repeat("x", 24<<20) + `"}`)
		if call := r.do(s, 20*time.Second); call.Result.Cause != load.None || call.Result.SentBytes < 24<<20 || r.env.Connections.Stalls.Load() > 0 {
			t.Errorf("slow %v: cause %v (%v), %d bytes sent, %d stalls", slow, call.Result.Cause, call.Err, call.Result.SentBytes, r.env.Connections.Stalls.Load())
		}
		r.vu.Close()
	}
}

// A server that allowed no stream and then does says so on a connection that nobody uses.
func TestStreamsAreAllowedLater(t *testing.T) {
	allow := make(chan struct{})
	said := make(chan struct{})
	r := newRig(t, framed(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, func(p *peer) {
		p.respond(p.ask(), "ok")
		<-allow
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		close(said)
		p.rest()
	}))
	r.target = `{version: 2, connections: {pool: 1}}`
	r.get(`{url: /}`)
	close(allow)
	<-said
	if call := r.get(`{url: /}`); call.Result.Cause != load.None || r.env.Connections.Opened.Load() != 1 {
		t.Errorf("cause %v (%v) on %d connections", call.Result.Cause, call.Err, r.env.Connections.Opened.Load())
	}
	r.vu.Close()
	r.closeShared()
}

// A connection that ends while its stream of events is at rest ends the stream, whoever looks first.
func TestAConnectionThatEndsUnderAStreamAtRest(t *testing.T) {
	gone := make(chan struct{})
	u := newSubscriber(t, framed(t, nil, func(p *peer) {
		id := p.ask()
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(":status", "200", "content-type", "text/event-stream"), EndHeaders: true})
		_ = p.WriteData(id, false, []byte("data: a\n\n"))
		<-gone
	}))
	u.target = `version: 2`
	u.must(`{url: /, events: {receive: "true"}}`)
	close(gone)
	time.Sleep(20 * time.Millisecond)
	if call := u.perform(`{events: {receive: "true"}}`, 5*time.Second); call.Result.Cause != load.Closed {
		t.Errorf("cause %v (%v), want %v", call.Result.Cause, call.Err, load.Closed)
	}
	u.vu.Close()
}

// New connections for each iteration are those of requests: a stream that lasts goes on, and its connection ends with it.
func TestAStreamOutlivesItsIteration(t *testing.T) {
	overEach(t, func(t *testing.T) {
		more := make(chan struct{})
		u := newSubscriber(t, serve(t, func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: a\n\n")
			w.(http.Flusher).Flush()
			<-more
			io.WriteString(w, "data: b\n\n")
			w.(http.Flusher).Flush()
			<-q.Context().Done()
		}))
		u.target = `{version: ` + versionOf(t) + `, connections: {reset: iteration}}`
		u.must(`{url: /, events: {receive: "true"}}`)
		u.vu.Begin()
		close(more)
		if got := u.must(`{events: {receive: "true"}}`); got != "b" {
			t.Errorf("the event after the iteration is %q", got)
		}
		u.vu.Close()
		closed := uint64(0)
		for i := range u.env.Connections.Closed {
			closed += u.env.Connections.Closed[i].Load()
		}
		if n := u.env.Connections.Opened.Load(); n != 1 || closed != 1 {
			t.Errorf("%d connections were opened, %d closed, want 1", n, closed)
		}
	})
}
