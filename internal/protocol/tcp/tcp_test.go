package tcp

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
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

type user = protocoltest.User

func newUser(t testing.TB, base string) *user {
	return protocoltest.NewUser(t, Kind, base, wire.DialerOptions{})
}

// serve serves connections until the test ends, and returns its address as a url.
func serve(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				handle(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return "tcp://" + l.Addr().String()
}

// echo sends back what comes. It allocates nothing for a request.
func echo(c net.Conn) {
	p := make([]byte, 64<<10)
	for {
		n, err := c.Read(p)
		if err != nil {
			return
		}
		if _, err := c.Write(p[:n]); err != nil {
			return
		}
	}
}

func TestContract(t *testing.T) {
	protocoltest.Run(t, protocoltest.Subject{
		Step: func(t testing.TB, addr string) protocol.Step {
			var errs block.Errors
			c := Kind.Step()
			text := `{send: {hex: "0005 414243"}, receive: {length_prefix: {bytes: 2, includes_prefix: true}}, address: "` + addr + `"}`
			block.Decode(block.Parse("step.yaml", []byte(text), &errs), c, &errs)
			s := c.Compile(&protocol.Compiler{Symbols: expr.NewSymbols(nil), Errors: &errs})
			if err := errs.Err(); err != nil {
				t.Fatal(err)
			}
			return s
		},
		Answer:  echo,
		Ask:     func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 5)) },
		Garbage: "\x00\x01",
	})
}

// TestWhereAnAnswerEnds reads the same bytes up to each end that there is, in one piece and byte by byte.
func TestWhereAnAnswerEnds(t *testing.T) {
	const said = "+PONG\r\n\x00\x00\x00\x03abcrest"
	little := binary.LittleEndian.AppendUint64(nil, 11)
	for name, piece := range map[string]int{"at once": 1 << 20, "byte by byte": 1} {
		t.Run(name, func(t *testing.T) {
			base := serve(t, func(c net.Conn) {
				r := bufio.NewReader(c)
				line, _ := r.ReadString('\n')
				text := said
				if strings.HasPrefix(line, "little") {
					text = string(little) + "abc"
				}
				for p := []byte(text); len(p) > 0; {
					n := min(piece, len(p))
					if _, err := c.Write(p[:n]); err != nil {
						return
					}
					if p = p[n:]; len(p) > 0 {
						time.Sleep(time.Millisecond) // or one read brings several pieces
					}
				}
				if strings.HasPrefix(line, "end") {
					return
				}
				_, _ = r.ReadByte() // until the client leaves
			})
			u := newUser(t, base)
			for step, want := range map[string]string{
				`{connection: new, send: "a\n", receive: {until: "\r\n"}}`:                                                                             "+PONG",
				`{connection: new, send: "a\n", receive: {until: {hex: 00}}}`:                                                                          "+PONG\r\n",
				`{connection: new, send: "a\n", receive: {length: 5}}`:                                                                                 "+PONG",
				`{connection: new, send: "a\n", receive: {regex: "P[A-Z]+\r\n"}}`:                                                                      "+PONG\r\n",
				`{connection: new, send: "end\n", receive: {end: true}}`:                                                                               said,
				`{connection: new, send: "a\n", receive: {for: 100ms}}`:                                                                                said,
				`{connection: new, exchanges: [{send: "a\n", receive: {until: "\n"}}, {receive: {length_prefix: {bytes: 4}}}]}`:                        "abc",
				`{connection: new, exchanges: [{send: "a\n", receive: {until: "\n"}}, {receive: {length: 7}}, {receive: {regex: "t$"}}]}`:              "rest",
				`{connection: new, send: "little\n", receive: {length_prefix: {bytes: 8, order: little, includes_prefix: true}}}`:                      "abc",
				`{connection: new, exchanges: [{send: {base64: YQ==}}, {send: {hex: "0A"}, receive: {until: "\r\n", expect: "^[+]PONG$"}}]}`:           "+PONG",
				`{connection: new, exchanges: [{send: "end\n", receive: {until: "\r\n"}}, {receive: {length: 3}}, {receive: {end: true}}]}`:            "\x03abcrest",
				`{connection: new, exchanges: [{send: "a\n", receive: {until: "\r\n"}}, {receive: {length: 3}}, {receive: {for: 100ms}}]}`:             "\x03abcrest",
				`{connection: new, exchanges: [{send: "a\n", receive: {until: "\r\n"}}, {receive: {until: {hex: "03"}}}, {receive: {until: "rest"}}]}`: "abc",
			} {
				if got := u.Must(step); got != want {
					t.Errorf("%s: %q, want %q", step, got, want)
				}
				if size := u.Call.Response.Size(); size != int64(len(want)) {
					t.Errorf("%s: size %d, want %d", step, size, len(want))
				}
			}
		})
	}
}

