package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

const talkProto = `syntax = "proto3"; package made;
message Word { int64 id = 1; string text = 2; int32 seq = 3; }
service Talk {
  rpc Echo(stream Word) returns (stream Word);
  rpc Watch(Word) returns (stream Word);
  rpc Join(stream Word) returns (Word);
  rpc Once(Word) returns (Word);
}`

// A talker is a VU on streams, and what happened on them.
type talker struct {
	*user
	t       testing.TB
	address string
	target  string

	mu     sync.Mutex
	events []load.Message
}

func (k *talker) Message(_ int, m *load.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, *m)
}

// count adds up something of what happened.
func (k *talker) count(of func(*load.Message) int) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.events {
		n += of(&k.events[i])
	}
	return n
}

func sent(m *load.Message) int     { return int(m.Count[load.Sent]) }
func received(m *load.Message) int { return int(m.Count[load.Received]) }

func repeated(m *load.Message) int {
	if m.Repeated {
		return 1
	}
	return 0
}

// timed counts what was timed.
func timed(t load.MessageTiming) func(*load.Message) int {
	return func(m *load.Message) int { return min(1, int(m.Timed[t])) }
}

// closedBy counts the ends with a code.
func closedBy(code codes.Code) func(*load.Message) int {
	return func(m *load.Message) int {
		if m.Closed && m.Code == int32(code) {
			return 1
		}
		return 0
	}
}

// step performs a step as a flow does, with rests where it asks for them.
func (k *talker) step(text string, timeout time.Duration) *protocol.Call {
	k.t.Helper()
	s := mustCompile(k.t, "http://"+k.address, k.target, text, nil)
	c, now := &k.call, k.Env.Now()
	c.VU, c.Scope, c.Keep, c.Deadline, c.Messages = &k.VU, &expr.Scope{Rand: rand.NewPCG(1, 1)}, keepAll, now+timeout, k
	c.Result, c.Response, c.Err = load.Result{Due: int64(now), Sent: int64(now), Done: int64(now)}, nil, nil
	for {
		c.Again = 0
		s.Do(c)
		if c.Again == 0 {
			break
		}
		k.Rest()
		time.Sleep(c.Again - k.Env.Now())
	}
	if c.Result.Cause == load.None {
		c.Result.Cause = s.(protocol.Judge).Judge(c)
	}
	return c
}

// must performs a step that must succeed, and returns its message.
func (k *talker) must(text string) string {
	k.t.Helper()
	c := k.step(text, 45*time.Second)
	if c.Result.Cause != load.None {
		k.t.Fatalf("%s: %v: %v", text, c.Result.Cause, c.Err)
	}
	return string(c.Response.Body())
}

// fails performs a step that must fail for a cause.
func (k *talker) fails(text string, want load.Cause, words string) *protocol.Call {
	k.t.Helper()
	timeout := 45 * time.Second
	if want == load.Timeout {
		timeout = 100 * time.Millisecond
	}
	c := k.step(text, timeout)
	if c.Result.Cause != want || !strings.Contains(fmt.Sprint(c.Err), words) {
		k.t.Fatalf("%s: %v: %v, want %v: %s", text, c.Result.Cause, c.Err, want, words)
	}
	return c
}

// since returns what the last step says of its stream.
func (k *talker) since() *expr.Stream { return k.call.Response.(expr.Streamed).Stream() }

// eventually waits for a condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > 45*time.Second {
			t.Fatalf("%s: not within 45 s", what)
		}
	}
}

func newTalker(t testing.TB, does map[string]func(*talk) error) *talker {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	serveProto(t, l, talkProto, does)
	return &talker{user: newUser(t), t: t, address: l.Addr().String()}
}

// echo sends every message back.
func echo(k *talk) error {
	for {
		text, err := k.get()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := k.send(text); err != nil {
			return err
		}
	}
}

