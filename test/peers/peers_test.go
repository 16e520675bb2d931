// Package peers has the real perfd speak on streams to servers that others have written: WebSockets to those of coder,
// gorilla and ws, server-sent events to better-sse; over TCP, over TLS with certificates of both sides, and through a
// proxy. What the servers counted is what perfd reports.
package peers

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	gorilla "github.com/gorilla/websocket"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// perfd is the path of the program, built with the race detector.
var perfd string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "perfd-peers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	if perfd, err = daemon.Build(ctx, dir, "-race"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Counts is what a server did.
type counts struct {
	Received, ReceivedBytes, Sent, SentBytes, Pongs uint64
	Codes                                           map[int]int // by which streams ended
	Resumed                                         []string    // ids after which streams of events were resumed
}

// A server is one that runs.
type server struct {
	url    string
	counts func() counts
}

// A tally is what a server of this process counts. It is safe for concurrent use.
type tally struct {
	mu sync.Mutex
	counts
}

func (y *tally) note(f func(c *counts)) {
	y.mu.Lock()
	defer y.mu.Unlock()
	f(&y.counts)
}

func (y *tally) received(p []byte) {
	y.note(func(c *counts) {
		c.Received++
		c.ReceivedBytes += uint64(len(p))
	})
}

func (y *tally) sent(p []byte) {
	y.note(func(c *counts) {
		c.Sent++
		c.SentBytes += uint64(len(p))
	})
}

func (y *tally) ended(code int) { y.note(func(c *counts) { c.Codes[code]++ }) }

func (y *tally) all() (c counts) {
	y.note(func(of *counts) {
		c = *of
		c.Codes = maps.Clone(of.Codes)
	})
	return c
}

// whole is the message that comes in parts, the second of which begins within a letter.
var whole = []byte(`{"type":"whole","text":"grüße"}`)

func parts() [][]byte {
	at := bytes.IndexByte(whole, 0xc3) + 1
	return [][]byte{whole[:at], whole[at : at+1], whole[at+1:]}
}

// An order is what a client says.
type order struct {
	Type string
	Code int
}

// ticks are what a client gets that subscribes.
func ticks() (all [][]byte) {
	for seq := range 5 {
		all = append(all, fmt.Appendf(nil, `{"type":"tick","seq":%d}`, seq+1))
	}
	return all
}

// byCoder speaks by coder's library.
func byCoder(y *tally) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"orders.v2"}, CompressionMode: coder.CompressionNoContextTakeover, CompressionThreshold: 1})
		if err != nil {
			return
		}
		defer c.CloseNow()
		ctx := r.Context()
		send := func(kind coder.MessageType, p []byte) error {
			y.sent(p)
			return c.Write(ctx, kind, p)
		}
		inParts := func() error {
			y.sent(whole)
			to, err := c.Writer(ctx, coder.MessageText)
			for _, p := range parts() {
				if err == nil {
					_, err = to.Write(p)
				}
				if err == nil {
					err = c.Ping(ctx)
				}
				if err == nil {
					y.note(func(c *counts) { c.Pongs++ })
				}
			}
			return errors.Join(err, to.Close())
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		for {
			kind, p, err := c.Read(ctx)
			if err != nil {
				y.ended(int(coder.CloseStatus(err)))
				return
			}
			y.received(p)
			var o order
			_ = json.Unmarshal(p, &o) // what is none is an echo
			switch o.Type {
			case "subscribe":
				for _, t := range ticks() {
					err = errors.Join(err, send(coder.MessageText, t))
				}
			case "parts":
				wg.Go(func() { _ = inParts() }) // the client sees what is missing
			case "invalid":
				err = c.Write(ctx, coder.MessageText, []byte{0xff})
			case "leave":
				if err = c.Close(coder.StatusCode(o.Code), "bye"); err == nil {
					y.ended(o.Code)
					return
				}
			default:
				err = send(kind, p)
			}
			if err != nil {
				return
			}
		}
	}
}

// byGorilla speaks by gorilla's library, with buffers that make fragments of all that is long.
func byGorilla(y *tally) http.HandlerFunc {
	up := gorilla.Upgrader{Subprotocols: []string{"orders.v2"}, EnableCompression: true, WriteBufferSize: 16}
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		c.SetPongHandler(func(string) error {
			y.note(func(c *counts) { c.Pongs++ })
			return nil
		})
		send := func(kind int, p []byte) error {
			y.sent(p)
			return c.WriteMessage(kind, p)
		}
		inParts := func() error {
			y.sent(whole)
			to, err := c.NextWriter(gorilla.TextMessage)
			for _, p := range parts() {
				if err == nil {
					_, err = to.Write(p)
				}
				if err == nil {
					err = c.WriteControl(gorilla.PingMessage, []byte("between"), time.Now().Add(10*time.Second))
				}
			}
			return errors.Join(err, to.Close())
		}
		for {
			kind, p, err := c.ReadMessage()
			if err != nil {
				if closed := (*gorilla.CloseError)(nil); errors.As(err, &closed) {
					y.ended(closed.Code)
				}
				return
			}
			y.received(p)
			var o order
			_ = json.Unmarshal(p, &o) // what is none is an echo
			switch o.Type {
			case "subscribe":
				for _, t := range ticks() {
					err = errors.Join(err, send(gorilla.TextMessage, t))
				}
			case "parts":
				err = inParts()
			case "invalid":
				err = c.WriteMessage(gorilla.TextMessage, []byte{0xff})
			case "leave":
				err = c.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(o.Code, "bye"), time.Now().Add(10*time.Second))
			default:
				err = send(kind, p)
			}
			if err != nil {
				return
			}
		}
	}
}