// TestWhatIsNotReadIsNotKept reads more than may be kept, since nothing reads it, and counts and hashes it.
func TestWhatIsNotReadIsNotKept(t *testing.T) {
	const size = 3 << 20
	base := serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 16))
		_, _ = c.Write(bytes.Repeat([]byte("ab"), size/2))
	})
	for _, step := range []string{`{connection: new, send: x, receive: {end: true}}`, fmt.Sprintf(`{connection: new, send: x, receive: {length: %d}}`, size)} {
		u := newUser(t, base)
		u.Fails(step, load.Overload) // since the test keeps the body
		s, err := u.Compile(step)
		if err != nil {
			t.Fatal(err)
		}
		c := &u.Call
		c.Keep, c.Deadline, c.Result = &expr.Keep{}, u.VU.Env.Now()+5*time.Second, load.Result{}
		s.Do(c)
		if c.Result.Cause != load.None || c.Response.Size() != size || c.Result.ReceivedBytes != size {
			t.Fatalf("%s: cause %v (%v), %d bytes", step, c.Result.Cause, c.Err, c.Result.ReceivedBytes)
		}
		if a := c.Response.(*answer); cap(a.in) > spare {
			t.Errorf("%s: a buffer of %d bytes is held", step, cap(a.in))
		}
	}
}

// TestAConnectionIsKept sends several steps over one connection, as long as nothing is out of step.
func TestAConnectionIsKept(t *testing.T) {
	base := serve(t, echo)
	u := newUser(t, base)
	for range 3 {
		if got := u.Must(`{send: "a\nb", receive: {until: "\n"}}`); got != "a" {
			t.Fatalf("got %q", got)
		}
		if got := u.Must(`{receive: {length: 1}}`); got != "b" {
			t.Fatalf("the step that goes on gets %q", got)
		}
	}
	if n := u.VU.Env.Connections.Opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	u.Must(`{send: "a\nleft", receive: {until: "\n"}}`)
	if got := u.Must(`{send: "c\n", receive: {until: "\n"}}`); got != "c" || u.VU.Env.Connections.Opened.Load() != 2 {
		t.Errorf("after bytes that nobody reads: %q over connection %d, want c over the second", got, u.VU.Env.Connections.Opened.Load())
	}
	u.Must(`{connection: new, send: "c\n", receive: {until: "\n"}}`)
	u.Must(`{connection: new}`)
	if u.VU.Env.Connections.Opened.Load() != 4 {
		t.Errorf("%d connections, want one more for each step that asks for a new one", u.VU.Env.Connections.Opened.Load())
	}
	u.Must(`{send: "c\n", receive: {until: "\n"}}`)
	if u.VU.Env.Connections.Opened.Load() != 4 {
		t.Error("a step that asks for a new connection ends the one that is kept")
	}
	u.Target = `connections: {reset: iteration}`
	v := newUser(t, base)
	v.Target = u.Target
	v.Must(`{send: "a\n", receive: {until: "\n"}}`)
	v.VU.Begin()
	v.Must(`{send: "a\n", receive: {until: "\n"}}`)
	if v.VU.Env.Connections.Opened.Load() != 2 {
		t.Errorf("%d connections, want one for each iteration", v.VU.Env.Connections.Opened.Load())
	}
}