func TestAStreamBothWays(t *testing.T) {
	k := newTalker(t, map[string]func(*talk) error{"Echo": echo})
	k.must(`{method: made.Talk/Echo, stream: talk}`)
	if got, want := k.must(`{stream: talk, send: {id: 7, text: a}, echo: json.id}`), `{"id":7,"text":"a","seq":0}`; got != want {
		t.Errorf("echo = %s, want %s", got, want)
	}
	if s := k.since(); s.Sent != 1 || s.Received != 1 || s.RoundTrip <= 0 || s.First <= 0 {
		t.Errorf("stream = %+v", s)
	}
	k.must(`{stream: talk, send: {id: 8}}`)
	k.must(`{stream: talk, send: {id: 9}}`)
	// What came meanwhile is looked at first.
	eventually(t, "three messages", func() bool { return k.count(received) == 3 })
	if got, want := k.must(`{stream: talk, receive: json.id == 9}`), `{"id":9,"text":"","seq":0}`; got != want {
		t.Errorf("received %s, want %s", got, want)
	}
	k.fails(`{stream: talk, receive: any}`, load.Timeout, "deadline")
	if got, want := k.must(`{stream: talk, send: {text: last}, echo: body}`), `{"id":0,"text":"last","seq":0}`; got != want {
		t.Errorf("echo = %s, want %s", got, want)
	}
	k.must(`{stream: talk, close: end}`)
	k.fails(`{stream: talk, send: {id: 10}}`, load.Closed, "no stream is open")
	for what, got := range map[string][2]int{
		"sent": {k.count(sent), 4}, "received": {k.count(received), 4}, "round trips": {k.count(timed(load.RoundTrip)), 2},
		"first": {k.count(timed(load.FirstMessage)), 1}, "gaps": {k.count(timed(load.MessageGap)), 3}, "ends": {k.count(closedBy(codes.OK)), 1}, "lifetimes": {k.count(timed(load.Lifetime)), 1},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %d, want %d", what, got[0], got[1])
		}
	}
	// A step that opens and does something opens a stream unless one is open.
	for range 3 {
		k.must(`{method: made.Talk/Echo, send: {id: 1}, echo: json.id}`)
	}
	k.must(`{close: cancel}`)
	eventually(t, "the end", func() bool { return k.count(closedBy(codes.Canceled)) == 1 })
	if n := k.Env.Connections.Opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestDeadlinesOnAStream has requests whose deadlines come sooner and later than those before.
func TestDeadlinesOnAStream(t *testing.T) {
	k := newTalker(t, map[string]func(*talk) error{"Echo": echo})
	k.must(`{method: made.Talk/Echo, stream: talk}`)
	for _, timeout := range []time.Duration{200 * time.Millisecond, 20 * time.Millisecond, 400 * time.Millisecond} {
		begin := time.Now()
		c := k.step(`{stream: talk, receive: any}`, timeout)
		if took := time.Since(begin); c.Result.Cause != load.Timeout || took < timeout || took > timeout+5*time.Second {
			t.Errorf("%v: %v after %v, want timeout after %v", c.Result.Cause, c.Err, took, timeout)
		}
		k.must(`{stream: talk, send: {id: 1}, echo: json.id}`)
	}
	if n := k.count(closedBy(codes.DeadlineExceeded)); n != 0 {
		t.Errorf("%d streams ended by a wait that was over, want 0", n)
	}
}

