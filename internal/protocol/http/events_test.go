package http

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
)

// An account adds up what happens on streams.
type account struct {
	mu      sync.Mutex
	sum     load.Message
	timed   [load.NumMessageTimings]int
	closes  int
	doubled int
}

func (a *account) Message(_ int, m *load.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sum.Count[load.Received] += m.Count[load.Received]
	a.sum.Bytes[load.Received] += m.Bytes[load.Received]
	a.sum.Missing += m.Missing
	for i, ns := range m.Timed {
		if ns > 0 {
			a.timed[i]++
		}
	}
	if m.Closed {
		a.closes++
	}
	if m.Repeated {
		a.doubled++
	}
}

func (a *account) received() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.sum.Count[load.Received])
}

// A subscriber performs steps with events as a flow does.
type subscriber struct {
	*rig
	account account
}

func newSubscriber(t testing.TB, base string) *subscriber {
	u := &subscriber{rig: newRig(t, base)}
	u.call.Messages = &u.account
	return u
}

// perform performs a step, and rests where it asks for that.
func (u *subscriber) perform(text string, timeout time.Duration) *protocol.Call {
	u.t.Helper()
	s := u.step(text)
	u.call.Again = 0
	for c := u.do(s, timeout); ; s.Do(c) {
		if c.Again == 0 {
			return c
		}
		u.vu.Rest()
		time.Sleep(c.Again - u.env.Now())
		c.Again = 0
	}
}

// must performs a step that succeeds, and returns the event that it ended with.
func (u *subscriber) must(text string) string {
	u.t.Helper()
	c := u.perform(text, 45*time.Second)
	if c.Result.Cause != load.None {
		u.t.Fatalf("%s: %v: %v", text, c.Result.Cause, c.Err)
	}
	return string(c.Response.Body())
}

func (u *subscriber) stream() *expr.Stream { return u.call.Response.(expr.Streamed).Stream() }

// eventually waits for a condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > 45*time.Second {
			t.Fatalf("%s: not within 45 s", what)
		}
	}
}

// pushes answers with pieces, each sent at once.
func pushes(contentType string, pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for _, p := range pieces {
			io.WriteString(w, p)
			w.(http.Flusher).Flush()
		}
	}
}

// cutUp reads a text in pieces of a size, and returns its events as type|id|data.
func cutUp(f format, text string, size int) (events []string, err error) {
	r := eventReader{}
	r.forget()
	r.begin(f, maxEvent)
	show := func() { events = append(events, fmt.Sprintf("%s|%s|%s", r.kind, r.id, r.data)) }
	for p := []byte(text); len(p) > 0; {
		n := min(size, len(p))
		r.feed(bytes.Clone(p[:n]))
		p = p[n:]
		for {
			found, err := r.next(false)
			if err != nil {
				return events, err
			}
			if !found {
				break
			}
			show()
		}
	}
	found, err := r.end()
	if found {
		show()
	}
	return events, err
}

func TestEventsAreCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		format     format
		want       []string
		cut        bool
	}{
		{name: "the standard's first example", format: sseFormat, text: "data: YHOO\ndata: +2\ndata: 10\n\n", want: []string{"||YHOO\n+2\n10"}},
		{
			name: "the standard's second example", format: sseFormat, text: ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
			want: []string{"|1|first event", "||second event", "|| third event"},
		},
		{name: "the standard's third example", format: sseFormat, text: "data\n\ndata\ndata\n\ndata:", want: []string{"||", "||\n"}, cut: true},
		{name: "the standard's fourth example", format: sseFormat, text: "data:test\n\ndata: test\n\n", want: []string{"||test", "||test"}},
		{name: "line ends of each kind", format: sseFormat, text: "data: a\r\rdata: b\r\n\r\ndata: c\n\nevent: x\rdata: d\r\n\n", want: []string{"||a", "||b", "||c", "x||d"}},
		{name: "a byte order mark", format: sseFormat, text: "\ufeffdata: a\n\n\ufeffdata: b\n\n", want: []string{"||a"}},
		{name: "comments, unknown fields and ids with a NUL", format: sseFormat, text: ":\n:keep-alive\n\nfoo: 1\nid: 7\n\nid: 8\x00\ndata: a\n\nretry: soon\nretry: 20\ndata: b\n\n", want: []string{"|7|a", "|7|b"}},
		{name: "a type without data is no event", format: sseFormat, text: "event: ping\n\ndata: a\n\n", want: []string{"||a"}},
		{name: "lines", format: lineFormat, text: "{\"a\":1}\n\r\n\n{\"a\":2}\r\n{\"a\":3}", want: []string{`||{"a":1}`, `||{"a":2}`, `||{"a":3}`}},
	} {
		for _, size := range []int{1, 2, 3, 7, 1000} {
			got, err := cutUp(c.format, c.text, size)
			if diff := cmp.Diff(c.want, got); diff != "" || (err != nil) != c.cut {
				t.Errorf("%s, in pieces of %d: error %v (-want +got):\n%s", c.name, size, err, diff)
			}
		}
	}
}