// TestValuesAreSent puts values into each form of what is sent; without a value nothing is sent.
func TestValuesAreSent(t *testing.T) {
	u := newUser(t, serve(t, echo))
	u.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(u.Dir, "query.bin"), []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	slot := u.Symbols.Declare("v", expr.String)
	u.Scope.Set(slot, expr.Str("4a4b"))
	for step, want := range map[string]string{
		`{send: "<${v}>\n", receive: {until: "\n"}}`:            "<4a4b>",
		`{send: {hex: "20 ${v} 0a"}, receive: {until: "\n"}}`:   " JK",
		`{send: {base64: "${v}Cg=="}, receive: {until: "\n"}}`:  "\xe1\xae\x1b",
		`{send: {file: query.bin}, receive: {until: "\n"}}`:     "from a file",
		`{send: {text: "${v}\n"}, receive: {regex: "(?s)b\n"}}`: "4a4b\n",
	} {
		if got := u.Must(step); got != want {
			t.Errorf("%s: %q, want %q", step, got, want)
		}
	}
	u.Scope.Set(slot, expr.Str("no digits"))
	if c := u.Fails(`{send: {hex: "${v}"}, receive: {length: 1}}`, load.Input); c.Result.SentBytes != 0 {
		t.Errorf("%d bytes were sent of what has no value", c.Result.SentBytes)
	}
}

// TestHeaderOfAnAnswer reads the body in hexadecimal digits.
func TestHeaderOfAnAnswer(t *testing.T) {
	u := newUser(t, serve(t, echo))
	u.Must(`{send: {hex: 00ff0a}, receive: {until: "\n"}}`)
	if h, ok := u.Call.Response.Header("hex"); !ok || h != "00ff" {
		t.Errorf("hex is %q", h)
	}
}

// hostile is what a server may send, with the cause of the step.
var hostile = []struct {
	name, step string
	serve      func(net.Conn)
	cause      load.Cause
}{
	{"an answer without an end", `{send: x, receive: {until: "\n"}}`, flood("a"), load.Overload},
	{"an answer that never matches", `{send: x, receive: {regex: "b$"}}`, flood("a"), load.Overload},
	{"an answer without an end, to be kept", `{send: x, receive: {end: true}}`, flood("a"), load.Overload},
	{"an answer without an end, for a time", `{send: x, receive: {for: 10s}}`, flood("a"), load.Overload},
	{"a huge length", `{send: x, receive: {length_prefix: {bytes: 8}}}`, say("\xff\xff\xff\xff\xff\xff\xff\xff"), load.Overload},
	{"a huge length of 4 bytes", `{send: x, receive: {length_prefix: {bytes: 4, order: little}}}`, say("\xff\xff\xff\xff"), load.Overload},
	{"a length less than its own", `{send: x, receive: {length_prefix: {bytes: 4, includes_prefix: true}}}`, say("\x00\x00\x00\x03"), load.Protocol},
	{"an end within the length", `{send: x, receive: {length_prefix: {bytes: 2}}}`, sayAndLeave("\x00"), load.Partial},
	{"an end within the bytes", `{send: x, receive: {length_prefix: {bytes: 1}}}`, sayAndLeave("\x05abc"), load.Partial},
	{"an end after the length", `{send: x, receive: {length_prefix: {bytes: 1}}}`, sayAndLeave("\x05"), load.Partial},
	{"an end within a line", `{send: x, receive: {until: "\n"}}`, sayAndLeave("abc"), load.Partial},
	{"an end before anything", `{send: x, receive: {until: "\n"}}`, sayAndLeave(""), load.Closed},
	{"silence", `{send: x, receive: {until: "\n"}}`, say(""), load.Timeout},
	{"a drop every millisecond", `{send: x, receive: {until: "\n"}}`, drip, load.Timeout},
	{"another line", `{send: x, receive: {until: "\n", expect: "^220 "}}`, say("500 no\n"), load.Expect},
	{"something in plaintext before TLS", `{connection: new, exchanges: [{send: x, receive: {until: "\n"}}, {start_tls: true}]}`, say("ok\nmore"), load.Protocol},
	{"something else than TLS", `{connection: new, exchanges: [{send: x, receive: {until: "\n"}}, {start_tls: true}]}`, answerPlain, load.TLS},
	{"a reset", `{send: x, receive: {until: "\n"}}`, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); _ = c.(*net.TCPConn).SetLinger(0) }, load.Reset},
}

