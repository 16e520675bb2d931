package udp

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"runtime"
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
type user struct{ *protocoltest.User }

func newUser(t testing.TB, base string, o wire.DialerOptions) user {
	return user{protocoltest.NewUser(t, Kind, base, o)}
}

func (u user) ignored() uint64 { return u.VU.Env.Connections.Ignored.Load() }

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
	slot := u.Symbols.Declare("v", expr.String)
	u.Scope.Set(slot, expr.Str("7"))
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
		if got := u.Must(step); got != want {
			t.Errorf("%.60s: %.40q, want %.40q", step, got, want)
		}
		if r := &u.Call.Result; r.ReceivedBytes != int64(len(want)) || r.SentBytes == 0 {
			t.Errorf("%.60s: %d bytes sent and %d received", step, r.SentBytes, r.ReceivedBytes)
		}
	}
	u.Must(`{send: {hex: 00ff}}`)
	if h, ok := u.Call.Response.Header("hex"); !ok || h != "00ff" {
		t.Errorf("hex is %q", h)
	}
	u.Scope.Set(slot, expr.Str(strings.Repeat("x", 70_000)))
	u.Fails(`{send: "${v}"}`, load.Input)
	u.Scope.Set(slot, expr.Str(""))
	u.Fails(`{send: "${v}"}`, load.Input)
	u.Fails(`{send: ab, id: {at: 1, bytes: 2}}`, load.Input)
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
	u.Fails(`{send: first}`, load.Timeout)
	for range 3 {
		if got := u.Must(`{send: second}`); got != "answer to second" {
			t.Fatalf("got %q", got)
		}
	}
	if n := u.VU.Env.Connections.Opened.Load(); n != 2 {
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
		u.Must(`{send: told, receive: none}`)
		if want := fmt.Sprint(i); u.Must(`{send: "`+want+`"}`) != want {
			t.Fatalf("request %s gets %q", want, u.Call.Response.Body())
		}
	}
	if n := u.VU.Env.Connections.Opened.Load(); n != 2 {
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
				if got := u.Must(fmt.Sprintf(`{send: "%s", %s}`, want, how)); got != want {
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
		if got := u.Must(`{send: "` + want + `"}`); got != want {
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
			u.Fails(h.step, h.cause)
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
	u.Fails(`{send: ping}`, load.Timeout)
}

// TestNobodyListens is a port that is closed, which the system says.
func TestNobodyListens(t *testing.T) {
	base, p := serve(t, echo)
	u := newUser(t, base, wire.DialerOptions{})
	u.Must(`{send: ping}`)
	p.Close()
	u.Fails(`{send: ping}`, load.Refused)
	u.Fails(`{send: ping}`, load.Refused)
}

// TestLimits holds sockets to limits.connections, and refuses to go round a proxy.
func TestLimits(t *testing.T) {
	base, _ := serve(t, echo)
	u := newUser(t, base, wire.DialerOptions{MaxConnections: 1})
	u.Must(`{send: ping}`)
	for range 2 { // the one that is replaced makes room for its successor
		u.Must(`{send: ping, socket: new}`)
	}
	w := newUser(t, base, wire.DialerOptions{})
	w.VU.Env = u.VU.Env
	w.Fails(`{send: ping}`, load.Overload)
	u.VU.Close()
	w.Must(`{send: ping}`)
	proxy, err := wire.ParseProxy("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	newUser(t, base, wire.DialerOptions{Proxy: proxy}).Fails(`{send: ping}`, load.Overload)
	newUser(t, base, wire.DialerOptions{Local: []netip.Addr{netip.MustParseAddr("127.0.0.9")}}).Must(`{send: ping}`)
}

// TestLocalAddresses are where datagrams come from.
func TestLocalAddresses(t *testing.T) {
	from := make(chan netip.Addr, 2)
	base, _ := serve(t, func(p *peer, at netip.AddrPort, said []byte) { from <- at.Addr(); p.say(at, said) })
	u := newUser(t, base, wire.DialerOptions{Local: []netip.Addr{netip.MustParseAddr("127.0.0.7"), netip.MustParseAddr("127.0.0.8")}})
	u.Must(`{send: ping, socket: new}`)
	u.Must(`{send: ping, socket: new}`)
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
		_, err := u.Compile(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// A span names the server, and what failed.
func TestSpan(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, echo)
	newUser(t, url, wire.DialerOptions{}).CheckSpan(`{send: hi}`, "udp")
}