// FuzzEvents gives any bytes as events. How they are cut into pieces must make no difference.
func FuzzEvents(f *testing.F) {
	for _, text := range []string{"data: a\nid: 1\n\n", "\ufeff:c\r\rdata\r\n\r\n", "{}\n\n{}", "event:x\ndata:1\ndata:2\n\nretry: 1\n"} {
		f.Add(text, uint8(1), true)
		f.Add(text, uint8(3), false)
	}
	f.Fuzz(func(t *testing.T, text string, size uint8, sse bool) {
		kind := lineFormat
		if sse {
			kind = sseFormat
		}
		whole, err := cutUp(kind, text, len(text)+1)
		parts, perr := cutUp(kind, text, int(size)+1)
		if diff := cmp.Diff(whole, parts); diff != "" || (err == nil) != (perr == nil) {
			t.Errorf("%q in pieces of %d: errors %v and %v (-whole +parts):\n%s", text, int(size)+1, err, perr, diff)
		}
	})
}

func TestEventsOfAnAnswerThatEnds(t *testing.T) { overEach(t, testEventsOfAnAnswerThatEnds) }

func testEventsOfAnAnswerThatEnds(t *testing.T) {
	t.Parallel()
	const sse = "text/event-stream; charset=utf-8"
	for _, c := range []struct {
		name, step, contentType string
		pieces                  []string
		last                    string
		received                uint64
	}{
		{"tokens", `{url: /, json: {stream: true}, events: {end: true}}`, sse, []string{"data: one\n\n", "da", "ta: two\n\ndata: [DONE]\n\n"}, "[DONE]", 3},
		{"until an event", `{url: /, events: {receive: "body == '[DONE]'", close: true}}`, sse, []string{"data: a\n\n", "data: [DONE]\n\n"}, "[DONE]", 2},
		{"by type", `{url: /, events: {receive: "header('event') == 'sold' && header('id') == '4'"}}`, sse, []string{"event: sold\nid: 3\ndata: x\n\nid: 4\nevent: sold\ndata: y\n\n"}, "y", 2},
		{"a number of events", `{url: /, events: {count: 2}}`, sse, []string{"data: 1\n\ndata: 2\n\ndata: 3\n\n"}, "2", 2},
		{"lines", `{url: /, events: {end: true, sequence: json.n}}`, "application/x-ndjson", []string{"{\"n\":1}\n{\"n\"", ":2}\n\n", "{\"n\":5}"}, `{"n":5}`, 3},
		{"lines of any type", `{url: /, events: {format: lines, end: true}}`, "text/plain", []string{"a\nb\n"}, "b", 2},
		{"chunks", `{url: /, events: {format: chunks, end: true}}`, "text/plain", []string{"Hel", "lo", " world"}, " world", 3},
		{"nothing", `{url: /, events: {end: true}}`, sse, []string{": nothing\n\n"}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "chunks" && versionOf(t) == "2" {
				t.Skip("HTTP/2 has no chunks")
			}
			u := newSubscriber(t, serve(t, pushes(c.contentType, c.pieces...)))
			if last := u.must(c.step); last != c.last {
				t.Errorf("the last event is %q, want %q", last, c.last)
			}
			if s := u.stream(); s.Received != c.received || c.received > 0 && s.First <= 0 {
				t.Errorf("stream %+v, want %d received", s, c.received)
			}
			if c.name == "lines" && u.stream().Missing != 2 {
				t.Errorf("%d missing, want 2", u.stream().Missing)
			}
			r := &u.call.Result
			if u.account.received() != int(c.received) || r.Code != 200 || r.Done < r.Sent || r.ReceivedBytes == 0 {
				t.Errorf("recorded %d, result %+v", u.account.received(), r)
			}
		})
	}
}