func wait(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func say(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); _, _ = io.WriteString(c, text); wait(c) }
}

func sayAndLeave(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); _, _ = io.WriteString(c, text) }
}

func answerPlain(c net.Conn) {
	p := make([]byte, 512)
	_, _ = c.Read(p[:1])
	_, _ = io.WriteString(c, "ok\n")
	_, _ = c.Read(p)
	_, _ = io.WriteString(c, "500 what is that?\r\n")
	wait(c)
}

func flood(text string) func(net.Conn) {
	return func(c net.Conn) {
		p := bytes.Repeat([]byte(text), 32<<10)
		for {
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	}
}

func drip(c net.Conn) {
	for {
		if _, err := io.WriteString(c, "a"); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestHostileServers(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			u := newUser(t, serve(t, h.serve))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c := u.Fails(h.step, h.cause)
			runtime.ReadMemStats(&after)
			if c.Response != nil {
				t.Errorf("there is an answer: %.40q", c.Response.Body())
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
				t.Errorf("%d MiB were allocated", took>>20)
			}
		})
	}
}

// lines answers each line by its table, greets, and goes on with TLS where a line asks for it.
func lines(config *tls.Config, answers map[string]string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, "220 ready\r\n")
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSpace(line)
			answer, ok := answers[line]
			if !ok {
				answer = "500 " + line
			}
			if _, err := io.WriteString(c, answer+"\r\n"); err != nil {
				return
			}
			if line == "STARTTLS" {
				t := tls.Server(c, config)
				if t.Handshake() != nil {
					return
				}
				c, r = t, bufio.NewReader(t)
			}
		}
	}
}

// certificate returns the configuration of a server of TLS.
func certificate(t testing.TB) *tls.Config {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}
}

func TestStartTLS(t *testing.T) {
	base := serve(t, lines(certificate(t), map[string]string{"STARTTLS": "220 go", "NOOP": "250 ok"}))
	const begin = `{receive: {until: "\n", expect: "^220 "}}, {send: "STARTTLS\r\n", receive: {until: "\n", expect: "^220 "}}, {start_tls: true}`
	t.Run("for each step", func(t *testing.T) {
		u := newUser(t, base)
		u.Target = `tls: {insecure_skip_verify: true}`
		for range 2 {
			if got := u.Must(`{connection: new, exchanges: [` + begin + `, {send: "NOOP\r\n", receive: {until: "\r\n"}}]}`); got != "250 ok" {
				t.Errorf("got %q", got)
			}
			if u.Call.Result.Phases[load.PhaseTLS] == 0 {
				t.Error("TLS took no time")
			}
		}
	})
	t.Run("for each connection", func(t *testing.T) {
		u := newUser(t, base)
		u.Target = `{tls: {insecure_skip_verify: true}, on_open: [` + begin + `]}`
		for i := range 3 {
			if got := u.Must(`{send: "NOOP\r\n", receive: {until: "\r\n"}}`); got != "250 ok" {
				t.Errorf("got %q", got)
			}
			if p := u.Call.Result.Phases; (p[load.PhaseTLS] > 0) != (i == 0) || (p[load.PhaseConnect] > 0) != (i == 0) {
				t.Errorf("request %d: phases %v", i, p)
			}
		}
		if u.VU.Env.Connections.Opened.Load() != 1 {
			t.Errorf("%d connections, want 1", u.VU.Env.Connections.Opened.Load())
		}
	})
	t.Run("not trusted", func(t *testing.T) {
		u := newUser(t, base)
		u.Fails(`{connection: new, exchanges: [`+begin+`]}`, load.TLS)
	})
}

