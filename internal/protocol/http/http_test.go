package http

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A rig compiles and performs steps against a server.
type rig struct {
	t       testing.TB
	env     *protocol.Env
	vu      *protocol.VU
	symbols *expr.Symbols
	scope   *expr.Scope
	call    protocol.Call
	base    string
	target  string // yaml of the target's block
	// credentials are the names of the entries that there are, ofTarget is the target's.
	credentials map[string]*credential.Definition
	ofTarget    string
	keep        expr.Keep
	shared      map[protocol.Key]io.Closer
	trace       load.Result // of which Trace, Span and Sampled are each call's
}

func newRig(t testing.TB, base string) *rig {
	zero := time.Now()
	shared := map[protocol.Key]io.Closer{}
	r := &rig{t: t, base: base, symbols: expr.NewSymbols(nil), shared: shared}
	r.env = &protocol.Env{
		Dialer: wire.NewDialer(wire.DialerOptions{}),
		Shared: func(k protocol.Key, open func() (io.Closer, error)) (io.Closer, error) {
			if c, ok := shared[k]; ok {
				return c, nil
			}
			c, err := open()
			shared[k] = c
			return c, err
		},
		Now: func() time.Duration { return time.Since(zero) }, Zero: zero,
		UserAgent: "perfd/test", Identity: func() string { return "scenario/run" },
		Connections: &load.Connections{}, Log: slog.New(slog.DiscardHandler),
	}
	r.vu = &protocol.VU{ID: 1, Env: r.env}
	r.scope = &expr.Scope{Rand: rand.NewPCG(1, 1)}
	t.Cleanup(func() {
		r.vu.Close()
		for _, c := range shared {
			_ = c.Close()
		}
	})
	return r
}

func (r *rig) compile(text string) (protocol.Step, error) {
	var errs block.Errors
	target := DefaultTarget()
	target.Version = Version(versionOf(r.t))
	if r.target != "" {
		block.Decode(block.Parse("target.yaml", []byte(r.target), &errs), target, &errs)
	}
	c := Kind.Step()
	block.Decode(block.Parse("step.yaml", []byte(text), &errs), c, &errs)
	s := c.Compile(&protocol.Compiler{
		Defaults: target, Base: block.Text{S: r.base}, Symbols: r.symbols, Errors: &errs,
		Allowed: r.env.Dialer.Guard().CheckHost, Dir: r.t.TempDir(),
		Credentials: r.ofTarget, Credential: func(name string) *credential.Definition { return r.credentials[name] },
	})
	return s, errs.Err()
}

func (r *rig) step(text string) protocol.Step {
	r.t.Helper()
	s, err := r.compile(text)
	if err != nil {
		r.t.Fatalf("compile %s: %v", text, err)
	}
	return s
}

func (r *rig) do(s protocol.Step, timeout time.Duration) *protocol.Call {
	r.call.VU, r.call.Scope, r.call.Keep = r.vu, r.scope, &r.keep
	now := r.env.Now()
	r.call.Result, r.call.Response, r.call.Err = load.Result{
		Sent: int64(now), Done: int64(now), Trace: r.trace.Trace, Span: r.trace.Span, Sampled: r.trace.Sampled,
	}, nil, nil
	r.call.Deadline = now + timeout
	s.Do(&r.call)
	return &r.call
}

// closeShared closes what users share.
func (r *rig) closeShared() {
	r.t.Helper()
	for k, c := range r.shared {
		if err := c.Close(); err != nil {
			r.t.Error(err)
		}
		delete(r.shared, k)
	}
}

func (r *rig) get(text string) *protocol.Call { return r.do(r.step(text), 5*time.Second) }