// Answers that end leave the connection for the next request.
func TestStreamsThatEndKeepTheirConnection(t *testing.T) {
	t.Parallel()
	for _, step := range []string{`{url: /, events: {end: true}}`, `{url: /, events: {receive: body == 'b', close: true}}`} {
		var conns sync.Map
		h := pushes(eventStream, "data: a\n\ndata: b\n\n")
		u := newSubscriber(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			conns.Store(r.RemoteAddr, true)
			h(w, r)
		}))
		for range 5 {
			u.must(step)
			if c := u.get(`{url: /}`); c.Result.Cause != load.None {
				t.Fatal(c.Err)
			}
		}
		n := 0
		conns.Range(func(any, any) bool { n++; return true })
		if strings.Contains(step, "end") && n != 1 {
			t.Errorf("%s: %d connections, want 1", step, n)
		}
		opened, closed := u.env.Connections.Opened.Load(), uint64(0)
		u.vu.Close()
		for i := range u.env.Connections.Closed {
			closed += u.env.Connections.Closed[i].Load()
		}
		if opened != closed || u.account.closes != 5 {
			t.Errorf("%s: %d connections opened, %d closed, and %d streams ended, want 5", step, opened, closed, u.account.closes)
		}
	}
}

// A feed is a server of numbered events that resumes after the one that a client has seen.
type feed struct {
	mu      sync.Mutex
	n       int // events so far
	added   chan struct{}
	cut     chan struct{} // closed to drop all connections
	resumed []string
	retry   string
}

func newFeed() *feed { return &feed{added: make(chan struct{}), cut: make(chan struct{})} }

func (f *feed) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n += n
	close(f.added)
	f.added = make(chan struct{})
}

// drop ends all connections within an event.
func (f *feed) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.cut)
	f.cut = make(chan struct{})
}