// TestOverTLS keeps a connection of TLS, and opens another where the server has said what nobody asked for.
func TestOverTLS(t *testing.T) {
	config := certificate(t)
	extra, goOn := make(chan bool, 1), make(chan bool)
	base := serve(t, func(c net.Conn) {
		s := tls.Server(c, config)
		r := bufio.NewReader(s)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(s, line)
			if line == "later\n" {
				<-goOn
			}
			if line == "twice\n" || line == "later\n" {
				_, _ = io.WriteString(s, line)
				extra <- true
			}
		}
	})
	u := newUser(t, strings.Replace(base, "tcp:", "tls:", 1))
	u.Target = `tls: {insecure_skip_verify: true}`
	for range 3 {
		u.Must(`{send: "a\n", receive: {until: "\n"}}`)
	}
	if u.VU.Env.Connections.Opened.Load() != 1 {
		t.Errorf("%d connections, want 1", u.VU.Env.Connections.Opened.Load())
	}
	for i, line := range []string{"twice", "later"} { // with its answer, and when that was read
		u.Must(`{send: "` + line + `\n", receive: {until: "\n"}}`)
		if line == "later" {
			goOn <- true
		}
		<-extra // over loopback, what was written has come
		if got := u.Must(`{send: "b\n", receive: {until: "\n"}}`); got != "b" {
			t.Errorf("after %s: got %q", line, got)
		}
		if got := u.VU.Env.Connections.Opened.Load(); got != uint64(2+i) {
			t.Errorf("after %s: %d connections, want %d: one with an answer that nobody asked for is used on", line, got, 2+i)
		}
	}
}

