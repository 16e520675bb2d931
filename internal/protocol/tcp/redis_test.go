package tcp

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
)

// redis starts a server without a disk and returns its address as a url.
func redis(t *testing.T) string {
	t.Helper()
	program := protocoltest.Program(t, "redis-server")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	cmd := exec.Command(program, "--port", fmt.Sprint(addr.Port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", "secret", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // likewise
	})
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr.String()); err == nil {
			c.Close()
			return "tcp://" + addr.String()
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("redis-server does not listen")
		}
	}
}

// TestRedis speaks the protocol of Redis with the real server: a login for each connection, values whose length the server
// says, answers in several pieces, errors, and an idle connection that the server closes.
func TestRedis(t *testing.T) {
	base := redis(t)
	u := newUser(t, base)
	u.Fails(`{send: "PING\r\n", receive: {until: "\r\n", expect: "^[+]PONG$"}}`, load.Expect)
	u.Target = `on_open: [{send: "AUTH secret\r\n", receive: {until: "\r\n", expect: "^[+]OK$"}}]`
	u.VU.Close()
	before := u.VU.Env.Connections.Opened.Load()
	for range 100 {
		if got := u.Must(`{send: "PING\r\n", receive: {until: "\r\n"}}`); got != "+PONG" {
			t.Fatalf("got %q", got)
		}
	}
	if n := u.VU.Env.Connections.Opened.Load() - before; n != 1 {
		t.Errorf("%d connections for 100 requests, want 1", n)
	}
	long := strings.Repeat("v\r\n", 100_000)
	u.Must(fmt.Sprintf(`{send: {text: "SET long \"%s\"\r\n"}, receive: {until: "\r\n", expect: "OK"}}`, "short"))
	u.Must(fmt.Sprintf(`{send: {text: "*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n$%d\r\n%s\r\n"}, receive: {until: "\r\n", expect: "OK"}}`, len(long), strings.ReplaceAll(long, "\r\n", `\r\n`)))
	if got := u.Must(fmt.Sprintf(`{exchanges: [{send: "GET long\r\n", receive: {until: "\r\n", expect: "^[$]%d$"}}, {receive: {length: %d}}, {receive: {until: "\r\n"}}]}`, len(long), len(long))); got != "" {
		t.Errorf("after the value comes %q", got)
	}
	if got := u.Must(fmt.Sprintf(`{exchanges: [{send: "GET long\r\nPING\r\n", receive: {until: "\r\n"}}, {receive: {length: %d}}, {receive: {regex: "PONG\r\n"}}]}`, len(long))); got != "\r\n+PONG\r\n" {
		t.Errorf("a pipeline ends with %q", got)
	}
	if got := u.Must(`{send: "NONSENSE\r\n", receive: {until: "\r\n"}}`); !strings.HasPrefix(got, "-ERR") {
		t.Errorf("got %q", got)
	}
	if n := u.VU.Env.Connections.Opened.Load() - before; n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	// A server that closes an idle connection costs another connection and no failure.
	u.Must(`{send: "QUIT\r\n", receive: {until: "\r\n", expect: "OK"}}`)
	time.Sleep(10 * time.Millisecond)
	if got := u.Must(`{send: "PING\r\n", receive: {until: "\r\n"}}`); got != "+PONG" || u.VU.Env.Connections.Opened.Load()-before != 2 {
		t.Errorf("got %q over connection %d, want another connection", got, u.VU.Env.Connections.Opened.Load()-before)
	}
}
