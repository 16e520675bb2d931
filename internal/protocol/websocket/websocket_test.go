package websocket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
	"github.com/perfd/perfd/internal/wire"
)

// A counter adds up what a sink takes.
type counter struct {
	mu    sync.Mutex
	sum   load.Message
	timed [load.NumMessageTimings][]int64
	lates int
	twice int
	unmet int
	codes []int32
}

func (c *counter) Message(_ int, m *load.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range m.Count {
		c.sum.Count[i] += m.Count[i]
		c.sum.Bytes[i] += m.Bytes[i]
	}
	c.sum.Missing += m.Missing
	for b, n := range map[*int]bool{&c.lates: m.Reordered, &c.twice: m.Repeated, &c.unmet: m.Unmet} {
		if n {
			*b++
		}
	}
	for i, ns := range m.Timed {
		if ns > 0 {
			c.timed[i] = append(c.timed[i], ns)
		}
	}
	if m.Closed {
		c.codes = append(c.codes, m.Code)
	}
}

func (c *counter) received() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.sum.Count[load.Received])
}

// A user is one virtual user and what becomes of its messages.
type user struct {
	t     testing.TB
	vu    *protocol.VU
	base  string
	count counter
	call  protocol.Call
}

func newUser(t testing.TB, base string) *user {
	u := &user{t: t, vu: &protocol.VU{ID: 1, Env: protocoltest.Env(t, wire.DialerOptions{})}, base: base}
	t.Cleanup(u.vu.Close)
	return u
}

// do performs a step as a flow does, with rests where it asks for them.
func (u *user) do(step protocol.Step, timeout time.Duration) *protocol.Call {
	c := &u.call
	now := u.vu.Env.Now()
	c.VU, c.Scope, c.Keep, c.Deadline = u.vu, &expr.Scope{Rand: rand.NewPCG(1, 1)}, &expr.Keep{}, now+timeout
	c.Result, c.Response, c.Err, c.Messages = load.Result{Due: int64(now), Sent: int64(now), Done: int64(now)}, nil, nil, &u.count
	for {
		c.Again = 0
		step.Do(c)
		if c.Again == 0 {
			return c
		}
		u.vu.Rest()
		time.Sleep(c.Again - u.vu.Env.Now())
	}
}

// must performs a step that must succeed.
func (u *user) must(text string) *protocol.Call {
	u.t.Helper()
	c := u.do(compile(u.t, u.base, text), 10*time.Second)
	if c.Result.Cause != load.None {
		u.t.Fatalf("%.60s: %v: %v", text, c.Result.Cause, c.Err)
	}
	return c
}

// fails performs a step that must fail for a cause.
func (u *user) fails(text string, want load.Cause) *protocol.Call {
	u.t.Helper()
	c := u.do(compile(u.t, u.base, text), 2*time.Second)
	if c.Result.Cause != want {
		u.t.Fatalf("%s: cause %v (%v), want %v", text, c.Result.Cause, c.Err, want)
	}
	return c
}

// serve serves WebSockets by coder's library.
func serve(t testing.TB, handle func(ctx context.Context, c *websocket.Conn) error) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"orders.v2"}, InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		_ = handle(r.Context(), c) // the client sees what is wrong
	}))
	t.Cleanup(s.Close)
	return s
}