func (f *feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	last := r.Header.Get("Last-Event-ID")
	from, _ := strconv.Atoi(last)
	f.mu.Lock()
	f.resumed = append(f.resumed, last)
	cut := f.cut
	f.mu.Unlock()
	w.Header().Set("Content-Type", eventStream)
	io.WriteString(w, f.retry+": hello\n\n")
	for {
		f.mu.Lock()
		n, added := f.n, f.added
		f.mu.Unlock()
		for ; from < n; from++ {
			fmt.Fprintf(w, "id: %d\ndata: {\"n\": %d}\n\n", from+1, from+1)
		}
		w.(http.Flusher).Flush()
		select {
		case <-added:
		case <-r.Context().Done():
			return
		case <-cut:
			io.WriteString(w, "id: 9999\ndata: half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

func TestAStreamIsAttendedAndResumed(t *testing.T) { overEach(t, testAStreamIsAttendedAndResumed) }

func testAStreamIsAttendedAndResumed(t *testing.T) {
	t.Parallel()
	f := newFeed()
	f.retry = "retry: 200\n\n"
	u := newSubscriber(t, serve(t, f.ServeHTTP))
	u.must(`{url: /, events: {sequence: id, each: json.n > 0, reconnect: {back_off: 1ms}}}`)
	f.add(3)
	if got := u.must(`{events: {receive: json.n == 2}}`); got != `{"n": 2}` {
		t.Errorf("received %q", got)
	}
	u.vu.Rest() // and the virtual user thinks
	f.add(10)
	eventually(t, "13 events", func() bool { return u.account.received() == 13 })
	dropped := time.Now()
	f.drop()
	f.add(10)
	eventually(t, "23 events", func() bool { return u.account.received() == 23 })
	if took := time.Since(dropped); took < 200*time.Millisecond {
		t.Errorf("the stream was asked for again after %v, and the server had asked to wait for 200ms", took)
	}
	if got := u.must(`{events: {count: 21}}`); got != `{"n": 23}` {
		t.Errorf("the last of those that waited is %q", got)
	}
	if s := u.stream(); s.Missing != 0 || s.Repeated != 0 || s.Reconnects != 1 || s.Unmet != 0 {
		t.Errorf("stream %+v, want one reconnect and nothing missing", s)
	}
	u.must(`{events: {listen: 20ms, close: true}}`)
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff([]string{"", "13"}, f.resumed); diff != "" {
		t.Errorf("Last-Event-ID (-want +got):\n%s", diff)
	}
	u.account.mu.Lock()
	defer u.account.mu.Unlock()
	if a := &u.account; a.sum.Missing != 0 || a.doubled != 0 || a.timed[load.FirstMessage] != 2 || a.timed[load.MessageGap] != 21 || a.timed[load.Reconnect] != 1 || a.closes != 2 {
		t.Errorf("account: missing %d, timed %v, %d closes", a.sum.Missing, a.timed, a.closes)
	}
	if c := u.perform(`{events: {count: 1}}`, time.Second); c.Result.Cause != load.Closed {
		t.Errorf("after the close: %v, %v", c.Result.Cause, c.Err)
	}
}

// A server that answers 204 to a reconnect asks to come no more.
func TestReconnectsEnd(t *testing.T) { overEach(t, testReconnectsEnd) }

func testReconnectsEnd(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	u := newSubscriber(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 1:
			pushes(eventStream, "data: a\n\n")(w, r)
		case 2:
			w.WriteHeader(503)
		default:
			w.WriteHeader(204)
		}
	}))
	u.must(`{url: /, events: {count: 1, reconnect: {back_off: 1ms}}}`)
	c := u.perform(`{events: {listen: 30s}}`, time.Second)
	if c.Result.Cause != load.Status || asked.Load() != 3 {
		t.Errorf("%v (%v) after %d requests, want 3", c.Result.Cause, c.Err, asked.Load())
	}
}

func TestEventsOfHostileServers(t *testing.T) {
	t.Parallel()
	endless := func(head, text string) func(net.Conn) {
		return func(c net.Conn) {
			readHead(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"+head+"\r\n")
			c.SetWriteDeadline(time.Now().Add(30 * time.Second))
			for {
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
			}
		}
	}
	once := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			readHead(c)
			io.WriteString(c, "HTTP/1.1 "+text)
		}
	}
	const head = "200 OK\r\nContent-Type: text/event-stream\r\n"
	for _, c := range []struct {
		name, events string
		serve        func(net.Conn)
		want         load.Cause
	}{
		{"an event without end", `{count: 1, max_event: 64KiB}`, endless("", "data: "+strings.Repeat("x", 1000)+"\n"), load.Overload},
		{"a line without end", `{count: 1, max_event: 64KiB}`, endless("", strings.Repeat("x", 1000)), load.Overload},
		{"a comment without end", `{count: 1}`, endless("", ":"+strings.Repeat("x", 1000)), load.Timeout},
		{"comments without end", `{count: 1}`, endless("", ": still here\n\n"), load.Timeout},
		{"types without end", `{count: 1}`, endless("", "event: "+strings.Repeat("x", 900)+"\n"), load.Timeout},
		{"a type that is too long", `{count: 1}`, endless("", "event: "+strings.Repeat("x", 2000)+"\n"), load.Protocol},
		{"a chunk without end", `{count: 1, format: chunks, max_event: 64KiB}`, endless("Transfer-Encoding: chunked\r\n", "fffffff\r\n"+strings.Repeat("x", 1000)), load.Overload},
		{"a body that unpacks", `{count: 1}`, endless("Content-Encoding: gzip\r\n", "\x1f\x8b\x08\x00"), load.Protocol},
		{"an end within an event", `{end: true}`, once(head + "\r\ndata: a\n\ndata: b\n"), load.Partial},
		{"an end within a chunk", `{end: true}`, once(head + "Transfer-Encoding: chunked\r\n\r\nff\r\ndata: a\n\n"), load.Partial},
		{"an end before the event", `{receive: body == 'b'}`, once(head + "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n"), load.Closed},
		{"a wrong content type", `{end: true}`, once("200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"), load.Protocol},
		{"no chunks", `{format: chunks, end: true}`, once("200 OK\r\nContent-Length: 2\r\n\r\nhi"), load.Protocol},
		{"silence", `{end: true}`, func(c net.Conn) { readHead(c); io.WriteString(c, "HTTP/1.1 "+head+"\r\n"); io.Copy(io.Discard, c) }, load.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := newSubscriber(t, raw(t, c.serve))
			call := u.perform(`{url: /, events: `+c.events+`}`, map[bool]time.Duration{true: 300 * time.Millisecond, false: 45 * time.Second}[c.want == load.Timeout])
			if call.Result.Cause != c.want {
				t.Errorf("%v: %v, want %v", call.Result.Cause, call.Err, c.want)
			}
			u.vu.Close()
		})
	}
}

