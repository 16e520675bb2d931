package udp

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
	"github.com/perfd/perfd/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A user is one virtual user.
type user struct {
	t       testing.TB
	vu      *protocol.VU
	base    string
	symbols *expr.Symbols
	scope   *expr.Scope
	call    protocol.Call
}

func newUser(t testing.TB, base string, o wire.DialerOptions) *user {
	zero := time.Now()
	shared := map[protocol.Key]io.Closer{}
	env := &protocol.Env{
		Dialer: wire.NewDialer(o),
		Shared: func(k protocol.Key, open func() (io.Closer, error)) (io.Closer, error) {
			var err error
			if shared[k] == nil {
				shared[k], err = open()
			}
			return shared[k], err
		},
		Now: func() time.Duration { return time.Since(zero) }, Zero: zero,
		UserAgent: "perfd/test", Identity: func() string { return "scenario/run" },
		Connections: &load.Connections{}, Log: slog.New(slog.DiscardHandler),
	}
	u := &user{t: t, vu: &protocol.VU{ID: 1, Env: env}, base: base, symbols: expr.NewSymbols(nil), scope: &expr.Scope{Rand: rand.NewPCG(1, 1)}}
	t.Cleanup(u.vu.Close)
	return u
}

func (u *user) compile(text string) (protocol.Step, error) {
	var errs block.Errors
	c := Kind.Step()
	block.Decode(block.Parse("step.yaml", []byte(text), &errs), c, &errs)
	s := c.Compile(&protocol.Compiler{
		Scenario: "s", Defaults: DefaultTarget(), Base: block.Text{S: u.base, Path: "url"}, Symbols: u.symbols, Errors: &errs,
		Allowed: u.vu.Env.Dialer.Guard().CheckHost,
	})
	return s, errs.Err()
}

func (u *user) do(text string, timeout time.Duration) *protocol.Call {
	u.t.Helper()
	s, err := u.compile(text)
	if err != nil {
		u.t.Fatalf("%s: %v", text, err)
	}
	c := &u.call
	now := u.vu.Env.Now()
	c.VU, c.Scope, c.Keep, c.Deadline = u.vu, u.scope, &expr.Keep{Body: true}, now+timeout
	c.Result, c.Response, c.Err = load.Result{Due: int64(now), Sent: int64(now), Done: int64(now)}, nil, nil
	s.Do(c)
	return c
}

func (u *user) must(text string) string {
	u.t.Helper()
	c := u.do(text, 20*time.Second)
	if c.Result.Cause != load.None {
		u.t.Fatalf("%s: cause %v: %v", text, c.Result.Cause, c.Err)
	}
	return string(c.Response.Body())
}

func (u *user) fails(text string, want load.Cause) *protocol.Call {
	u.t.Helper()
	timeout := 20 * time.Second
	if want == load.Timeout {
		timeout = 100 * time.Millisecond
	}
	c := u.do(text, timeout)
	if c.Result.Cause != want || c.Response != nil {
		u.t.Errorf("%s: cause %v (%v), want %v and no answer", text, c.Result.Cause, c.Err, want)
	}
	return c
}

func (u *user) ignored() uint64 { return u.vu.Env.Connections.Ignored.Load() }

// A peer is a server's socket.
type peer struct {
	*net.UDPConn
	seen atomic.Int64 // datagrams that came
}

// serve calls handle with each datagram that comes until the test ends, and returns the server's address as a url.
func serve(t testing.TB, handle func(p *peer, from netip.AddrPort, said []byte)) (string, *peer) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{UDPConn: c}
	var all sync.WaitGroup
	all.Go(func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			p.seen.Add(1)
			handle(p, from, b[:n])
		}
	})
	t.Cleanup(func() { c.Close(); all.Wait() })
	return "udp://" + c.LocalAddr().String(), p
}

func (p *peer) say(to netip.AddrPort, b []byte) {
	_, _ = p.WriteToUDPAddrPort(b, to) // a client that has gone
}

func echo(p *peer, from netip.AddrPort, said []byte) { p.say(from, said) }