// echo sends every message back.
func echo(ctx context.Context, c *websocket.Conn) error {
	c.SetReadLimit(1 << 20)
	for {
		kind, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, kind, p); err != nil {
			return err
		}
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func TestMessagesOfAllKindsComeBack(t *testing.T) {
	u := newUser(t, serve(t, echo).URL)
	c := u.must(`{url: /, subprotocols: [orders.v1, orders.v2]}`)
	if p, _ := c.Response.Header("Sec-WebSocket-Protocol"); c.Result.Code != 101 || p != "orders.v2" {
		t.Errorf("opened with code %d and subprotocol %q", c.Result.Code, p)
	}
	for text, want := range map[string]string{
		`{send: {text: hello}, echo: body}`:                              "hello",
		`{send: {json: {id: 7, a: [1, true]}}, echo: json.id}`:           `{"id":7,"a":[1,true]}`,
		`{send: {binary: AAEC}, receive: any}`:                           "\x00\x01\x02",
		`{send: {text: ""}, receive: any}`:                               "",
		`{send: {text: "` + long(200) + `"}, echo: body}`:                long(200),
		`{send: {text: "` + long(70_000) + `"}, receive: size == 70000}`: long(70_000),
	} {
		c := u.must(text)
		if got := string(c.Response.Body()); got != want {
			t.Errorf("%.40s: %.40q, want %.40q", text, got, want)
		}
		if s := c.Response.(expr.Streamed).Stream(); s.Sent != 1 || s.Received != 1 || s.RoundTrip == 0 {
			t.Errorf("%.40s: stream %+v", text, s)
		}
	}
	u.must(`{ping: true}`)
	if c := u.must(`{close: 1000}`); c.Result.Code != 1000 {
		t.Errorf("close answered with code %d", c.Result.Code)
	}
	u.fails(`{send: {text: late}}`, load.Closed)
	n := int64(5 + len(`{"id":7,"a":[1,true]}`) + 3 + 200 + 70_000)
	if s := u.count.sum; s.Count != [2]uint64{6, 6} || s.Bytes != [2]int64{n, n} {
		t.Errorf("counted %v messages of %v bytes, want 6 of %d each way", s.Count, s.Bytes, n)
	}
	for timing, want := range map[load.MessageTiming]int{load.FirstMessage: 1, load.MessageGap: 5, load.RoundTrip: 6, load.PingRoundTrip: 1} {
		if got := len(u.count.timed[timing]); got != want {
			t.Errorf("%v was timed %d times, want %d", timing, got, want)
		}
	}
	if !slices.Equal(u.count.codes, []int32{1000}) {
		t.Errorf("closes by codes %v, want one by 1000", u.count.codes)
	}
}

func long(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return string(b)
}

// push sends numbered messages.
func push(ctx context.Context, c *websocket.Conn, numbers ...int) error {
	for _, n := range numbers {
		if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"tick","seq":%d}`, n)); err != nil {
			return err
		}
	}
	return nil
}

func TestASequenceIsWatched(t *testing.T) {
	u := newUser(t, serve(t, func(ctx context.Context, c *websocket.Conn) error {
		// 3 and 4 are missing, of which 3 comes late; 6 comes twice; 8 to 10 are missing.
		if err := push(ctx, c, 1, 2, 5, 3, 6, 6, 7, 11); err != nil {
			return err
		}
		return echo(ctx, c)
	}).URL)
	u.must(`{url: /, sequence: json.seq, send: {text: "{}"}, receive: json.seq == 11}`)
	if s := &u.count; s.sum.Missing != 5 || s.lates != 1 || s.twice != 1 {
		t.Errorf("%d missing, %d late, %d twice; want 5, 1, 1", s.sum.Missing, s.lates, s.twice)
	}
}

// TestAStreamIsAttendedWhileItsUserThinks pushes messages and pings during a rest, and receives later what came.
func TestAStreamIsAttendedWhileItsUserThinks(t *testing.T) {
	t.Parallel()
	ponged := make(chan error, 1)
	u := newUser(t, serve(t, func(ctx context.Context, c *websocket.Conn) error {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
		gone := c.CloseRead(ctx)
		ponged <- errors.Join(push(ctx, c, 1, 2), c.Ping(ctx), push(ctx, c, 3))
		<-gone.Done()
		return nil
	}).URL)
	u.must(`{url: /}`)
	u.must(`{send: {text: go}}`)
	u.vu.Rest()
	if err := <-ponged; err != nil {
		t.Fatalf("the ping was not answered: %v", err)
	}
	eventually(t, "three messages come", func() bool { return u.count.received() == 3 })
	c := u.must(`{receive: json.seq == 2}`)
	if d := c.Result.Duration(); d > int64(100*time.Millisecond) {
		t.Errorf("a message that had come took %v", time.Duration(d))
	}
	if s := c.Response.(expr.Streamed).Stream(); s.Received != 3 || s.LongestGap == 0 {
		t.Errorf("stream %+v, want 3 received", s)
	}
	u.must(`{receive: json.seq == 3}`)
	u.fails(`{receive: json.seq == 1}`, load.Timeout)
	u.must(`{ping: true}`) // after a timeout the stream is as good as before
}

func TestListening(t *testing.T) {
	t.Parallel()
	u := newUser(t, serve(t, func(ctx context.Context, c *websocket.Conn) error {
		for n := range 1000 {
			if err := push(ctx, c, n+1); err != nil {
				return err
			}
			time.Sleep(5 * time.Millisecond)
			if n == 0 {
				c.CloseRead(ctx)
			}
		}
		return nil
	}).URL)
	c := u.must(`{url: /, ping_every: 20ms, each: json.seq > 0, listen: 300ms}`)
	s := c.Response.(expr.Streamed).Stream()
	if took := time.Duration(c.Result.Duration()); took < 300*time.Millisecond || s.Received < 10 || int(s.Received) != u.count.received() {
		t.Errorf("listened for %v and took %d messages, %d were counted", took, s.Received, u.count.received())
	}
	if wait, took := c.Result.Phases[load.PhaseFirstByte], c.Result.Phases[load.PhaseTransfer]; took < int64(200*time.Millisecond) {
		t.Errorf("of a listening of 300 ms %v are a wait and %v what followed the first message, which comes at once", time.Duration(wait), time.Duration(took))
	}
	if n := len(u.count.timed[load.PingRoundTrip]); n < 3 {
		t.Errorf("%d pings were answered in 300 ms, one was due each 20 ms", n)
	}
	u.must(`{close: 1000}`)
	c = u.fails(`{url: /, each: json.seq != 3, listen: 100ms}`, load.Expect)
	if u.count.unmet != 1 || c.Err.Error() != "1 messages are not: json.seq != 3" {
		t.Errorf("%d messages are not as each wants: %v", u.count.unmet, c.Err)
	}
}

func TestAStreamThatIsLostIsOpenedAgain(t *testing.T) {
	for per, missing := range map[string]uint64{"connection": 0, "stream": 2} {
		t.Run("sequence per "+per, func(t *testing.T) { testReconnect(t, per, missing) })
	}
}

// testReconnect loses a stream after message 1, and receives message 4 on the next.
func testReconnect(t *testing.T, per string, missing uint64) {
	var opened atomic.Int32
	s := serve(t, func(ctx context.Context, c *websocket.Conn) error {
		_, p, err := c.Read(ctx)
		if err != nil || string(p) != `{"type":"subscribe"}` {
			return fmt.Errorf("%q: %w", p, err)
		}
		if opened.Add(1) == 1 {
			_ = push(ctx, c, 1)
			return c.Close(websocket.StatusServiceRestart, "deploy")
		}
		_ = push(ctx, c, 4)
		return echo(ctx, c)
	})
	u := newUser(t, s.URL)
	c := u.must(`{url: /, on_open: [{json: {type: subscribe}}], sequence: json.seq, sequence_per: ` + per + `, reconnect: {back_off: 5ms}, listen: 300ms}`)
	if st := c.Response.(expr.Streamed).Stream(); st.Reconnects != 1 || st.Missing != missing || st.Received != 2 || st.Sent != 2 {
		t.Errorf("stream %+v, want 1 reconnect, %d missing, 2 received and 2 sent", st, missing)
	}
	if lives := u.count.timed[load.Lifetime]; len(lives) != 1 || lives[0] >= int64(300*time.Millisecond) {
		t.Errorf("streams lived %v ns, want one that has ended, within 300 ms", lives)
	}
	if u.count.timed[load.Reconnect] == nil || !slices.Equal(u.count.codes, []int32{1012}) {
		t.Errorf("reconnects %v, closes by %v", u.count.timed[load.Reconnect], u.count.codes)
	}
	s.CloseClientConnections()
	u.must(`{send: {text: "again"}, echo: body}`)
}

func TestCloseCodesAreCauses(t *testing.T) {
	for code, want := range map[websocket.StatusCode]load.Cause{
		1000: load.Closed, 1001: load.Closed, 1002: load.Protocol, 1003: load.Protocol, 1007: load.Protocol, 1008: load.Status,
		1009: load.Protocol, 1011: load.Status, 1012: load.Closed, 1013: load.Status, 4321: load.Status,
	} {
		u := newUser(t, serve(t, func(ctx context.Context, c *websocket.Conn) error {
			_, _, err := c.Read(ctx)
			return errors.Join(err, c.Close(code, "because"))
		}).URL)
		c := u.fails(`{url: /, send: {text: hello}, receive: any}`, want)
		if c.Result.Code != int32(code) || !slices.Equal(u.count.codes, []int32{int32(code)}) {
			t.Errorf("close with %d: code %d, counted %v", code, c.Result.Code, u.count.codes)
		}
	}
}

func TestAnOpeningThatIsRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	defer s.Close()
	u := newUser(t, s.URL)
	if c := u.fails(`{url: /}`, load.Status); c.Result.Code != http.StatusForbidden {
		t.Errorf("code %d, want 403", c.Result.Code)
	}
	u.base = serve(t, echo).URL
	u.fails(`{url: /, stream: other, subprotocols: [unknown]}`, load.Protocol)
}

// A givenSource has one value after another.
type givenSource struct{ n atomic.Int32 }

func (s *givenSource) Fetch(context.Context, *credential.Client) (*credential.Value, error) {
	n := s.n.Add(1)
	return &credential.Value{Lifetime: time.Second + time.Hour*time.Duration(n-1), Header: fmt.Appendf(nil, "Authorization: Bearer %d\r\n", n)}, nil
}

// TestAReconnectProvesItselfAgain loses a stream whose token is not accepted any more when it is opened again.
func TestAReconnectProvesItselfAgain(t *testing.T) {
	var mu sync.Mutex
	var shown []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		shown = append(shown, r.Header.Get("Authorization"))
		n := len(shown)
		mu.Unlock()
		if n > 1 && r.Header.Get("Authorization") == "Bearer 1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		if n > 1 {
			_ = echo(r.Context(), c) // until the client leaves
		}
		_ = c.Close(websocket.StatusServiceRestart, "deploy") // likewise
	}))
	defer s.Close()
	by := credential.New(credential.Options{Name: "token", Source: &givenSource{}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { by.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	<-by.Tried()
	u := newUser(t, s.URL)
	u.vu.Env.Credentials = map[string]*credential.Credential{"token": by}
	var errs block.Errors
	c := Kind.Step()
	block.Decode(block.Parse("step.yaml", []byte(`{url: /, on_open: [{text: again}], reconnect: {back_off: 50ms}, receive: any}`), &errs), c, &errs)
	step := c.Compile(&protocol.Compiler{
		Base: block.Text{S: s.URL}, Symbols: expr.NewSymbols(nil), Errors: &errs, Credentials: "token",
		Credential: func(string) *credential.Definition { return &credential.Definition{Fields: []string{"Authorization"}} },
	})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	if c := u.do(step, 10*time.Second); c.Result.Cause != load.Closed {
		t.Fatalf("cause %v: %v", c.Result.Cause, c.Err)
	}
	if got := u.must(`{receive: any}`).Response.Body(); string(got) != "again" {
		t.Errorf("received %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if n := len(shown); n < 3 || shown[0] != "Bearer 1" || shown[1] != "Bearer 1" || shown[n-1] != "Bearer 2" {
		t.Errorf("the server was shown %q, want the second token after the first was refused", shown)
	}
}

// TestSpans has each request on a stream say where that leads, and what came since the request before.
func TestSpans(t *testing.T) {
	u := newUser(t, serve(t, echo).URL)
	_, port, _ := strings.Cut(u.base, "http://127.0.0.1:")
	for _, c := range []struct {
		step, name string
		want       map[string]string
	}{
		{`{url: "/live?key=hush"}`, "websocket open", map[string]string{"http.response.status_code": "101"}},
		{`{send: {text: hello}}`, "websocket send", map[string]string{"perfd.messages.sent": "1"}},
		{`{receive: any}`, "websocket receive", map[string]string{"perfd.messages.received": "1"}},
		{`{send: {text: hello}, echo: body}`, "websocket echo", map[string]string{"perfd.messages.sent": "1", "perfd.messages.received": "1"}},
		{`{ping: true}`, "websocket ping", nil},
		{`{listen: 1ms}`, "websocket listen", nil},
		{`{close: 4321}`, "websocket close", map[string]string{"perfd.websocket.close_code": "4321"}},
	} {
		u.must(c.step)
		step := compile(t, u.base, c.step)
		var span protocol.Span
		step.(protocol.SpanMapper).Span(&u.call.Result, u.call.Address, &span)
		want := map[string]string{
			"network.protocol.name": "websocket", "server.address": "127.0.0.1", "server.port": port, "url.template": "/live",
			"perfd.messages.sent": "0", "perfd.messages.received": "0",
		}
		maps.Copy(want, c.want)
		got := map[string]string{}
		for _, a := range span.Attributes {
			if got[a.Key] = a.Text; a.Numeric {
				got[a.Key] = strconv.FormatInt(a.Number, 10)
			}
		}
		if diff := cmp.Diff(want, got); span.Name != c.name || diff != "" {
			t.Errorf("%s: span %q (-want +got):\n%s", c.step, span.Name, diff)
		}
	}
}