func TestAnAnswerThatIsNoStreamIsJudged(t *testing.T) {
	overEach(t, testAnAnswerThatIsNoStreamIsJudged)
}

func testAnAnswerThatIsNoStreamIsJudged(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]load.Cause{429: load.Status, 204: load.Status, 302: load.Status} {
		u := newSubscriber(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		s := u.step(`{url: /, events: {end: true}}`)
		c := u.do(s, 45*time.Second)
		if c.Result.Cause != load.None || c.Response == nil || c.Response.Code() != status {
			t.Fatalf("%d: %v, %v", status, c.Result.Cause, c.Err)
		}
		if got := s.(protocol.Judge).Judge(c); got != want {
			t.Errorf("%d is judged as %v, want %v", status, got, want)
		}
	}
}

func TestMistakesOfEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, "http://127.0.0.1:1")
	for text, want := range map[string]string{
		`{}`:                                 "url: is required",
		`{events: {}}`:                       "events: does nothing",
		`{method: GET, events: {count: 1}}`:  "method: is of a request, and the step has no url",
		`{events: {count: 1, sequence: id}}`: "events.sequence: is said where the stream is opened: the step has no url",
		`{url: /, events: {count: 1, listen: 1s}}`:     "events: a step waits for one thing, got count and listen",
		`{url: /, events: {count: 0}}`:                 "events.count: must be at least 1, got 0",
		`{url: /, events: {format: xml}}`:              `events.format: must be sse, lines or chunks, got "xml"`,
		`{url: /, events: {poll: true, count: 2}}`:     "events.count: count and poll exclude each other",
		`{events: {poll: true, close: true}}`:          "poll: is said where the stream is opened: the step has no url",
		`{url: /, events: {end: true, reconnect: {}}}`: "events.reconnect: end and reconnect exclude each other",
		`{url: /, events: {close: false}}`:             "events.close: must be true",
		`{url: /, events: {max_event: 0B}}`:            "events.max_event: must be more than 0 and at most 1GiB",
	} {
		if _, err := r.compile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestContractOfEvents(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n0\r\n\r\n")
	protocoltest.Run(t, protocoltest.Subject{
		Step: func(t testing.TB, addr string) protocol.Step {
			var errs block.Errors
			c := Kind.Step()
			block.Decode(block.Parse("step.yaml", []byte(`{url: /a, events: {end: true}}`), &errs), c, &errs)
			s := c.Compile(&protocol.Compiler{Base: block.Text{S: "http://" + addr}, Symbols: expr.NewSymbols(nil), Errors: &errs})
			if err := errs.Err(); err != nil {
				t.Fatal(err)
			}
			return s
		},
		Answer:      func(c net.Conn) { answerWith(c, answer) },
		Allocations: pooled,
		Ask:         readHead,
		Garbage:     "220 mail.example.com ESMTP\r\n\r\n",
	})
}

// The request of a stream that was lost shows what the credential is by then, wherever it stands in it.
func TestAResumedStreamProvesItselfAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second credential.Value
		says          string   // the mark of the second
		want          []string // of each request: address, Authorization, X-Signature, what follows them, body
	}{
		"a token": {
			credential.Value{Lifetime: time.Second, Header: []byte("Authorization: one\r\n")},
			credential.Value{Header: []byte("Authorization: the-second\r\n")},
			"the-second",
			[]string{"/?a=b one   hi", "/?a=b one  7 hi", "/?a=b the-second  7 hi"},
		},
		"a part of the query": {
			credential.Value{Lifetime: time.Second, Query: []byte("key=1")},
			credential.Value{Query: []byte("key=22")},
			"key=22",
			[]string{"/?a=b&key=1    hi", "/?a=b&key=1   7 hi", "/?a=b&key=22   7 hi"},
		},
		"a signature": {
			credential.Value{Lifetime: time.Second, Sign: signer("x")},
			credential.Value{Header: []byte("Authorization: id\r\n"), Sign: signer("y")},
			" id ",
			[]string{"/?a=b  x1POST/?a=bhi  hi", "/?a=b  x2POST/?a=bhi 7 hi", "/?a=b id y1POST/?a=bhi 7 hi"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var got []string
			u := newSubscriber(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				mu.Lock()
				line := strings.Join([]string{r.URL.RequestURI(), r.Header.Get("Authorization"), r.Header.Get("X-Signature"), r.Header.Get("Last-Event-ID"), string(body)}, " ")
				got = append(got, line)
				n := len(got)
				mu.Unlock()
				if n > 1 && !strings.Contains(line, c.says) {
					w.WriteHeader(unauthorized)
					return
				}
				pushes(eventStream, fmt.Sprintf("id: 7\ndata: %d\n\n", n))(w, r)
				if n > 1 {
					<-r.Context().Done()
				}
			}))
			source := &givenSource{}
			source.next.Store(&c.first)
			by := credential.New(credential.Options{Name: "proof", Source: source, Log: slog.New(slog.DiscardHandler)})
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			wg.Go(func() { by.Run(ctx) })
			t.Cleanup(func() {
				cancel()
				wg.Wait()
			})
			<-by.Tried()
			u.credentials = map[string]*credential.Definition{"proof": {Name: block.Text{S: "proof"}, Source: source}}
			u.env.Credentials = map[string]*credential.Credential{"proof": by}
			u.must(`{url: "/?a=b", body: hi, credentials: proof, events: {count: 1, reconnect: {back_off: 20ms}}}`)
			source.next.Store(&c.second)
			u.must(`{events: {receive: any}}`)
			mu.Lock()
			defer mu.Unlock()
			n := len(got)
			if n < 3 || got[0] != c.want[0] || got[1] != c.want[1] || got[n-1] != c.want[2] {
				t.Errorf("the server got\n%q, want\n%q", got, c.want)
			}
		})
	}
}