// serve runs a server that speaks the version that the test's name has.
func serve(t testing.TB, f http.HandlerFunc) string {
	if versionOf(t) == "2" {
		return serveTwo(t, f)
	}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestWhatArrives(t *testing.T) { overEach(t, testWhatArrives) }

func testWhatArrives(t *testing.T) {
	arrived := make(chan string, 1)
	base := serve(t, func(_ http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		arrived <- fmt.Sprintf("%s %s type=%s body=%s x=%s agent=%s id=%s len=%d", q.Method, q.URL.String(),
			q.Header.Get("Content-Type"), body, q.Header.Get("X-A"), q.UserAgent(), q.Header.Get("X-Perfd"), q.ContentLength)
	})
	r := newRig(t, base+"/base/")
	r.scope.Set(r.symbols.Declare("v", expr.String), expr.Str("a/b c&d?é"))
	r.scope.Set(r.symbols.Declare("list", expr.List), expr.FromJSON(`["x y", 9007199254740993, "&"]`))
	r.scope.Set(r.symbols.Declare("none", expr.List), expr.FromJSON(`[]`))
	r.scope.Set(r.symbols.Declare("any", expr.Any), expr.FromJSON(`[1.50, [2, "a"]]`))
	r.target = `headers: {X-A: target}`
	for _, c := range []struct{ yaml, want string }{
		{`{url: /p, form: {a: "${list}", b: ["${any}", "${v}"], c: "is ${none}"}}`, "POST /base/p type=application/x-www-form-urlencoded body=a=x+y&a=9007199254740993&a=%26&b=1.50&b=%5B2%2C+%22a%22%5D&b=a%2Fb+c%26d%3F%C3%A9&c=is+%5B%5D x=target agent=perfd/test id=scenario/run len=93"},
		{`{url: /p, query: {a: "${none}", b: "${any}", c: "${list}"}}`, "GET /base/p?&b=1.50&b=%5B2%2C+%22a%22%5D&c=x+y&c=9007199254740993&c=%26 type= body= x=target agent=perfd/test id=scenario/run len=0"},
		{`{url: /p}`, "GET /base/p type= body= x=target agent=perfd/test id=scenario/run len=0"},
		{`{url: "/p/${v}?q=${v}"}`, "GET /base/p/a%2Fb%20c&d%3F%C3%A9?q=a%2Fb+c%26d%3F%C3%A9 type= body= x=target agent=perfd/test id=scenario/run len=0"},
		{`{url: /p, query: {q: "${v}", n: "1"}}`, "GET /base/p?q=a%2Fb+c%26d%3F%C3%A9&n=1 type= body= x=target agent=perfd/test id=scenario/run len=0"},
		{`{url: /p, json: {a: "${v}", n: 1}, headers: {X-a: "${v}"}}`, `POST /base/p type=application/json body={"a":"a/b c\u0026d?é","n":1} x=a/b c&d?é agent=perfd/test id=scenario/run len=29`},
		{`{url: /p, method: put, body: "x${v}"}`, "PUT /base/p type= body=xa/b c&d?é x=target agent=perfd/test id=scenario/run len=11"},
		{`{url: /p, form: {a: "${v}", b: "2"}}`, "POST /base/p type=application/x-www-form-urlencoded body=a=a%2Fb+c%26d%3F%C3%A9&b=2 x=target agent=perfd/test id=scenario/run len=26"},
		{`{url: /p, method: POST}`, "POST /base/p type= body= x=target agent=perfd/test id=scenario/run len=0"},
	} {
		call := r.get(c.yaml)
		if call.Result.Cause != load.None || call.Result.Code != 200 {
			t.Errorf("%s: cause %v, code %d, %v", c.yaml, call.Result.Cause, call.Result.Code, call.Err)
		}
		if got := <-arrived; strings.ReplaceAll(got, `\u0026`, "&") != strings.ReplaceAll(c.want, `\u0026`, "&") {
			t.Errorf("%s arrives as\n%s, want\n%s", c.yaml, got, c.want)
		}
	}
	if n := r.env.Connections.Opened.Load(); n != 1 {
		t.Errorf("%d connections opened, want 1 for all requests", n)
	}
}

func TestAnswers(t *testing.T) { overEach(t, testAnswers) }

func testAnswers(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	base := serve(t, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/big":
			io.WriteString(w, long)
		case "/length":
			w.Header().Set("Content-Length", "300000")
			io.WriteString(w, long)
		case "/none":
			w.WriteHeader(204)
		case "/fail":
			w.WriteHeader(503)
			io.WriteString(w, "down")
		case "/header":
			w.Header().Set("X-Long", strings.Repeat("y", 60_000))
			io.WriteString(w, "ok")
		case "/close":
			w.Header().Set("Connection", "close")
			io.WriteString(w, "bye")
		}
	})
	r := newRig(t, base)
	r.keep.Body = true
	for _, c := range []struct {
		path string
		code int32
		size int64
	}{{"/big", 200, 300_000}, {"/length", 200, 300_000}, {"/none", 204, 0}, {"/fail", 503, 4}, {"/header", 200, 2}, {"/close", 200, 3}, {"/big", 200, 300_000}} {
		call := r.get(`{url: ` + c.path + `}`)
		if call.Result.Cause != load.None || call.Result.Code != c.code || call.Response.Size() != c.size || int64(len(call.Response.Body())) != c.size {
			t.Errorf("%s: cause %v (%v), code %d, size %d, kept %d; want code %d, size %d", c.path, call.Result.Cause, call.Err,
				call.Result.Code, call.Response.Size(), len(call.Response.Body()), c.code, c.size)
		}
		var phases int64
		for _, p := range call.Result.Phases {
			phases += p
		}
		if d := call.Result.Duration(); phases > d || d <= 0 {
			t.Errorf("%s: phases %v, duration %v", c.path, phases, d)
		}
		if c.path == "/fail" {
			if cause := r.step(`{url: /fail}`).(protocol.Judge).Judge(call); cause != load.Status {
				t.Errorf("a 503 is judged %v, want %v", cause, load.Status)
			}
		}
	}
	if n := r.env.Connections.Closed[load.ClosedByAnswer].Load(); n != 1 && versionOf(t) == "1.1" {
		t.Errorf("%d connections closed because the answer asked for it, want 1", n)
	}
	call := r.get(`{url: /header}`)
	if v, ok := call.Response.Header("x-long"); len(v) != 60_000 || !ok {
		t.Errorf("a header of 60,000 bytes arrives with %d", len(v))
	}
}