func TestContract(t *testing.T) {
	for name, how := range map[string]string{"any": "receive: any", "id": "id: {at: 1, bytes: 2}", "echo": "echo: body"} {
		t.Run(name, func(t *testing.T) {
			protocoltest.RunDatagrams(t, protocoltest.Subject{
				Step: func(t testing.TB, addr string) protocol.Step {
					var errs block.Errors
					c := Kind.Step()
					block.Decode(block.Parse("step.yaml", fmt.Appendf(nil, `{send: ping, %s, address: %q}`, how, addr), &errs), c, &errs)
					s := c.Compile(&protocol.Compiler{Symbols: expr.NewSymbols(nil), Errors: &errs})
					if err := errs.Err(); err != nil {
						t.Fatal(err)
					}
					return s
				},
				Answer: func(c net.Conn) {
					p := make([]byte, 1024)
					for {
						n, err := c.Read(p)
						if err != nil {
							return
						}
						if _, err := c.Write(p[:n]); err != nil {
							return
						}
					}
				},
				Ask:         func(c net.Conn) { _, _ = c.Read(make([]byte, 1024)) },
				Allocations: pooled,
			})
		})
	}
}

func TestAnswers(t *testing.T) {
	base, _ := serve(t, echo)
	u := newUser(t, base, wire.DialerOptions{})
	slot := u.symbols.Declare("v", expr.String)
	u.scope.Set(slot, expr.Str("7"))
	large := strings.Repeat("x", 60_000)
	for step, want := range map[string]string{
		`{send: ping}`:                                    "ping",
		`{send: {hex: "00 ff"}, receive: any}`:            "\x00\xff",
		`{send: "{\"id\": ${v}}", echo: json.id}`:         `{"id": 7}`,
		`{send: "{\"id\": ${v}}", receive: json.id == 7}`: `{"id": 7}`,
		`{send: {text: "` + large + `"}, echo: body}`:     large,
		`{send: "abcabc", id: {bytes: 3, answer_at: 3}}`:  "abcabc",
		`{send: ping, receive: none}`:                     "",
		`{send: ping, socket: new}`:                       "ping",
	} {
		if got := u.must(step); got != want {
			t.Errorf("%.60s: %.40q, want %.40q", step, got, want)
		}
		if r := &u.call.Result; r.ReceivedBytes != int64(len(want)) || r.SentBytes == 0 {
			t.Errorf("%.60s: %d bytes sent and %d received", step, r.SentBytes, r.ReceivedBytes)
		}
	}
	u.must(`{send: {hex: 00ff}}`)
	if h, ok := u.call.Response.Header("hex"); !ok || h != "00ff" {
		t.Errorf("hex is %q", h)
	}
	u.scope.Set(slot, expr.Str(strings.Repeat("x", 70_000)))
	u.fails(`{send: "${v}"}`, load.Input)
	u.scope.Set(slot, expr.Str(""))
	u.fails(`{send: "${v}"}`, load.Input)
	u.fails(`{send: ab, id: {at: 1, bytes: 2}}`, load.Input)
}

// TestALateAnswerIsNobodys answers the first request after its time. The second must not take that for its own answer.
func TestALateAnswerIsNobodys(t *testing.T) {
	var first netip.AddrPort
	base, _ := serve(t, func(p *peer, from netip.AddrPort, said []byte) {
		switch string(said) {
		case "first":
			first = from
		case "second":
			p.say(first, []byte("answer to first"))
			p.say(from, []byte("answer to second"))
		}
	})
	u := newUser(t, base, wire.DialerOptions{})
	u.fails(`{send: first}`, load.Timeout)
	for range 3 {
		if got := u.must(`{send: second}`); got != "answer to second" {
			t.Fatalf("got %q", got)
		}
	}
	if n := u.vu.Env.Connections.Opened.Load(); n != 2 {
		t.Errorf("%d sockets, want another one after the request without an answer", n)
	}
}

// TestAnAnswerThatNobodyWaitsFor comes to a socket of its own, however late.
func TestAnAnswerThatNobodyWaitsFor(t *testing.T) {
	base, _ := serve(t, func(p *peer, from netip.AddrPort, said []byte) {
		time.Sleep(time.Millisecond)
		p.say(from, said)
	})
	u := newUser(t, base, wire.DialerOptions{})
	for i := range 20 {
		u.must(`{send: told, receive: none}`)
		if want := fmt.Sprint(i); u.must(`{send: "`+want+`"}`) != want {
			t.Fatalf("request %s gets %q", want, u.call.Response.Body())
		}
	}
	if n := u.vu.Env.Connections.Opened.Load(); n != 2 {
		t.Errorf("%d sockets, want 2", n)
	}
}