func TestAStreamOfTheServer(t *testing.T) {
	k := newTalker(t, map[string]func(*talk) error{"Watch": func(k *talk) error {
		text, err := k.get()
		if err != nil {
			return err
		}
		if text != `{"text":"prices"}` {
			return status.Error(codes.InvalidArgument, text)
		}
		// 3 is missing, 2 comes late, 4 twice.
		for _, seq := range []int{1, 2, 4, 5, 7, 6, 5} {
			if err := k.send(fmt.Sprintf(`{"id": %d, "seq": %d}`, 10*seq, seq)); err != nil {
				return err
			}
		}
		return nil
	}})
	const open = `{method: made.Talk/Watch, message: {text: prices}, `
	if got, want := k.must(open+`close: end, sequence: json.seq}`), `{"id":50,"text":"","seq":5}`; got != want {
		t.Errorf("the last message = %s, want %s", got, want)
	}
	if s := k.since(); s.Received != 7 || s.Missing != 2 || s.Reordered != 1 || s.Repeated != 1 {
		t.Errorf("stream = %+v", s)
	}
	// A step waits for the first message, later ones for others; the end of the stream fails the wait for more.
	if got, want := k.must(open+`receive: any}`), `{"id":10,"text":"","seq":1}`; got != want {
		t.Errorf("the first message = %s, want %s", got, want)
	}
	k.must(`{receive: json.id == 70}`)
	k.fails(`{receive: json.id == 80}`, load.Closed, "the server has ended the stream")
	// The end that came while nobody waited for it is taken by close.
	k.must(open + `receive: any}`)
	eventually(t, "all messages", func() bool { return k.count(received) == 21 })
	eventually(t, "the ends", func() bool { return k.count(closedBy(codes.OK)) == 3 })
	k.must(`{close: end}`)
	k.fails(open+`listen: 20ms, each: json.seq < 5}`, load.Closed, "the server has ended the stream")
	k.fails(open+`close: end, each: json.seq < 5}`, load.Expect, "4 messages are not: json.seq < 5")
	c := k.fails(`{method: made.Talk/Watch, receive: any}`, load.Status, "status INVALID_ARGUMENT: {}")
	if c.Result.Code != int32(codes.InvalidArgument) {
		t.Errorf("code %d", c.Result.Code)
	}
	c = k.fails(`{method: made.Talk/Watch, close: end}`, load.Status, "status INVALID_ARGUMENT: {}")
	if c.Result.Code != int32(codes.InvalidArgument) || c.Response == nil {
		t.Errorf("code %d, response %v: want them for expect", c.Result.Code, c.Response)
	}
}

func TestAStreamOfTheClient(t *testing.T) {
	join := func(k *talk) error {
		var all []string
		for {
			text, err := k.get()
			switch {
			case errors.Is(err, io.EOF):
				return k.send(`{"text": "` + strings.Join(all, " ") + `"}`)
			case err != nil:
				return err
			}
			all = append(all, strings.Trim(text, `{}`)[len(`"text":"`):len(text)-3])
		}
	}
	k := newTalker(t, map[string]func(*talk) error{"Join": join})
	k.must(`{method: made.Talk/Join, stream: words, message: {text: a}}`)
	k.must(`{stream: words, send: {text: b}}`)
	if got, want := k.must(`{stream: words, send: {text: c}, close: end}`), `{"id":0,"text":"a b c","seq":0}`; got != want {
		t.Errorf("answer = %s, want %s", got, want)
	}
	if n, m := k.count(sent), k.count(received); n != 3 || m != 1 {
		t.Errorf("%d sent, %d received", n, m)
	}
	k.fails(`{method: made.Talk/Join, receive: any}`, load.Input, "made.Talk.Join answers by one message when all were sent")
}