// A cookie is read as the virtual user holds it after the answer: from a redirect on the way too, and not one of another host.
func TestCookiesOfAnAnswer(t *testing.T) { overEach(t, testCookiesOfAnAnswer) }

func testCookiesOfAnAnswer(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/login":
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: "42", Path: "/app"})
			http.SetCookie(w, &http.Cookie{Name: "other", Value: "1", Domain: "example.com"})
			http.Redirect(w, q, "/app", http.StatusFound)
		case "/logout":
			http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/app", MaxAge: -1})
		}
	})
	r := newRig(t, base)
	r.keep.Cookies = true
	read := func(yaml, name string) string {
		holder, ok := r.get(yaml).Response.(expr.CookieHolder)
		if !ok {
			t.Fatalf("the answer to %s has no cookies", yaml)
		}
		v, ok := holder.Cookie(name)
		if !ok {
			return "none"
		}
		return v
	}
	for _, c := range []struct{ yaml, name, want string }{
		{`{url: /x}`, "sid", "none"},
		{`{url: /login, redirects: 3}`, "sid", "42"},
		{`{url: /x}`, "sid", "42"},
		{`{url: /x}`, "other", "none"},
		{`{url: /logout}`, "sid", "none"},
		{`{url: /login}`, "sid", "42"},
		{`{url: /login, cookies: false}`, "sid", "42"},
		{`{url: /x, cookies: false}`, "sid", "none"},
	} {
		if got := read(c.yaml, c.name); got != c.want {
			t.Errorf("after %s the cookie %s is %q, want %q", c.yaml, c.name, got, c.want)
		}
	}
	r.keep.Cookies = false
	if _, ok := r.get(`{url: /x}`).Response.(expr.CookieHolder); ok {
		t.Error("an answer has cookies that nobody asked for")
	}
}

func TestGzipCookiesAndRedirects(t *testing.T) { overEach(t, testGzipCookiesAndRedirects) }

