package websocket

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compile compiles the block of a step.
func compile(t testing.TB, base, text string) protocol.Step {
	t.Helper()
	s, err := compiled(base, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mistakes(base, text string) error {
	_, err := compiled(base, text)
	return err
}

func compiled(base, text string) (protocol.Step, error) {
	var errs block.Errors
	c := Kind.Step()
	block.Decode(block.Parse("step.yaml", []byte(text), &errs), c, &errs)
	var s protocol.Step
	if errs.Err() == nil {
		s = c.Compile(&protocol.Compiler{Base: block.Text{S: base}, Symbols: expr.NewSymbols(nil), Errors: &errs})
	}
	return s, errs.Err()
}

func TestContract(t *testing.T) {
	for name, text := range map[string]string{
		"echo":    `{url: /echo, send: {text: hello}, echo: body}`,
		"receive": `{url: /echo, send: {text: hello}, receive: any}`,
	} {
		t.Run(name, func(t *testing.T) {
			protocoltest.Run(t, protocoltest.Subject{
				Step:    func(t testing.TB, addr string) protocol.Step { return compile(t, "ws://"+addr, text) },
				Greet:   greet,
				Answer:  echoAll,
				Ask:     func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 2+4+len("hello"))) },
				Garbage: "\xf1\x05hello",
				Pushes:  true,
			})
		})
	}
}

// readHead reads the head of a request.
func readHead(c net.Conn) []byte {
	p, n := make([]byte, 4096), 0
	for {
		m, err := c.Read(p[n:])
		if n += m; err != nil || bytes.HasSuffix(p[:n], []byte("\r\n\r\n")) {
			return p[:n]
		}
	}
}

// greet agrees to what a client asks for.
func greet(c net.Conn) bool { return greetWith(c, "") }

// greetWith is greet with header fields besides.
func greetWith(c net.Conn, fields string) bool {
	_, rest, asked := bytes.Cut(readHead(c), []byte("Sec-WebSocket-Key: "))
	key, _, _ := bytes.Cut(rest, []byte("\r\n"))
	sum := sha1.Sum(append(slices.Clip(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	_, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n"+fields+"\r\n")
	return asked && err == nil
}

// echoAll sends short messages back until the client leaves.
func echoAll(c net.Conn) {
	p := make([]byte, 512)
	for {
		if _, err := io.ReadFull(c, p[:6]); err != nil || p[0] != finBit|opText {
			return
		}
		n := int(p[1] &^ maskBit)
		key := binary.LittleEndian.Uint32(p[2:])
		if _, err := io.ReadFull(c, p[2:2+n]); err != nil {
			return
		}
		mask(key, p[2:2+n])
		p[1] = byte(n)
		if _, err := c.Write(p[:2+n]); err != nil {
			return
		}
	}
}