// signer returns what signs requests, and counts them.
func signer(by string) func([]byte, *credential.Request) ([]byte, error) {
	var n atomic.Int32
	return func(dst []byte, r *credential.Request) ([]byte, error) {
		return fmt.Appendf(dst, "X-Signature: %s%d%s%s%s\r\n", by, n.Add(1), r.Method, r.Target, r.Body), nil
	}
}

// The span of each request on a stream says what came since the one before, and where the stream leads.
func TestSpansOfEvents(t *testing.T) {
	t.Parallel()
	u := newSubscriber(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		pushes(eventStream, "id: 1\ndata: a\n\n", "id: 2\ndata: b\n\n", "id: 5\ndata: c\n\n")(w, r)
		<-r.Context().Done()
	}))
	for _, c := range []struct {
		step, name string
		want       map[string]int64
		url        bool
	}{
		{`{url: "/news?key=hush", events: {count: 2, sequence: id}}`, "GET /news", map[string]int64{"perfd.messages.sent": 0, "perfd.messages.received": 2, "http.response.status_code": 200}, true},
		{`{events: {receive: any}}`, "events", map[string]int64{"perfd.messages.sent": 0, "perfd.messages.received": 1, "perfd.messages.missing": 2}, false},
		{`{url: /news, events: {listen: 50ms}}`, "GET /news", map[string]int64{"perfd.messages.sent": 0, "perfd.messages.received": 0, "http.response.status_code": 200}, true},
	} {
		u.must(c.step)
		var span protocol.Span
		u.step(c.step).(protocol.SpanMapper).Span(&u.call.Result, u.call.Address, &span)
		got, url := map[string]int64{}, ""
		for _, a := range span.Attributes {
			switch a.Key {
			case "server.port":
			case "url.full":
				url = a.Text
			default:
				if a.Numeric {
					got[a.Key] = a.Number
				}
			}
		}
		if _, of := c.want["http.response.status_code"]; !of || u.call.Result.Code == 0 {
			delete(c.want, "http.response.status_code")
		}
		if diff := cmp.Diff(c.want, got); span.Name != c.name || diff != "" || strings.Contains(url, "hush") || c.url != strings.Contains(url, "/news") {
			t.Errorf("%s: span %q at %q, numbers (-want +got):\n%s", c.step, span.Name, url, diff)
		}
	}
}

