package builtin

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// journeyShop answers a login, a list of twenty products and an item of a cart. It allocates nothing, so that what a
// benchmark counts is the client's.
func journeyShop(b *testing.B) string {
	b.Helper()
	answer := func(body string) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	var products strings.Builder
	for i := range 20 {
		if i > 0 {
			products.WriteByte(',')
		}
		fmt.Fprintf(&products, `{"id":%d,"name":"Oak lamp %d","price":%d.95,"tags":["lamp","oak"]}`, 100+i, i, 10+i)
	}
	answers := map[byte][]byte{ // by the first letter of the path
		'a': answer(`{"token":"eyJhbGciOiJIUzI1NiJ9.abcdefghijklmnopqrstuvwxyz","expires_in":3600}`),
		'p': answer(`{"products":[` + products.String() + `]}`),
		'c': answer(`{"items":1}`),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						return
					}
					first, length := line[bytes.IndexByte(line, '/')+1], 0
					for len(line) > 2 {
						if line, err = r.ReadSlice('\n'); err != nil {
							return
						}
						if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
							length, _ = strconv.Atoi(string(bytes.TrimSpace(n)))
						}
					}
					if _, err := r.Discard(length); err != nil {
						return
					}
					if _, err := conn.Write(answers[first]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// processorTime is what the process has used so far, which other programs on the machine change less than the clock's.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// countedSink counts requests, and those that failed.
type countedSink struct{ all, failed int }

func (s *countedSink) Record(_ int, r *load.Result) {
	s.all++
	if r.Cause != load.None {
		s.failed++
	}
}

// BenchmarkJourney is a login, a list of twenty products and an item that is put into a cart: with what each step takes
// out of an answer and puts into the next request, and with the same requests written out. One operation is an iteration
// of three requests.
func BenchmarkJourney(b *testing.B) {
	const login = `{name: login, http: {url: /auth/login, json: {email: a@example.com, password: secret}}`
	for _, c := range []struct{ name, flow string }{
		{"bare", login + `}
      - {name: list, http: {url: "/products?limit=20", headers: {Authorization: "Bearer eyJhbGciOiJIUzI1NiJ9.abcdefghijklmnopqrstuvwxyz"}}}
      - {name: cart, http: {url: /cart/items, headers: {Authorization: "Bearer eyJhbGciOiJIUzI1NiJ9.abcdefghijklmnopqrstuvwxyz"}, json: {productId: 110, quantity: 1}}}`},
		{"one of a list", login + `, extract: {token: json.token}}
      - {name: list, http: {url: "/products?limit=20", headers: {Authorization: "Bearer ${token}"}}, extract: {product: json.products | random}}
      - {name: cart, http: {url: /cart/items, headers: {Authorization: "Bearer ${token}"}, json: {productId: "${product.id}", quantity: 1}}}`},
		{"one of the members", login + `, extract: {token: json.token}}
      - {name: list, http: {url: "/products?limit=20", headers: {Authorization: "Bearer ${token}"}}, extract: {product: "json.products[*].id | random"}}
      - {name: cart, http: {url: /cart/items, headers: {Authorization: "Bearer ${token}"}, json: {productId: "${product}", quantity: 1}}}`},
		{"a member of the tenth", login + `, extract: {token: json.token}}
      - {name: list, http: {url: "/products?limit=20", headers: {Authorization: "Bearer ${token}"}}, extract: {product: "json.products[10].id"}}
      - {name: cart, http: {url: /cart/items, headers: {Authorization: "Bearer ${token}"}, json: {productId: "${product}", quantity: 1}}}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "perfd.yaml")
			text := fmt.Sprintf("targets: [{name: shop, url: %q}]\nscenarios:\n  - name: s\n    target: shop\n    workload: {executor: constant-vus}\n    flow:\n      - %s\n", journeyShop(b), c.flow)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
			d, err := config.Load(config.Options{File: file, Environ: []string{}, Kinds: Kinds()})
			if err != nil {
				b.Fatal(err)
			}
			zero := time.Now()
			shared := map[protocol.Key]io.Closer{}
			env := &protocol.Env{
				Dialer: wire.NewDialer(wire.DialerOptions{}),
				Shared: func(k protocol.Key, open func() (io.Closer, error)) (io.Closer, error) {
					var err error
					if shared[k] == nil {
						shared[k], err = open()
					}
					return shared[k], err
				},
				Now: func() time.Duration { return time.Since(zero) }, Zero: zero, UserAgent: "perfd/test", Identity: func() string { return "s/r" },
				Connections: &load.Connections{}, Log: slog.New(slog.DiscardHandler),
			}
			sink := &countedSink{}
			v := d.Scenarios[0].Program.NewVU(0, &flow.Runtime{
				Sink: sink, Env: func(string) *protocol.Env { return env }, Now: env.Now, Seed: 1, Shards: 1,
			})
			defer v.Close()
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				v.Begin(env.Now())
				for done := false; !done; {
					_, done = v.Go()
				}
			}
			// The shop's is in it too, and the same for all.
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
			if sink.failed > 0 || sink.all != 3*b.N {
				b.Fatalf("%d requests of %d iterations, %d failed", sink.all, b.N, sink.failed)
			}
		})
	}
}