// TestAnAnswerThatComesTwice is told from the next by what is in it, or by the port that it comes to.
func TestAnAnswerThatComesTwice(t *testing.T) {
	var before []byte
	var to netip.AddrPort
	base, _ := serve(t, func(p *peer, from netip.AddrPort, said []byte) {
		if before != nil {
			p.say(to, before) // comes after the next request was sent
		}
		p.say(from, said)
		before, to = bytes.Clone(said), from
	})
	for name, how := range map[string]string{"id": "id: {bytes: 2}", "echo": "echo: body", "socket": "socket: new"} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t, base, wire.DialerOptions{})
			for i := range 20 {
				want := fmt.Sprintf("%02d", i)
				if got := u.must(fmt.Sprintf(`{send: "%s", %s}`, want, how)); got != want {
					t.Errorf("request %s gets %q", want, got)
				}
			}
			if n := u.ignored(); name != "socket" && n < 19 {
				t.Errorf("%d datagrams ignored, want 19", n)
			}
		})
	}
}

// TestWhatCameBeforeIsDropped says something after each answer, which the next request finds.
func TestWhatCameBeforeIsDropped(t *testing.T) {
	said := make(chan bool, 1)
	base, _ := serve(t, func(p *peer, from netip.AddrPort, text []byte) {
		p.say(from, text)
		p.say(from, []byte("and more")) // which has come when it is sent, on loopback
		said <- true
	})
	u := newUser(t, base, wire.DialerOptions{})
	for i := range 5 {
		want := fmt.Sprint(i)
		if got := u.must(`{send: "` + want + `"}`); got != want {
			t.Fatalf("request %d gets %q", i, got)
		}
		<-said
	}
	if n := u.ignored(); n != 4 {
		t.Errorf("%d datagrams ignored, want 4", n)
	}
}

// TestHostileServers bounds what a server can do: memory stays, and the cause is that there was no answer.
func TestHostileServers(t *testing.T) {
	for _, h := range []struct {
		name, step string
		handle     func(p *peer, from netip.AddrPort, said []byte)
		cause      load.Cause
	}{
		{"silence", `{send: ping}`, func(*peer, netip.AddrPort, []byte) {}, load.Timeout},
		{"a flood of other answers", `{send: ping, echo: body}`, func(p *peer, from netip.AddrPort, _ []byte) {
			long := bytes.Repeat([]byte("x"), 60_000)
			for begin := time.Now(); time.Since(begin) < 150*time.Millisecond; {
				p.say(from, long)
			}
		}, load.Timeout},
		{"an empty datagram", `{send: ping, id: {bytes: 1}}`, func(p *peer, from netip.AddrPort, _ []byte) { p.say(from, nil) }, load.Timeout},
		{"a part of the id", `{send: ping, id: {bytes: 4}}`, func(p *peer, from netip.AddrPort, said []byte) { p.say(from, said[:3]) }, load.Timeout},
		{"what is not JSON", `{send: ping, receive: json.id == 1}`, func(p *peer, from netip.AddrPort, _ []byte) { p.say(from, []byte("{{{")) }, load.Timeout},
	} {
		t.Run(h.name, func(t *testing.T) {
			base, _ := serve(t, h.handle)
			u := newUser(t, base, wire.DialerOptions{})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			u.fails(h.step, h.cause)
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("a timeout of 100ms took %v", took)
			}
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; pooled == 0 && took > 8<<20 {
				t.Errorf("%d MiB were allocated", took>>20)
			}
		})
	}
}

// TestAnotherPeerIsNotHeard sends the answer from another port: a connected socket does not take it.
func TestAnotherPeerIsNotHeard(t *testing.T) {
	other, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	base, _ := serve(t, func(_ *peer, from netip.AddrPort, said []byte) { _, _ = other.WriteToUDPAddrPort(said, from) })
	u := newUser(t, base, wire.DialerOptions{})
	u.fails(`{send: ping}`, load.Timeout)
}