func testGzipCookiesAndRedirects(t *testing.T) {
	var hops atomic.Int64
	base := serve(t, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/login":
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: "42", Path: "/"})
		case "/who":
			c, err := q.Cookie("sid")
			if err == nil {
				io.WriteString(w, c.Value)
			}
		case "/post":
			hops.Add(1)
			http.Redirect(w, q, "/landed", http.StatusFound)
		case "/landed":
			io.WriteString(w, q.Method+q.Header.Get("Authorization"))
		case "/loop":
			http.Redirect(w, q, "/loop", http.StatusTemporaryRedirect)
		case "/away":
			http.Redirect(w, q, "http://192.0.2.1/", http.StatusFound)
		}
	})
	r := newRig(t, base)
	r.keep.Body = true
	r.get(`{url: /login}`)
	if got := string(r.get(`{url: /who}`).Response.Body()); got != "42" {
		t.Errorf("cookie = %q, want 42", got)
	}
	r.vu.Begin()
	if got := string(r.get(`{url: /who}`).Response.Body()); got != "" {
		t.Errorf("after a new iteration the cookie is %q, want none", got)
	}
	if code := r.get(`{url: /post, method: POST}`).Result.Code; code != 302 {
		t.Errorf("redirects are off by default: code %d, want 302", code)
	}
	r.scope.Set(r.symbols.Declare("v", expr.String), expr.Str("t0k"))
	call := r.get(`{url: /post, body: b, redirects: 3, headers: {Authorization: "Bearer ${v}"}}`)
	if got := string(call.Response.Body()); got != "GETBearer t0k" || call.Result.Code != 200 {
		t.Errorf("after a redirect: %d %q, want 200 GETBearer t0k", call.Result.Code, got)
	}
	if call := r.get(`{url: /loop, redirects: 3}`); call.Result.Cause != load.Protocol {
		t.Errorf("a loop of redirects has cause %v, want %v", call.Result.Cause, load.Protocol)
	}
	if call := r.get(`{url: /away, redirects: 3}`); call.Result.Cause != load.Overload || !strings.Contains(call.Err.Error(), "not allowed") {
		t.Errorf("a redirect to a foreign host: %v %v, want it refused", call.Result.Cause, call.Err)
	}
}