// Long polling is one stream over all requests, whose events are the answers with a body.
func TestPolls(t *testing.T) {
	t.Parallel()
	answers := make(chan string, 10)
	u := newSubscriber(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		switch text := <-answers; text {
		case "":
			w.WriteHeader(http.StatusNoContent)
		case "broken":
			http.Error(w, text, http.StatusServiceUnavailable)
		default:
			io.WriteString(w, text)
		}
	}))
	const poll = `{url: /next, events: {poll: true, sequence: json.seq, each: json.seq > 0}}`
	for _, c := range []struct {
		answer string
		cause  load.Cause
		want   expr.Stream
	}{
		{"", load.None, expr.Stream{}},
		{`{"seq": 1}`, load.None, expr.Stream{Received: 1}},
		{"", load.None, expr.Stream{}},
		{"broken", load.Status, expr.Stream{}},
		{`{"seq": 4}`, load.None, expr.Stream{Received: 1, Missing: 2}},
		{`{"seq": 4}`, load.None, expr.Stream{Received: 1, Repeated: 1}},
		{`{"seq": -1}`, load.Expect, expr.Stream{}},
		{`{"seq": 5}`, load.None, expr.Stream{Received: 1}},
	} {
		answers <- c.answer
		call := u.perform(poll, 45*time.Second)
		if call.Result.Cause == load.None {
			call.Result.Cause = u.step(poll).(protocol.Judge).Judge(call)
		}
		if call.Result.Cause != c.cause {
			t.Fatalf("%q: %v: %v, want %v", c.answer, call.Result.Cause, call.Err, c.cause)
		}
		if c.cause != load.None {
			continue
		}
		got := *u.stream()
		if (got.First > 0) != (c.answer == `{"seq": 1}`) || (got.LongestGap > 0) != (got.Received > 0 && got.First == 0) {
			t.Errorf("%q: times of %+v", c.answer, got)
		}
		if got.First, got.LongestGap = 0, 0; got != c.want {
			t.Errorf("%q: %+v, want %+v", c.answer, got, c.want)
		}
	}
	answers <- `{"seq": 6}`
	u.must(`{url: /next, events: {poll: true, sequence: json.seq, close: true}}`)
	u.account.mu.Lock()
	defer u.account.mu.Unlock()
	if a := &u.account; a.sum.Count[load.Received] != 6 || a.sum.Missing != 2 || a.doubled != 2 || a.closes != 1 || a.timed[load.FirstMessage] != 1 || a.timed[load.MessageGap] != 5 {
		t.Errorf("account: %+v, %d doubled, %d closes, timed %v", a.sum, a.doubled, a.closes, a.timed)
	}
}

func TestChunksAreNotOfHTTP2(t *testing.T) {
	r := newRig(t, "http://127.0.0.1:1")
	for version, want := range map[string]bool{"1.1": false, "auto": false, "2": true} {
		r.target = "version: " + version
		if _, err := r.compile(`{url: /, events: {format: chunks, receive: "true"}}`); (err != nil) != want || want && !strings.Contains(err.Error(), "step.yaml:1:27: events.format: chunks are of HTTP/1.1") {
			t.Errorf("version %s: %v", version, err)
		}
	}
}