// TestNobodyListens is a port that is closed, which the system says.
func TestNobodyListens(t *testing.T) {
	base, p := serve(t, echo)
	u := newUser(t, base, wire.DialerOptions{})
	u.must(`{send: ping}`)
	p.Close()
	u.fails(`{send: ping}`, load.Refused)
	u.fails(`{send: ping}`, load.Refused)
}

// TestLimits holds sockets to limits.connections, and refuses to go round a proxy.
func TestLimits(t *testing.T) {
	base, _ := serve(t, echo)
	u := newUser(t, base, wire.DialerOptions{MaxConnections: 1})
	u.must(`{send: ping}`)
	for range 2 { // the one that is replaced makes room for its successor
		u.must(`{send: ping, socket: new}`)
	}
	v := &protocol.VU{ID: 2, Env: u.vu.Env}
	defer v.Close()
	w := &user{t: t, vu: v, base: base, symbols: u.symbols, scope: u.scope}
	w.fails(`{send: ping}`, load.Overload)
	u.vu.Close()
	w.must(`{send: ping}`)
	proxy, err := wire.ParseProxy("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	newUser(t, base, wire.DialerOptions{Proxy: proxy}).fails(`{send: ping}`, load.Overload)
	newUser(t, base, wire.DialerOptions{Local: []netip.Addr{netip.MustParseAddr("127.0.0.9")}}).must(`{send: ping}`)
}

// TestLocalAddresses are where datagrams come from.
func TestLocalAddresses(t *testing.T) {
	from := make(chan netip.Addr, 2)
	base, _ := serve(t, func(p *peer, at netip.AddrPort, said []byte) { from <- at.Addr(); p.say(at, said) })
	u := newUser(t, base, wire.DialerOptions{Local: []netip.Addr{netip.MustParseAddr("127.0.0.7"), netip.MustParseAddr("127.0.0.8")}})
	u.must(`{send: ping, socket: new}`)
	u.must(`{send: ping, socket: new}`)
	if a, b := <-from, <-from; a == b || !a.IsLoopback() {
		t.Errorf("datagrams come from %v and %v, want two addresses in turn", a, b)
	}
}

func TestWhatIsWrong(t *testing.T) {
	u := newUser(t, "udp://127.0.0.1:9", wire.DialerOptions{})
	for text, want := range map[string]string{
		`{receive: any}`:                              "send: is required",
		`{send: ""}`:                                  "must be from 1 to 65507 bytes, is 0",
		`{send: x, receive: any, echo: body}`:         "waits for one thing, got receive and echo",
		`{send: x, receive: none, id: {bytes: 1}}`:    "receive: none waits for none",
		`{send: x, id: {bytes: 0}}`:                   "must be from 1 to 65507, got 0",
		`{send: x, id: {bytes: 1, at: -1}}`:           "must be from 0 to 65507, got -1",
		`{send: x, id: {bytes: 1, answer_at: 70000}}`: "must be from 0 to 65507, got 70000",
		`{send: x, socket: newe}`:                     "must be keep or new",
		`{send: x, expect: y}`:                        "write expect beside udp",
		`{send: x, address: "tcp://127.0.0.1:9"}`:     "must be host:port, or udp://host:port",
		`{send: x, address: "192.0.2.1:9"}`:           "192.0.2.1 is not allowed",
	} {
		_, err := u.compile(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// A span names the server, and what failed.
func TestSpan(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, echo)
	u := newUser(t, url, wire.DialerOptions{})
	const text = `{send: hi}`
	u.must(text)
	s, err := u.compile(text)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.base[strings.LastIndexByte(u.base, ':')+1:])
	if err != nil {
		t.Fatal(err)
	}
	for cause, failed := range map[load.Cause]bool{load.None: false, load.Timeout: true, load.Canceled: false} {
		u.call.Result.Cause = cause
		var span protocol.Span
		s.(protocol.SpanMapper).Span(&u.call.Result, u.call.Address, &span)
		want := []protocol.Attribute{
			{Key: "network.transport", Text: "udp"}, {Key: "server.address", Text: "127.0.0.1"}, {Key: "server.port", Number: int64(port), Numeric: true},
		}
		if failed {
			want = append(want, protocol.Attribute{Key: "error.type", Text: cause.String()})
		}
		if span.Name != "udp" || !slices.Equal(span.Attributes, want) {
			t.Errorf("%v: span %q with %v, want udp with %v", cause, span.Name, span.Attributes, want)
		}
	}
}