// inProcess starts a server of this process, with TLS where there is a folder of certificates.
func inProcess(t *testing.T, speak func(*tally) http.HandlerFunc, certificates string) server {
	y := &tally{counts: counts{Codes: map[int]int{}}}
	s := httptest.NewUnstartedServer(speak(y))
	if certificates == "" {
		s.Start()
	} else {
		pair, err := tls.LoadX509KeyPair(filepath.Join(certificates, "cert.pem"), filepath.Join(certificates, "key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(certificates, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return server{s.URL, y.all}
}

var listening = regexp.MustCompile(`listening on (\d+)`)

// inNode starts the server of testdata.
func inNode(t *testing.T, certificates string) server {
	modules, err := filepath.Abs(filepath.Join("..", "..", ".tools", "peers", "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ws", "better-sse"} {
		if _, err := os.Stat(filepath.Join(modules, name)); err != nil {
			t.Fatalf("%v; make deps installs it", err)
		}
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("%v; make deps installs it", err)
	}
	scheme, args := "http", []string{"server.cjs"}
	if certificates != "" {
		scheme, args = "https", append(args, certificates)
	}
	p, err := proc.Start(proc.Spec{Path: node, Args: args, Dir: "testdata", Env: append(os.Environ(), "NODE_PATH="+modules)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := p.WaitFor(ctx, listening)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Output())
	}
	url := scheme + "://127.0.0.1:" + m[1]
	return server{url, func() (c counts) {
		client := http.DefaultClient
		if certificates != "" {
			pair, err := tls.LoadX509KeyPair(filepath.Join(certificates, "cert.pem"), filepath.Join(certificates, "key.pem"))
			if err != nil {
				t.Fatal(err)
			}
			transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}}
			defer transport.CloseIdleConnections()
			client = &http.Client{Transport: transport}
		}
		resp, err := client.Get(url + "/counts")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
			t.Fatal(err)
		}
		return c
	}}
}

// certificates writes an authority, a certificate of 127.0.0.1 for servers and clients, and its key to a folder.
func certificates(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"ca.pem": cert, "cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// proxy starts a proxy that knows CONNECT only, and returns its address and how many tunnels there were.
func proxy(t *testing.T) (url string, tunnels *atomic.Int32) {
	t.Helper()
	tunnels = &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		tunnels.Add(1)
		if _, err := io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		back := make(chan struct{})
		go func() {
			defer close(back)
			_, _ = io.Copy(to, from)
			_ = to.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(from, to)
		from.Close()
		<-back
	}))
	t.Cleanup(s.Close)
	return s.URL, tunnels
}

// A result is what perfd once reports, as far as the tests read it.
type result struct {
	Scenario   string
	Iterations uint64
	Dropped    uint64
	Steps      []struct {
		Name          string
		Requests      uint64
		FailedByCause map[string]uint64 `json:"failed_by_cause"`
		Messages      *struct {
			Sent, Received           uint64
			SentBytes                uint64 `json:"sent_bytes"`
			ReceivedBytes            uint64 `json:"received_bytes"`
			Missing, Repeated, Unmet uint64
		}
	}
	Checks []struct {
		Name              string
		Evaluated, Failed uint64
	}
}

// once runs a scenario of a configuration, and returns its results.
func once(t *testing.T, config, scenario string) (r result) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, perfd, "once", scenario, "--summary=json", "--config.file="+file, "--web.listen-address=127.0.0.1:0")
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if jerr := json.Unmarshal(out, &r); jerr != nil {
		t.Fatalf("%v, %v\n%s\n%s", err, jerr, out, &said)
	}
	if strings.Contains(said.String(), "DATA RACE") {
		t.Fatalf("%s", &said)
	}
	return r
}