// TestWhatIsWrong is of blocks of a step with the mistake that is found.
func TestWhatIsWrong(t *testing.T) {
	u := newUser(t, "tcp://127.0.0.1:9")
	for text, want := range map[string]string{
		`{send: {text: a, hex: "00"}}`:                       "must be text, or have one of",
		`{send: {hex: 0g}}`:                                  `must be hex: 'g' is no hexadecimal digit`,
		`{send: {hex: "000"}}`:                               "a digit is missing",
		`{send: {base64: "="}}`:                              "must be base64",
		`{send: {file: missing.bin}}`:                        "no such file",
		`{receive: {until: "\n", length: 3}}`:                "got until and length",
		`{receive: {expect: x}}`:                             "got none of them",
		`{receive: {until: ""}}`:                             "must be at least one byte",
		`{receive: {length: 0}}`:                             "must be at least 1, got 0",
		`{receive: {end: false}}`:                            "must be true",
		`{receive: {for: 0s}}`:                               "must be more than 0",
		`{receive: {regex: "("}}`:                            "missing closing )",
		`{receive: {length_prefix: {bytes: 3}}}`:             "must be 1, 2, 4 or 8, got 3",
		`{receive: {length_prefix: {bytes: 2, order: net}}}`: "must be big or little",
		`{connection: keeep}`:                                "must be keep or new",
		`{send: x, exchanges: [{send: x}]}`:                  "stands instead of send and receive",
		`{exchanges: [{}]}`:                                  "does nothing",
		`{exchanges: [{start_tls: true}]}`:                   "start_tls is done once for a connection",
		`{connection: new, address: "tls://127.0.0.1:9", exchanges: [{start_tls: true}]}`: "not one of TLS",
		`{query_response: []}`:           "write exchanges:",
		`{address: 127.0.0.1}`:           "has no port",
		`{address: "127.0.0.1:9/path"}`:  "must end with its port",
		`{address: "udp://127.0.0.1:9"}`: "must be host:port, or tcp://host:port, or tls://host:port",
		`{address: "192.0.2.1:9"}`:       "192.0.2.1 is not allowed",
		`{address: "${v}:9"}`:            "must not hold ${…}",
	} {
		_, err := u.Compile(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestSecretsInMistakes are not shown: what is wrong holds one.
func TestSecretsInMistakes(t *testing.T) {
	var errs block.Errors
	hidden := func(text string) block.Text { return block.Text{S: text, Path: "at", Hidden: true} }
	checkRegex(hidden("(hunter2"), &errs)
	k := &protocol.Compiler{Symbols: expr.NewSymbols(nil), Errors: &errs, Dir: t.TempDir()}
	file := hidden("hunter2")
	(&protocol.Bytes{File: &file}).Compile(k)
	k.Endpoint([]protocol.Scheme{{Name: "tcp"}}, hidden("127.0.0.1:99999"))
	err := errs.Err()
	if errs.Len() != 3 || strings.Count(err.Error(), "<secret>") != 3 || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "99999") {
		t.Errorf("%v, want three mistakes that show <secret>", err)
	}
}

// FuzzReceive reads bytes that a server may send, in pieces, up to each end that there is. What was read is as long as it
// says, and the same for all pieces.
func FuzzReceive(f *testing.F) {
	for _, seed := range []string{"+PONG\r\n", "\x00\x03abc", "\xff\xff", "a\nb\nc", ""} {
		for kind := range uint8(5) {
			f.Add([]byte(seed), kind, uint8(1))
		}
	}
	steps := []string{
		`{send: x, receive: {until: "\r\n"}}`, `{send: x, receive: {length: 3}}`, `{send: x, receive: {length_prefix: {bytes: 2, includes_prefix: true}}}`,
		`{send: x, receive: {regex: "b+c"}}`, `{send: x, receive: {end: true}}`,
	}
	type script struct {
		said  []byte
		piece int
	}
	var mu sync.Mutex
	var now script
	base := serve(f, func(c net.Conn) {
		mu.Lock()
		s := now
		mu.Unlock()
		_, _ = c.Read(make([]byte, 1))
		for p := s.said; len(p) > 0; {
			n := min(s.piece, len(p))
			if _, err := c.Write(p[:n]); err != nil {
				return
			}
			p = p[n:]
		}
	})
	f.Fuzz(func(t *testing.T, said []byte, kind, piece uint8) {
		if len(said) > 4<<10 {
			return
		}
		u := newUser(t, base)
		u.Target = `max_read: 1KiB`
		var got [2]string
		for i, n := range []int{1 + int(piece), 1 << 20} {
			mu.Lock()
			now = script{said, n}
			mu.Unlock()
			c := u.Do(strings.Replace(steps[int(kind)%len(steps)], "{", "{connection: new, ", 1), 20*time.Second)
			got[i] = c.Result.Cause.String()
			switch c.Result.Cause {
			case load.None:
				got[i] += string(c.Response.Body())
				if c.Response.Size() != int64(len(c.Response.Body())) || c.Response.Size() > 1<<10 {
					t.Errorf("size %d of %d bytes", c.Response.Size(), len(c.Response.Body()))
				}
			case load.Partial, load.Closed, load.Overload, load.Protocol, load.Reset:
			default:
				t.Errorf("cause %v: %v", c.Result.Cause, c.Err)
			}
		}
		if kind%5 != 3 && got[0] != got[1] && got[0] != "reset" && got[1] != "reset" {
			t.Errorf("in pieces of %d: %q, at once: %q", 1+int(piece), got[0], got[1])
		}
	})
}

// A span names the server, and what failed.
func TestSpan(t *testing.T) {
	t.Parallel()
	newUser(t, serve(t, func(c net.Conn) { _, _ = io.Copy(c, c) })).CheckSpan(`{send: "hi\n", receive: {until: "\n"}}`, "tcp")
}