// TestEachHopTakesATokenOfWhereItLeads follows redirects of all kinds within a host
// and to another.
func TestEachHopTakesATokenOfWhereItLeads(t *testing.T) {
	var asked atomic.Int64
	base := serve(t, func(w http.ResponseWriter, q *http.Request) {
		asked.Add(1)
		code, to := http.StatusFound, q.URL.Query().Get("to")
		fmt.Sscan(q.URL.Query().Get("code"), &code)
		switch q.URL.Path {
		case "/to":
			http.Redirect(w, q, to, code)
		case "/loop":
			http.Redirect(w, q, "/loop", code)
		}
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(base, "http://"), ":")
	local := base + "/end"
	named := "http://localhost:" + port + "/end"
	const wait = 20 * time.Millisecond
	for _, c := range []struct {
		step  string
		most  int // tokens that there are
		taken []string
		cause load.Cause
		asked int64
	}{
		{`{url: /end, redirects: 3}`, 9, nil, load.None, 1},
		{`{url: "/to?to=` + local + `"}`, 9, nil, load.None, 1}, // redirects are not followed
		{`{url: "/to?to=` + local + `", redirects: 3}`, 9, []string{"127.0.0.1"}, load.None, 2},
		{`{url: "/to?to=` + named + `", redirects: 3}`, 9, []string{"localhost"}, load.None, 2},
		{`{url: "/to?code=307&to=` + named + `", body: x, redirects: 1}`, 9, []string{"localhost"}, load.None, 2},
		{`{url: "/to?code=303&to=/loop", redirects: 3}`, 9, []string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, load.Protocol, 4},
		{`{url: "/loop?code=308", redirects: 50}`, 2, []string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, load.Overload, 3},
	} {
		r := newRig(t, base)
		var taken []string
		r.env.Redirect = func(host string, at uint16, addrs []netip.Addr, turn bool) (time.Duration, bool) {
			if taken = append(taken, host); fmt.Sprint(at) != port || len(addrs) == 0 || turn {
				t.Errorf("%s: asked for a token of %v at %v, port %d, in turn %t", c.step, host, addrs, at, turn)
			}
			if len(taken) > c.most {
				return time.Hour, false
			}
			return wait, true
		}
		asked.Store(0)
		begin := r.env.Now()
		call := r.get(c.step)
		waits := int64(min(len(c.taken), c.most)) * int64(wait)
		if res := &call.Result; res.Cause != c.cause || !slices.Equal(taken, c.taken) || asked.Load() != c.asked {
			t.Errorf("%s: cause %v (%v), tokens of %q, %d requests; want %v, %q, %d", c.step, res.Cause, call.Err, taken, asked.Load(), c.cause, c.taken, c.asked)
		} else if res.Waited < waits || res.Sent-int64(begin) < waits || res.Duration() < 0 || res.Duration() > int64(r.env.Now()-begin)-waits {
			t.Errorf("%s: sent after %v, waited %v, took %v; want the waits of %v before it was sent", c.step,
				time.Duration(res.Sent)-begin, time.Duration(res.Waited), time.Duration(res.Duration()), time.Duration(waits))
		}
	}
}

// raw serves one connection after another with a function of its own.
func raw(t *testing.T, f func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func readHead(c net.Conn) { requestHead(c) }

func requestHead(c net.Conn) string {
	p := make([]byte, 4096)
	for n := 0; ; {
		m, err := c.Read(p[n:])
		n += m
		if err != nil || strings.Contains(string(p[:n]), "\r\n\r\n") {
			return string(p[:n])
		}
	}
}

func TestCauses(t *testing.T) {
	t.Parallel()
	answer := func(text string) func(net.Conn) {
		return func(c net.Conn) { readHead(c); io.WriteString(c, text) }
	}
	for _, c := range []struct {
		name string
		f    func(net.Conn)
		want load.Cause
	}{
		{"garbage", answer("hello\r\n\r\n"), load.Protocol},
		{"two lengths", answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), load.Protocol},
		{"length and chunks", answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), load.Protocol},
		{"short body", answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"), load.Partial},
		{"short chunk", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), load.Partial},
		{"bad chunk", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab"), load.Protocol},
		{"chunk too long", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n"), load.Protocol},
		{"short head", answer("HTTP/1.1 200 OK\r\nContent"), load.Partial},
		{"closed", readHead, load.Closed},
		{"long head", answer("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 70_000) + "\r\n\r\n"), load.Overload},
		{"folded header", answer("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"), load.None},
		{"reset", func(c net.Conn) { readHead(c); c.(*net.TCPConn).SetLinger(0) }, load.Reset},
		{"until close", answer("HTTP/1.1 200 OK\r\n\r\nabc"), load.None},
		{"continue first", answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"), load.None},
		{"bare line feeds", answer("HTTP/1.1 200 OK\nContent-Length: 1\n\na"), load.None},
		{"trailers", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n"), load.None},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, raw(t, c.f))
			if call := r.get(`{url: /}`); call.Result.Cause != c.want {
				t.Errorf("cause = %v (%v), want %v", call.Result.Cause, call.Err, c.want)
			}
		})
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.Close()
	r := newRig(t, "http://"+l.Addr().String())
	if call := r.get(`{url: /}`); call.Result.Cause != load.Refused {
		t.Errorf("cause of a closed port = %v (%v), want %v", call.Result.Cause, call.Err, load.Refused)
	}
	r = newRig(t, raw(t, func(c net.Conn) { readHead(c); readHead(c) }))
	begin := time.Now()
	if call := r.do(r.step(`{url: /}`), 100*time.Millisecond); call.Result.Cause != load.Timeout {
		t.Errorf("cause of no answer = %v (%v), want %v", call.Result.Cause, call.Err, load.Timeout)
	}
	if d := time.Since(begin); d < 100*time.Millisecond || d > 2*time.Second {
		t.Errorf("a timeout of 100ms took %v", d)
	}
	r.vu.Close()
}

func TestEveryByteMayArriveAlone(t *testing.T) {
	text := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
	r := newRig(t, raw(t, func(c net.Conn) {
		readHead(c)
		c.(*net.TCPConn).SetNoDelay(true)
		for i := range text {
			c.Write([]byte{text[i]})
		}
		readHead(c)
	}))
	r.keep.Body = true
	call := r.get(`{url: /}`)
	if call.Result.Cause != load.None || string(call.Response.Body()) != "abcde" {
		t.Errorf("cause %v (%v), body %q, want abcde", call.Result.Cause, call.Err, call.Response.Body())
	}
	if call.Result.ReceivedBytes != int64(len(text)) {
		t.Errorf("%d bytes received, want %d", call.Result.ReceivedBytes, len(text))
	}
	r.vu.Close()
}

func TestInterruptUnblocks(t *testing.T) {
	entered := make(chan struct{})
	r := newRig(t, raw(t, func(c net.Conn) { readHead(c); close(entered); readHead(c) }))
	s := r.step(`{url: /}`)
	go func() { <-entered; r.vu.Interrupt() }()
	begin := time.Now()
	call := r.do(s, 30*time.Second)
	if call.Result.Cause != load.Canceled || time.Since(begin) > 5*time.Second {
		t.Errorf("cause %v (%v) after %v, want %v at once", call.Result.Cause, call.Err, time.Since(begin), load.Canceled)
	}
}

func TestAnIdleConnectionThatItsServerClosedIsReplaced(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 100)
	r := newRig(t, raw(t, func(c net.Conn) {
		readHead(c)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c.Close()
		closed <- struct{}{}
	}))
	for _, method := range []string{"GET", "POST"} {
		s := r.step(`{url: /, method: ` + method + `}`)
		for range 20 {
			if call := r.do(s, 5*time.Second); call.Result.Cause != load.None {
				t.Fatalf("%s: cause %v (%v), want none", method, call.Result.Cause, call.Err)
			}
			<-closed
			for begin := time.Now(); time.Since(begin) < 2*time.Millisecond; {
			}
		}
	}
	c := r.env.Connections
	if n := c.Closed[load.ClosedByPeer].Load() + c.Closed[load.ClosedStale].Load(); n != 39 {
		t.Errorf("%d connections were found closed, want 39", n)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	r := newRig(t, raw(t, func(c net.Conn) {
		p, answer := make([]byte, 4096), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
		for {
			if n, err := c.Read(p); err != nil || n == 0 {
				return
			}
			c.Write(answer)
		}
	}))
	r.scope.Set(r.symbols.Declare("v", expr.String), expr.Str("x"))
	s := r.step(`{url: "/a/${v}", headers: {X-A: "${v}"}}`)
	r.do(s, 5*time.Second)
	if n := testing.AllocsPerRun(200, func() { r.do(s, 5*time.Second) }); n > 0 {
		t.Errorf("a request allocates %v times, want 0", n)
	}
	r.vu.Close()
}

func TestMistakes(t *testing.T) {
	r := newRig(t, "http://127.0.0.1:1")
	for _, c := range []struct{ yaml, want string }{
		{`{}`, "url: is required"},
		{`{url: products}`, "must begin with /"},
		{`{url: "http://example.com/"}`, "safety.allowed_hosts"},
		{`{url: "http://169.254.169.254/"}`, "link-local"},
		{`{url: "ftp://127.0.0.1/"}`, "must be http or https"},
		{`{url: "http://u:p@127.0.0.1/"}`, "must not hold a password"},
		{`{url: "/a b"}`, "percent-encoded"},
		{`{url: /, method: "FET CH"}`, `must be one word such as GET or PURGE, got "FET CH"`},
		{`{url: /, method: ""}`, `must be one word such as GET or PURGE, got ""`},
		{`{url: /, body: a, json: {}}`, "a request has one body, got body and json"},
		{`{url: /, headers: {X-Perfd: x}}`, "written by perfd itself"},
		{`{url: /, query: {a: {b: c}}}`, "must be text"},
		{`{url: /, form: {a: [1, [2]]}}`, "must be text"},
		{`{url: /, headers: {"a b": x}}`, "not a header's name"},
		{`{url: /, headers: {a: "x\r\ny"}}`, "must not hold line ends"},
		{`{url: "/${nobody}"}`, `unknown name "nobody"`},
		{`{url: /, file: missing.bin}`, "no such file"},
		{`{url: /, redirects: 100}`, "between 0 and 50"},
		{`{url: /, max_read: 0B}`, "must be more than 0 and at most 1GiB, got 0B"},
		{`{url: /, max_read: 2GiB}`, "must be more than 0 and at most 1GiB, got 2GiB"},
		{`{url: /, hedaers: {}}`, `did you mean "headers"?`},
		{`{url: "http://127.0.0.1:0/"}`, "port"},
	} {
		if _, err := r.compile(c.yaml); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.yaml, err, c.want)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	base := serve(b, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	r := newRig(b, base)
	s := r.step(`{url: /a}`)
	b.ReportAllocs()
	for b.Loop() {
		if call := r.do(s, time.Minute); call.Err != nil {
			b.Fatal(call.Err)
		}
	}
}