// TestWebSockets takes each peer through a whole journey by each way: a subprotocol, a subscription, echoes, fragments with
// pings between them, text that is none, and closes by either side; with and without compression.
func TestWebSockets(t *testing.T) {
	template, err := os.ReadFile(filepath.Join("testdata", "peers.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(*testing.T, string) server{
		"coder":   func(t *testing.T, certificates string) server { return inProcess(t, byCoder, certificates) },
		"gorilla": func(t *testing.T, certificates string) server { return inProcess(t, byGorilla, certificates) },
		"ws":      inNode,
	} {
		for _, way := range []struct {
			name                string
			tls, proxied, packs bool
		}{
			{name: "tcp"}, {name: "deflate", packs: true}, {name: "tls", tls: true, packs: true}, {name: "proxy", proxied: true}, {name: "tls-proxy", tls: true, proxied: true, packs: true},
		} {
			t.Run(name+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				var dir, proxyLine, tlsLine string
				if tlsLine = "{}"; way.tls {
					dir = certificates(t)
					tlsLine = fmt.Sprintf("{tls: {ca_file: %q, cert_file: %q, key_file: %q}}", dir+"/ca.pem", dir+"/cert.pem", dir+"/key.pem")
				}
				s := start(t, dir)
				var tunnels *atomic.Int32
				if way.proxied {
					var at string
					at, tunnels = proxy(t)
					proxyLine = "proxy_url: " + at
				}
				compression := "none"
				if way.packs {
					compression = "permessage-deflate"
				}
				config := strings.NewReplacer(
					"http:\n      TLS", "http: "+tlsLine, "PROXY", proxyLine, "COMPRESSION", compression, "COMPRESSED", fmt.Sprint(way.packs),
					"NAME", "journey", "URL", s.url, "TEXT", strings.Repeat("lamp and shade ", 200)+"end",
				).Replace(string(template))
				r := once(t, config, "journey")
				const n = 6 // iterations
				failed := map[string]map[string]uint64{}
				for _, step := range r.Steps {
					if len(step.FailedByCause) > 0 {
						failed[step.Name] = step.FailedByCause
					}
				}
				if diff := cmp.Diff(map[string]map[string]uint64{"sent away": {"status": n}, "invalid": {"protocol": n}}, failed); diff != "" || r.Iterations != n || r.Dropped != 0 {
					t.Errorf("%d iterations; failures by step and cause (-want +got):\n%s", r.Iterations, diff)
				}
				for _, c := range r.Checks {
					if c.Evaluated != n || c.Failed != 0 {
						t.Errorf("%s: %d of %d failed, want none of %d", c.Name, c.Failed, c.Evaluated, n)
					}
				}
				if len(r.Checks) != 6 {
					t.Errorf("%d checks, want 6", len(r.Checks))
				}
				got := counts{Codes: map[int]int{}}
				for _, step := range r.Steps {
					if m := step.Messages; m != nil {
						got.Sent += m.Received
						got.SentBytes += m.ReceivedBytes
						got.Received += m.Sent
						got.ReceivedBytes += m.SentBytes
						if m.Missing+m.Repeated+m.Unmet > 0 {
							t.Errorf("%s: %+v", step.Name, m)
						}
					}
				}
				// The last close of each stream may be on its way.
				var did counts
				for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
					if did = s.counts(); did.Codes[4321]+did.Codes[4001]+did.Codes[1007] >= 3*n || time.Since(begin) > 20*time.Second {
						break
					}
				}
				got.Codes = map[int]int{4321: n, 4001: n, 1007: n}
				got.Pongs, got.Resumed = 3*n, did.Resumed
				if diff := cmp.Diff(did, got); diff != "" || did.Sent != 8*n || did.Received != 6*n {
					t.Errorf("what the server counted and perfd says (-server +perfd):\n%s", diff)
				}
				if way.proxied && tunnels.Load() < 3 {
					t.Errorf("%d tunnels, want one for each connection", tunnels.Load())
				}
			})
		}
	}
}

// TestServerSentEvents reads events of a server whose connections break, and which goes on after the last id.
func TestServerSentEvents(t *testing.T) {
	s := inNode(t, "")
	r := once(t, `
targets: [{name: news, url: "`+s.url+`"}]
scenarios:
  - name: news
    target: news
    schedule: {manual: true, duration: 1m}
    workload: {executor: per-vu-iterations, vus: 1, iterations: 1}
    flow:
      - name: all of it
        http: {url: /news, events: {sequence: id, each: json.n > 0, reconnect: {back_off: 1ms}, listen: 4s, close: true}}
        checks:
          nothing is lost: stream.received == 40 && stream.missing == 0 && stream.repeated == 0
          resumed: stream.reconnects == 4
`, "news")
	if len(r.Checks) != 2 {
		t.Fatalf("checks: %+v", r.Checks)
	}
	for _, c := range r.Checks {
		if c.Evaluated != 1 || c.Failed != 0 {
			t.Errorf("%s does not hold", c.Name)
		}
	}
	if diff := cmp.Diff([]string{"9", "18", "27", "36"}, s.counts().Resumed); diff != "" {
		t.Errorf("resumed after (-want +got):\n%s", diff)
	}
	if m := r.Steps[0].Messages; m == nil || m.Received != 40 || m.Missing != 0 {
		t.Errorf("messages: %+v", m)
	}
}
