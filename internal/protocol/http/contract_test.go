package http

import (
	"bytes"
	"net"
	"testing"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
)

func TestContract(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			protocoltest.Run(t, protocoltest.Subject{
				Step: func(t testing.TB, addr string) protocol.Step {
					var errs block.Errors
					c := Kind.Step()
					block.Decode(block.Parse("step.yaml", []byte(`{url: "/a?b=c", method: `+method+`}`), &errs), c, &errs)
					s := c.Compile(&protocol.Compiler{Base: block.Text{S: "http://" + addr}, Symbols: expr.NewSymbols(nil), Errors: &errs})
					if err := errs.Err(); err != nil {
						t.Fatal(err)
					}
					return s
				},
				Answer:  answerAll,
				Ask:     readHead,
				Garbage: "220 mail.example.com ESMTP\r\n\r\n",
			})
		})
	}
}

// answerAll answers requests without a body until the client leaves.
func answerAll(c net.Conn) {
	answerWith(c, []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
}

func answerWith(c net.Conn, answer []byte) {
	p, n := make([]byte, 4096), 0
	for {
		m, err := c.Read(p[n:])
		if err != nil {
			return
		}
		if n += m; bytes.HasSuffix(p[:n], []byte("\r\n\r\n")) {
			n = 0
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}
