package protocol_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
	"github.com/perfd/perfd/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneMoreProtocolKeepsTheContract(t *testing.T) {
	protocoltest.Run(t, protocoltest.Subject{
		Step: func(t testing.TB, addr string) protocol.Step {
			var errs block.Errors
			c := echoKind.Step()
			block.Decode(block.Parse("step.yaml", []byte(`{say: ping, address: "`+addr+`"}`), &errs), c, &errs)
			s := c.Compile(&protocol.Compiler{Symbols: expr.NewSymbols(nil), Errors: &errs})
			if err := errs.Err(); err != nil {
				t.Fatal(err)
			}
			return s
		},
		Answer:  sayBack,
		Ask:     func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, len("ping\n"))) },
		Garbage: "who is there?\n",
	})
}

// sayBack answers whatever comes with itself. It allocates nothing for a request.
func sayBack(c net.Conn) {
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
}

// helloAll answers requests of HTTP without a body. It allocates nothing for a request.
func helloAll(c net.Conn) {
	p, answer := make([]byte, 4096), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	for {
		n, err := c.Read(p)
		if err != nil {
			return
		}
		if bytes.HasSuffix(p[:n], []byte("\r\n\r\n")) {
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}

// listen serves connections until the test ends, and returns its address.
func listen(t testing.TB, serve func(net.Conn)) string {
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
				serve(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// kinds is what perfd ships and one more protocol.
var kinds = func() kind.Set {
	all := builtin.Kinds()
	all.Protocols = append(slices.Clip(all.Protocols), echoKind)
	return all
}()

// document loads a configuration of one scenario with the given flow, whose
// target answers HTTP at one address and echo at another.
func document(t testing.TB, web, echo, flow string) (*config.Document, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	text := "targets:\n  - {name: shop, url: 'http://" + web + "', echo: {address: '" + echo + "'}}\n" +
		"scenarios:\n  - name: mixed\n    target: shop\n    workload: {executor: constant-vus, vus: 1}\n    flow: " + flow + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(config.Options{File: file, Environ: []string{}, Kinds: kinds})
}

func TestOneMoreProtocolIsInTheSchema(t *testing.T) {
	schema, err := config.Schema(kinds)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A request by echo.", "The line to say; may hold ${…}.", "Where its steps say their lines, as host:port."} {
		if !strings.Contains(string(schema), want) {
			t.Errorf("the schema does not hold %q", want)
		}
	}
}

func TestOneMoreProtocolIsChecked(t *testing.T) {
	for _, c := range []struct{ flow, want string }{
		{`[{name: a, echo: {sya: x}}]`, `did you mean "say"?`},
		{`[{name: a, echo: {}}]`, "say: is required"},
		{`[{name: a, echo: {say: "${nobody}"}}]`, `unknown name "nobody"`},
		{`[{name: a, echo: {say: x, address: nowhere}}]`, `perfd.yaml:7:46: scenarios[0].flow[0].echo.address: must be host:port, got "nowhere"`},
		{`[{name: a, echo: {say: x, address: "192.0.2.1:7"}}]`, "safety.allowed_networks"},
		{`[{name: a, ehco: {say: x}}]`, `did you mean "echo"?`},
		{`[{name: a, echo: {say: x}, http: {url: /}}]`, "a step makes one request, got echo and http"},
	} {
		_, err := document(t, "127.0.0.1:80", "127.0.0.1:7", c.flow)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.flow, err, c.want)
		}
	}
}

// results is a sink that keeps results where it is asked to.
type results struct {
	keep bool
	all  []load.Result
}

func (s *results) Record(_ int, r *load.Result) {
	if s.keep {
		s.all = append(s.all, *r)
	}
}

// runtime is what the VUs of a run share, with one environment for all targets.
func runtime(sink flow.Sink, connections *load.Connections) *flow.Runtime {
	zero := time.Now()
	now := func() time.Duration { return time.Since(zero) }
	shared := map[protocol.Key]io.Closer{}
	env := &protocol.Env{
		Dialer: wire.NewDialer(wire.DialerOptions{}),
		Shared: func(k protocol.Key, open func() (io.Closer, error)) (io.Closer, error) {
			if c, ok := shared[k]; ok {
				return c, nil
			}
			c, err := open()
			shared[k] = c
			return c, err
		},
		Now: now, Zero: zero, UserAgent: "perfd/test", Identity: func() string { return "mixed/1" },
		Connections: connections, Log: slog.New(slog.DiscardHandler),
	}
	return &flow.Runtime{Sink: sink, Env: func(string) *protocol.Env { return env }, Now: now}
}

func iterate(v *flow.VU, rt *flow.Runtime) {
	v.Begin(rt.Now())
	for done := false; !done; {
		_, done = v.Go()
	}
}

const mixed = `
      - {name: page, http: {url: /}, expect: status == 200, extract: {word: body}}
      - {name: say, echo: {say: "${word} ${vu}"}, expect: 'body == "hello 3"'}
      - {name: page again, http: {url: "/${word}"}}
      - {name: say again, echo: {say: bye}, checks: {is short: size < 5}}`

// Steps of two protocols take turns in one flow, without making buffers anew.
func TestOneMoreProtocolRunsBesideAnother(t *testing.T) {
	d, err := document(t, listen(t, helloAll), listen(t, sayBack), mixed)
	if err != nil {
		t.Fatal(err)
	}
	p := d.Scenario("mixed").Program
	if got := p.Steps[1].Protocol; got != "echo" {
		t.Errorf("the second step is of protocol %q, want echo", got)
	}
	sink, connections := &results{keep: true}, &load.Connections{}
	rt := runtime(sink, connections)
	v := p.NewVU(3, rt)
	defer v.Close()
	for range 2 {
		iterate(v, rt)
	}
	for i, r := range sink.all {
		if r.Cause != load.None || r.ChecksFailed != 0 || r.Due > r.Sent || r.Sent >= r.Done || r.ReceivedBytes == 0 {
			t.Errorf("result %d: %+v, want an answer", i, r)
		}
	}
	if n := connections.Opened.Load(); len(sink.all) != 8 || n != 2 {
		t.Errorf("%d results over %d connections, want 8 over 2", len(sink.all), n)
	}
	if raceDetector {
		return // sync.Pool drops what it is given at random
	}
	d, err = document(t, listen(t, helloAll), listen(t, sayBack), `
      - {name: page, http: {url: /}}
      - {name: say, echo: {say: "a ${vu}"}}
      - {name: page again, http: {url: "/${vu}"}}
      - {name: say again, echo: {say: b}}`)
	if err != nil {
		t.Fatal(err)
	}
	rt.Sink = &results{}
	w := d.Scenario("mixed").Program.NewVU(1, rt)
	defer w.Close()
	iterate(w, rt)
	if n := testing.AllocsPerRun(100, func() { iterate(w, rt) }); n > 0 {
		t.Errorf("an iteration of two protocols allocates %v times, want 0", n)
	}
}

// What the contract holds for a step holds for it in a flow: an interrupt ends
// the iteration, a server that closes an idle connection is asked again.
func TestOneMoreProtocolIsInterruptedAndRedials(t *testing.T) {
	asked := make(chan struct{})
	answers := 0
	var mu sync.Mutex
	echo := listen(t, func(c net.Conn) {
		p := make([]byte, 16)
		for {
			n, err := c.Read(p)
			if err != nil {
				return
			}
			mu.Lock()
			answers++
			last := answers == 3
			mu.Unlock()
			if last {
				close(asked) // the third is never answered
				continue
			}
			_, _ = c.Write(p[:n])
			return // closes after each answer
		}
	})
	d, err := document(t, listen(t, helloAll), echo, `[{name: say, echo: {say: "${iteration}"}}]`)
	if err != nil {
		t.Fatal(err)
	}
	sink, connections := &results{keep: true}, &load.Connections{}
	rt := runtime(sink, connections)
	v := d.Scenario("mixed").Program.NewVU(0, rt)
	defer v.Close()
	go func() { <-asked; v.Interrupt() }()
	for range 3 {
		iterate(v, rt)
	}
	var causes []string
	for _, r := range sink.all {
		causes = append(causes, r.Cause.String())
	}
	if got, want := strings.Join(causes, ","), ",,canceled"; got != want {
		t.Errorf("causes %q, want %q", got, want)
	}
	if o, _ := v.Outcome(false); o != load.Interrupted {
		t.Errorf("outcome %d, want %d, interrupted", o, load.Interrupted)
	}
	if n := connections.Opened.Load(); n != 3 {
		t.Errorf("%d connections opened, want 3", n)
	}
}