// Messages are counted and timed while nobody waits for one, and while a VU listens it holds no goroutine.
func TestMessagesComeAllTheTime(t *testing.T) {
	t.Parallel()
	more := make(chan string)
	k := newTalker(t, map[string]func(*talk) error{"Watch": func(k *talk) error {
		for {
			select {
			case text := <-more:
				if err := k.send(text); err != nil {
					return err
				}
			case <-k.Context().Done():
				return nil
			}
		}
	}})
	k.must(`{method: made.Talk/Watch, stream: live}`)
	opened := int64(k.Env.Now())
	for i := range 100 {
		more <- fmt.Sprintf(`{"id": %d}`, i)
	}
	eventually(t, "100 messages", func() bool { return k.count(received) == 100 })
	by := int64(k.Env.Now())
	k.mu.Lock()
	for i, m := range k.events[1:] {
		if m.At < opened || m.At > by || m.Step != k.call.Result.Step {
			t.Errorf("message %d at %d, not between %d and %d", i, m.At, opened, by)
		}
	}
	k.mu.Unlock()
	// Of those that wait the oldest gave way.
	if got, want := k.must(`{stream: live, receive: any}`), `{"id":36,"text":"","seq":0}`; got != want {
		t.Errorf("received %s, want %s", got, want)
	}
	held, err := k.Session(protocol.Key{Kind: Kind.Name, Name: "stream live"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	live := held.(*stream)
	go func() {
		for deaf := false; !deaf; time.Sleep(time.Millisecond) {
			live.mu.Lock()
			deaf = live.deaf
			live.mu.Unlock()
		}
		for range 10 {
			more <- `{"id": 200}`
		}
	}()
	k.must(`{stream: live, listen: 1s}`)
	if s := k.since(); s.Received != 10 {
		t.Errorf("%d messages while it listened, want 10", s.Received)
	}
	k.fails(`{stream: live, receive: json.id == 200}`, load.Timeout, "") // what comes while it listens does not wait
	k.must(`{stream: live, close: cancel}`)
}

// A stream that is lost is opened again by itself, with what opened it, and its time is recorded.
func TestAStreamIsOpenedAgain(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	var mu sync.Mutex
	var asked []string
	watch := map[string]func(*talk) error{"Watch": func(k *talk) error {
		text, err := k.get()
		if err != nil {
			return err
		}
		md, _ := metadata.FromIncomingContext(k.Context())
		mu.Lock()
		asked = append(asked, text+strings.Join(md.Get("x-team"), ","))
		mu.Unlock()
		if err := k.send(`{"id": 1, "seq": 1}`); err != nil {
			return err
		}
		<-k.Context().Done()
		return nil
	}}
	now := serveProto(t, l, talkProto, watch)
	k := &talker{user: newUser(t), t: t, address: l.Addr().String()}
	k.must(`{method: made.Talk/Watch, stream: live, message: {text: a}, metadata: {x-team: red}, sequence: json.seq, reconnect: {back_off: 1ms, max_wait: 20ms}, receive: any}`)
	for i := range 2 {
		now.stop(t)
		eventually(t, "the loss", func() bool { return k.count(closedBy(codes.Unavailable)) == i+1 })
		now = serveProto(t, listen(t, k.address), talkProto, watch)
		if i == 0 { // by itself, or for a step
			eventually(t, "the next message", func() bool { return k.count(received) == 2 })
		}
		k.must(`{stream: live, receive: any}`)
		if s := k.since(); s.Reconnects != 1 || s.First <= 0 {
			t.Errorf("stream = %+v", s)
		}
	}
	if n := k.count(func(m *load.Message) int { return int(m.Missing) }); n != 0 || k.count(repeated) != 0 {
		t.Errorf("%d messages are missing and %d repeated, and the server numbers those of each call from 1", n, k.count(repeated))
	}
	if n := k.count(timed(load.Reconnect)); n != 2 {
		t.Errorf("%d reconnects were timed, want 2", n)
	}
	mu.Lock()
	defer mu.Unlock()
	if got, want := strings.Join(asked, " "), `{"text":"a"}red {"text":"a"}red {"text":"a"}red`; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// A message that is sent again, since the server had closed the connection before it read it, is one message.
func TestAMessageThatIsSentAgainCountsOnce(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	got := make(chan int, 1) // messages that came
	go func() {
		n := 0
		defer func() { got <- n }()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			first := n == 0
			if greet(c) {
				f := &frames{c: c}
				var out []byte
				for f.message() == nil {
					if n++; first {
						break
					}
					out = appendFrame(out[:0], frameHeaders, flagEndHeaders, f.stream, answerHead)
					out = appendFrame(out, frameData, 0, f.stream, "\x00\x00\x00\x00\x00")
					if _, err := c.Write(out); err != nil {
						break
					}
				}
			}
			_ = c.Close()
		}
	}()
	k := &talker{user: newUser(t), t: t, address: l.Addr().String(), target: "{descriptors: {protoset: [" + interopSet(t) + "]}}"}
	k.must(`{method: grpc.testing.TestService/FullDuplexCall, stream: s}`)
	k.must(`{method: grpc.testing.TestService/FullDuplexCall, stream: s, send: {}, receive: any}`)
	if n := k.count(sent); n != 1 || k.since().Sent != 1 {
		t.Errorf("%d messages were counted, %d by the step; want 1", n, k.since().Sent)
	}
	k.must(`{stream: s, send: {}}`)
	if n := k.count(sent); n != 2 {
		t.Errorf("%d messages were counted with the next, want 2", n)
	}
	k.Close()
	_ = l.Close()
	if n := <-got; n != 3 {
		t.Errorf("the server got %d messages, want the first twice, and the second", n)
	}
}

// The attempts to open a stream again end where they are bounded, and the steps that need it fail.
func TestAttemptsAreBounded(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	now := serveProto(t, l, talkProto, map[string]func(*talk) error{"Echo": echo})
	k := &talker{user: newUser(t), t: t, address: l.Addr().String()}
	k.must(`{method: made.Talk/Echo, stream: a, reconnect: {attempts: 3, back_off: 1ms}, send: {id: 1}, echo: json.id}`)
	now.stop(t)
	eventually(t, "the loss", func() bool { return k.count(closedBy(codes.Unavailable)) == 1 })
	k.fails(`{stream: a, receive: any}`, load.Refused, "connection refused")
	k.fails(`{stream: a, listen: 10s}`, load.Refused, "no stream is open, the last one was lost")
	k.fails(`{method: made.Talk/Echo, stream: a}`, load.Refused, "connection refused")
}

func TestTheLifetimeOfAStream(t *testing.T) {
	left := make(chan time.Duration, 1)
	k := newTalker(t, map[string]func(*talk) error{"Watch": func(k *talk) error {
		at, _ := k.Context().Deadline()
		left <- time.Until(at)
		<-k.Context().Done()
		return k.Context().Err()
	}})
	if c := k.step(`{method: made.Talk/Watch, lifetime: 200ms, receive: any}`, 45*time.Second); c.Result.Cause != load.Timeout {
		t.Errorf("cause %v: %v", c.Result.Cause, c.Err)
	}
	if d := <-left; d <= 0 || d > 200*time.Millisecond {
		t.Errorf("the server has %v, want what is left of 200ms", d)
	}
	eventually(t, "the end", func() bool { return k.count(closedBy(codes.DeadlineExceeded)) == 1 })
}

// A server that never reads stops a step by its timeout, and the stream can take no more.
func TestFlowControlThatNeverOpens(t *testing.T) {
	k := newTalker(t, map[string]func(*talk) error{"Echo": func(k *talk) error {
		<-k.Context().Done()
		return nil
	}})
	k.must(`{method: made.Talk/Echo, stream: a}`)
	big := `{stream: a, send: {text: "` + strings.Repeat("x", 100<<10) + `"}}`
	for range 100 {
		c := k.step(big, 200*time.Millisecond)
		if c.Result.Cause == load.None {
			continue
		}
		if c.Result.Cause != load.Timeout {
			t.Fatalf("cause %v: %v", c.Result.Cause, c.Err)
		}
		k.fails(`{stream: a, receive: any}`, load.Timeout, "no stream is open, the last one was lost")
		return
	}
	t.Error("10 MB were sent to a server that reads nothing")
}

// A VU that is interrupted while it waits returns, and leaves no reader.
func TestAnInterruptedStream(t *testing.T) {
	k := newTalker(t, map[string]func(*talk) error{"Echo": echo})
	k.must(`{method: made.Talk/Echo, stream: a, reconnect: {}, send: {id: 1}, echo: json.id}`)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { k.Interrupt(); cancel() })
	k.fails(`{stream: a, receive: any}`, load.Canceled, "")
	<-ctx.Done()
	k.fails(`{method: made.Talk/Echo, stream: a}`, load.Canceled, "")
}

func TestMistakesOfStreams(t *testing.T) {
	set := "{descriptors: {proto: [kinds.proto], import_paths: [testdata]}}"
	for step, want := range map[string]string{
		`{stream: a}`:                                                       `does nothing`,
		`{stream: a, message: {}, receive: any}`:                            `message: is said where the stream is opened: the step has no method`,
		`{receive: any, listen: 1s}`:                                        `a step waits for one thing, got receive and listen`,
		`{echo: body}`:                                                      `echo: is an answer to the message of send, and there is none`,
		`{listen: -1s}`:                                                     `listen: must not be negative, got "-1s"`,
		`{method: a.B/C, lifetime: 0s, receive: any}`:                       `lifetime: must be more than 0, got 0s`,
		`{close: cancle}`:                                                   "close: must be end or cancel, got \"cancle\"\n\thint: did you mean \"cancel\"?",
		`{method: a.B/C, reconnect: {attempts: 0}}`:                         `reconnect.attempts: must be 1 or more, got 0`,
		`{method: a.B/C, stream: a, sequence: json.}`:                       `sequence`,
		`{method: a.B/C, stream: a, each: json.a > nobody}`:                 `each`,
		`{method: perfd.test.Mirror/Reflect, stream: a}`:                    `perfd.test.Mirror.Reflect takes one message and answers one: it has no stream`,
		`{method: perfd.test.Mirror/Watch, stream: a, message: {textt: x}}`: `message.textt: perfd.test.Kinds has no field textt`,
		`{method: perfd.test.Mirror/Watch, send: {text: x}}`:                `send: perfd.test.Mirror.Watch takes one message`,
	} {
		target := ""
		if strings.Contains(step, "Mirror") {
			target = set
		}
		_, err := compile(t, "http://127.0.0.1:1", target, step, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", step, err, want)
		}
	}
}

// The span of each request on a stream names its method, and says what was sent and came since the request before.
func TestSpansOfStreams(t *testing.T) {
	k := newTalker(t, map[string]func(*talk) error{"Echo": echo})
	for _, c := range []struct {
		step string
		want map[string]int64
	}{
		{`{method: made.Talk/Echo, stream: talk}`, map[string]int64{}},
		{`{stream: talk, send: {id: 7}, echo: json.id}`, map[string]int64{"perfd.messages.sent": 1, "perfd.messages.received": 1}},
		{`{stream: talk, send: {id: 8}, close: end}`, map[string]int64{"perfd.messages.sent": 1, "perfd.messages.received": 1, "rpc.grpc.status_code": 0}},
	} {
		k.must(c.step)
		var span protocol.Span
		mustCompile(t, "http://"+k.address, "", c.step, nil).(protocol.SpanMapper).Span(&k.call.Result, k.call.Address, &span)
		want := map[string]int64{"perfd.messages.sent": 0, "perfd.messages.received": 0}
		maps.Copy(want, c.want)
		got, method := map[string]int64{}, ""
		for _, a := range span.Attributes {
			switch {
			case a.Key == "rpc.method":
				method = a.Text
			case strings.HasPrefix(a.Key, "perfd.") || a.Key == "rpc.grpc.status_code":
				got[a.Key] = a.Number
			}
		}
		if span.Name != "made.Talk/Echo" || method != "Echo" || !maps.Equal(want, got) {
			t.Errorf("%s: span %q of method %q with %v, want %v", c.step, span.Name, method, got, want)
		}
	}
}

// A stream that is redeployed in mid-run with another description of its messages is opened again, and read by that.
func TestAStreamIsRedeployed(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	address := l.Addr().String()
	prices := func(text string) map[string]func(*talk) error {
		return map[string]func(*talk) error{"Watch": func(k *talk) error {
			for k.Context().Err() == nil {
				if err := k.send(text); err != nil {
					return err
				}
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		}}
	}
	const head = `syntax = "proto3"; package made; message Ask { string of = 1; } service Prices { rpc Watch(Ask) returns (stream Price); } `
	now := serveProto(t, l, head+`message Price { int32 cents = 1; }`, prices(`{"cents": 100}`))
	k := &talker{user: newUser(t), t: t, address: address}
	if got, want := k.must(`{method: made.Prices/Watch, stream: prices, message: {of: lamp}, reconnect: {back_off: 20ms}, receive: any}`), `{"cents":100}`; got != want {
		t.Fatalf("received %s, want %s", got, want)
	}
	now.stop(t)
	serveProto(t, listen(t, address), head+`message Price { int32 cents = 1; string currency = 2; }`, prices(`{"cents": 200, "currency": "EUR"}`))
	eventually(t, "the stream is open again", func() bool { return k.count(timed(load.Reconnect)) == 1 })
	// A description holds for a while, in which messages are read as before.
	if got, want := k.must(`{stream: prices, receive: json.currency == 'EUR'}`), `{"cents":200,"currency":"EUR"}`; got != want {
		t.Errorf("received %s, want %s", got, want)
	}
	if n := k.count(timed(load.Reconnect)); n != 1 {
		t.Errorf("%d reconnects, want 1", n)
	}
	k.must(`{stream: prices, close: cancel}`)
}

// The services that grpc-go itself brings along are spoken to on streams of every kind.
func TestStreamsOfInteropServices(t *testing.T) {
	checks := health.NewServer()
	srv := serve(t, func(g *grpc.Server) {
		grpc_testing.RegisterTestServiceServer(g, interop.NewTestServer())
		grpc_health_v1.RegisterHealthServer(g, checks)
		reflection.Register(g)
	})
	for _, target := range []string{"{}", "{compression: gzip}"} {
		k := &talker{user: newUser(t), t: t, address: srv.address, target: target}
		for _, c := range []struct{ step, want string }{
			{`{method: grpc.testing.TestService/StreamingOutputCall, message: {response_parameters: [{size: 2}, {size: 3, interval_us: 1000}]}, close: end}`, `{"payload":{"type":"COMPRESSABLE","body":"AAAA"}`},
			{`{method: grpc.testing.TestService/StreamingInputCall, stream: in, message: {payload: {body: aGVsbG8=}}}`, ""},
			{`{stream: in, send: {payload: {body: aGVsbG8=}}, close: end}`, `{"aggregatedPayloadSize":10}`},
			{`{method: grpc.testing.TestService/FullDuplexCall, stream: both, send: {response_parameters: [{size: 3}]}, receive: any}`, `{"payload":{"type":"COMPRESSABLE","body":"AAAA"}`},
			{`{stream: both, send: {response_parameters: [{size: 6}]}, receive: "json.payload.body == 'AAAAAAAA'"}`, `{"payload":{"type":"COMPRESSABLE","body":"AAAAAAAA"}`},
			{`{stream: both, close: end}`, ""},
			{`{method: grpc.testing.TestService/HalfDuplexCall, send: {response_parameters: [{size: 3}]}, close: end}`, `{"payload":{"type":"COMPRESSABLE","body":"AAAA"}`},
			{`{method: grpc.health.v1.Health/Watch, stream: health, receive: any}`, `{"status":"SERVING"}`},
			{`{method: grpc.reflection.v1.ServerReflection/ServerReflectionInfo, stream: files, send: {list_services: ""}, receive: "json.listServicesResponse.service | count == 4"}`, ""},
			{`{stream: files, send: {file_containing_symbol: grpc.nobody.Nothing}, receive: json.errorResponse.errorCode == 5}`, ""},
			{`{stream: files, close: end}`, ""},
		} {
			if got := k.must(c.step); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s, want %s…", c.step, got, c.want)
			}
		}
		checks.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		k.must(`{stream: health, receive: json.status == 'NOT_SERVING'}`)
		checks.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
		k.must(`{stream: health, receive: json.status == 'SERVING'}`)
		k.must(`{stream: health, close: cancel}`)
		if n := k.Env.Connections.Opened.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	}
}
