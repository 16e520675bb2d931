package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/wire"
)

// A policyRow is a row of a table of docs/security.md: examples of addresses, and a word per column.
type policyRow struct {
	addrs []string
	words []string
}

// policy reads the table of docs/security.md whose first heading begins with a text.
func policy(t *testing.T, begins string) (columns []string, rows []policyRow) {
	t.Helper()
	if testing.Short() {
		t.Skip("hundreds of ways, each by its own name")
	}
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case columns == nil && strings.HasPrefix(line, "| "+begins):
			columns = cells[1:]
		case columns != nil && strings.HasPrefix(line, "| "):
			r := policyRow{words: cells[1:]}
			for _, m := range example.FindAllStringSubmatch(cells[0], -1) {
				r.addrs = append(r.addrs, m[1])
			}
			if len(r.addrs) == 0 || len(r.words) != len(columns) {
				t.Fatalf("a row without examples or with %d words: %s", len(r.words), line)
			}
			rows = append(rows, r)
		case columns != nil && !strings.HasPrefix(line, "|"):
			return columns, rows
		}
	}
	t.Fatalf("docs/security.md has no table %q", begins)
	return nil, nil
}

// mayGo says what a word of the policy means.
func mayGo(t *testing.T, word string, listed bool) bool {
	switch word {
	case "always":
		return true
	case "never":
		return false
	case "if listed":
		return listed
	}
	t.Fatalf("docs/security.md has the unknown word %q", word)
	return false
}

// safetyOf is a block safety that lists all addresses, or those of tests alone.
func safetyOf(listed bool) string {
	networks := "203.0.113.0/24"
	if listed {
		networks = `0.0.0.0/1, 128.0.0.0/1, "::/1", "8000::/1"`
	}
	return fmt.Sprintf("safety: {allowed_hosts: ['*.policy.test'], allowed_networks: [%s]}\n", networks)
}

// A cell is one word of the policy put to the test: a way in, with a port of its own.
type cell struct {
	column, addr string
	listed, want bool
	port         int
}

func (c *cell) host() string { return fmt.Sprintf("c%d.policy.test", c.port) }

func (c *cell) url() string { return fmt.Sprintf("http://%s:%d", c.host(), c.port) }

func (c *cell) String() string {
	return fmt.Sprintf("%s to %s, listed %v", c.column, c.addr, c.listed)
}

// An atlas is a network in which each cell's name has the cell's address and then a witness,
// which may always be reached. Nobody listens anywhere: a dialer that may go
// to the address tries it before the witness.
type atlas struct {
	mu    sync.Mutex
	cells map[int]*cell // by port
	tried map[netip.AddrPort]bool
}

var witness = netip.MustParseAddr("203.0.113.99")

func (a *atlas) network() wire.Network {
	return wire.Network{
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			port, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(host, "c"), ".policy.test"))
			c := a.cells[port]
			if c == nil {
				return nil, &net.DNSError{Name: host, IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr(c.addr), witness}, nil
		},
		Connect: func(_ context.Context, _ netip.Addr, to netip.AddrPort) (*net.TCPConn, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.tried[to] = true
			return nil, syscall.ECONNREFUSED
		},
	}
}

// saw reports whether a cell's port was dialled at an address.
func (a *atlas) saw(c *cell, at netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tried[netip.AddrPortFrom(at.Unmap(), uint16(c.port))]
}

// blocks returns what a cell adds to a document, by its column: to targets, credentials, scenarios, remote_write.
func (c *cell) blocks(address string) (target, credential, scenario, receiver string) {
	name := fmt.Sprintf("t%d", c.port)
	at := func(rest string) string { return fmt.Sprintf("  - {name: %s, %s}\n", name, rest) }
	const home = "url: 'http://127.0.0.1:1'"
	identity := ", identity: {job: perfd, instance: a}}\n"
	scenario = fmt.Sprintf("  - {name: %s, target: %[1]s, workload: {executor: constant-arrival-rate, rate: 2/s, max_vus: 1}, flow: [{name: get, http: {url: /, redirects: 1}, timeout: 1s}]}\n", name)
	switch c.column {
	case "load":
		return at("url: '" + address + "'"), "", scenario, ""
	case "release":
		return at(home + ", release: {url: '" + address + "/v', json: v, every: 1s}"), "", "", ""
	case "resource":
		return at(home + ", resources: [{name: heap, kind: memory, scrape: '" + address + "/m', metric: m, every: 1s}]"), "", "", ""
	case "Prometheus":
		return at(home + ", resources: [{name: heap, kind: memory, prometheus: '" + address + "', query: m, every: 1s}]"), "", "", ""
	case "credentials":
		return at(home + ", credentials: " + name), fmt.Sprintf("  %s: {oauth2: {token_url: '%s/token', client_id: a, client_secret: 'secret of tests'}}\n", name, address), "", ""
	case "proxy of these":
		return at("url: 'http://203.0.113.7:1', proxy_url: '" + address + "'"), "", scenario, ""
	case "remote write":
		return "", "", "", fmt.Sprintf("  - {name: %s, url: '%s/w'", name, address) + identity
	case "proxy of these two":
		return "", "", "", fmt.Sprintf("  - {name: %s, url: 'http://203.0.113.7:1/w', proxy_url: '%s'", name, address) + identity
	}
	return "", "", "", ""
}

// assemble returns a document of cells.
func assemble(listed bool, cells []*cell, address func(*cell) string) string {
	text := safetyOf(listed)
	var parts [4]string
	for _, c := range cells {
		parts[0], parts[1], parts[2], parts[3] = add(parts, c, address)
	}
	for i, key := range []string{"targets", "credentials", "scenarios", "remote_write"} {
		if parts[i] != "" {
			text += key + ":\n" + parts[i]
		}
	}
	if parts[3] != "" {
		text += "remote_write_queue: {interval: 1s}\n"
	}
	return text
}

func add(parts [4]string, c *cell, address func(*cell) string) (a, b, d, e string) {
	t, k, s, r := c.blocks(address(c))
	return parts[0] + t, parts[1] + k, parts[2] + s, parts[3] + r
}

// daemonUntil runs a document until a condition holds.
func daemonUntil(t *testing.T, text string, n wire.Network, what func() string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{ConfigFile: file, StoragePath: t.TempDir(), Shards: 1, Grace: time.Second, Log: quiet, Network: n})
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	defer a.Stop() // receivers that nobody is at take nothing
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		missing := what()
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited 60 s for %s", missing)
		}
	}
}

// trace exports one span by the block tracing of a document, and ends the export once a
// condition holds.
func trace(t *testing.T, text string, n wire.Network, seen func() bool) {
	t.Helper()
	doc := policyDocument(t, text)
	if doc == nil {
		t.Fatalf("the document is refused:\n%s", text)
	}
	for _, o := range doc.Outputs {
		if o.Kind.Name != "tracing" {
			continue
		}
		out, err := o.Config.Open(&output.Env{StoragePath: t.TempDir(), Log: quiet, Guard: o.Guard, Network: n}, nil)
		if err != nil {
			t.Fatal(err)
		}
		out.Start()
		// An export that timed out before it dialled, on a busy machine, is not made again: there is one more span for it.
		for begin, n := time.Now(), 0; !seen() && time.Since(begin) < 20*time.Second; time.Sleep(time.Millisecond) {
			if time.Since(begin) >= time.Duration(n)*200*time.Millisecond {
				out.(output.TraceWriter).RunEnded(output.RunSpan{Scenario: "s", Run: "r", Trace: load.TraceID{1}, Start: time.Now(), End: time.Now()})
				n++
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_ = out.Close(ctx) // what is not taken is wanted
		cancel()
	}
}

// policyDocument loads a document, nil where it is refused.
func policyDocument(t *testing.T, text string) *config.Document {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := config.Load(config.Options{File: file, Environ: []string{}, Kinds: builtin.Kinds()})
	if err != nil {
		if !strings.Contains(err.Error(), "is not allowed") {
			t.Fatalf("%v:\n%s", err, text)
		}
		return nil
	}
	return doc
}

// TestEveryWayGoesWhereThePolicySays tries each address of the first table of
// docs/security.md by each way in: as a name that has the address, and written out.
func TestEveryWayGoesWhereThePolicySays(t *testing.T) {
	t.Parallel()
	columns, rows := policy(t, "address |")
	tried := 0
	for _, listed := range []bool{false, true} {
		var cells, traced []*cell
		w := &atlas{cells: map[int]*cell{}, tried: map[netip.AddrPort]bool{}}
		for _, r := range rows {
			for _, addr := range r.addrs {
				for i, column := range columns {
					c := &cell{column: column, addr: addr, listed: listed, want: mayGo(t, r.words[i], listed), port: 20000 + len(w.cells)}
					w.cells[c.port] = c
					if column == "OTLP" {
						traced = append(traced, c)
					} else {
						cells = append(cells, c)
					}
				}
			}
		}
		daemonUntil(t, assemble(listed, cells, (*cell).url), w.network(), func() string {
			for _, c := range cells {
				if !w.saw(c, witness) {
					return c.String()
				}
			}
			return ""
		})
		for i, c := range traced {
			protocol := []string{"grpc", "http/protobuf"}[i%2]
			trace(t, safetyOf(listed)+fmt.Sprintf("tracing: {endpoint: '%s', protocol: %s, delay: 1ms, timeout: 100ms}\n", c.url(), protocol), w.network(), func() bool { return w.saw(c, witness) })
			if !w.saw(c, witness) {
				t.Errorf("%v: nothing was dialled", c)
			}
		}
		for _, c := range w.cells {
			tried += 2
			if got := w.saw(c, netip.MustParseAddr(c.addr)); got != c.want {
				t.Errorf("%v: dialled %v, want %v", c, got, c.want)
			}
			literal := "http://" + net.JoinHostPort(c.addr, strconv.Itoa(c.port))
			text := assemble(listed, []*cell{c}, func(*cell) string { return literal })
			if c.column == "OTLP" {
				text = safetyOf(listed) + "tracing: {endpoint: '" + literal + "'}\n"
			}
			if got := policyDocument(t, strings.ReplaceAll(text, "http://203.0.113.7:1", "http://127.0.0.1:1")) != nil; got != c.want {
				t.Errorf("%v, written out: accepted %v, want %v", c, got, c.want)
			}
		}
	}
	t.Logf("%d cells", tried)
}

// A signpost is a proxy behind which the hosts of senders redirect each to an address of its own.
type signpost struct {
	*httptest.Server
	mu    sync.Mutex
	to    map[string]string // Location by host of the sender
	asked map[string]int    // requests by host and port
}

func newSignpost(t *testing.T) *signpost {
	s := &signpost{to: map[string]string{}, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			s.answer(w, r.Host)
			return
		}
		c, b, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			req, err := http.ReadRequest(bufio.NewReader(b))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			rec := httptest.NewRecorder()
			s.answer(rec, r.Host)
			resp := rec.Result()
			resp.ContentLength = 0
			if resp.Write(c) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *signpost) answer(w http.ResponseWriter, host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[host]++
	if to := s.to[host]; to != "" {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

func (s *signpost) count(host string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[host]
}

// TestEveryRedirectGoesWhereThePolicySays has senders in each place redirect load and
// the receivers' requests to each address of the second table. They are behind a proxy, by which an address that
// is written out is checked as the place of a host.
func TestEveryRedirectGoesWhereThePolicySays(t *testing.T) {
	t.Parallel()
	columns, rows := policy(t, "address that load")
	senders := map[string]string{"by 127.0.0.1": "127.0.0.1", "by a private address": "10.0.0.7", "from the Internet": "203.0.113.7", "by a name behind a proxy": "sender.policy.test"}
	tried := 0
	for _, listed := range []bool{false, true} {
		for _, way := range []string{"load", "remote write", "OTLP"} {
			s := newSignpost(t)
			type led struct {
				cell
				from, to string // as hosts and ports
			}
			var all []*led
			var cells []*cell
			froms := map[int]string{}
			for _, r := range rows {
				for _, addr := range r.addrs {
					for i, column := range columns {
						if senders[column] == "" {
							t.Fatalf("docs/security.md has the unknown column %q", column)
						}
						if way == "load" && column == "by a private address" && !listed {
							continue // load does not go there at all
						}
						l := &led{cell: cell{column: way, addr: addr, listed: listed, want: mayGo(t, r.words[i], listed), port: 20000 + len(all)}}
						l.from = net.JoinHostPort(senders[column], strconv.Itoa(l.port))
						l.to = net.JoinHostPort(addr, strconv.Itoa(l.port+10000))
						s.to[l.from] = "http://" + l.to + "/"
						froms[l.port] = l.from
						all, cells = append(all, l), append(cells, &l.cell)
					}
				}
			}
			by := "proxy_url: '" + s.URL + "'"
			sender := func(c *cell) string { return "http://" + froms[c.port] }
			if way == "OTLP" {
				for _, l := range all {
					trace(t, safetyOf(listed)+fmt.Sprintf("tracing: {endpoint: 'http://%s', protocol: http/protobuf, delay: 1ms, timeout: 10s, %s}\n", l.from, by), wire.Network{}, func() bool { return s.count(l.from) > 0 })
				}
			} else {
				text := strings.ReplaceAll(assemble(listed, cells, sender), "http://203.0.113.7:1'", "http://203.0.113.7:1', "+by)
				text = strings.ReplaceAll(text, "'}\n", "', "+by+"}\n")
				text = strings.ReplaceAll(text, "/w'", "/w', "+by)
				// A sender that is asked again has seen what became of its first answer.
				daemonUntil(t, text, wire.Network{}, func() string {
					for _, l := range all {
						if s.count(l.from) < 2 {
							return l.String() + " by " + l.from
						}
					}
					return ""
				})
			}
			for _, l := range all {
				tried++
				if s.count(l.from) == 0 {
					t.Errorf("%v by %s: the sender was not asked", l, l.from)
				}
				if got := s.count(l.to) > 0; got != l.want {
					t.Errorf("%v by %s: followed %v, want %v", l, l.from, got, l.want)
				}
			}
		}
	}
	t.Logf("%d cells", tried)
}

// The redirects of a receiver that is reached directly are held against its own address.
func TestAReceiverOfThisMachineRedirects(t *testing.T) {
	for _, c := range []struct {
		to     string
		listed bool
		want   bool
	}{
		{"127.0.0.3", false, true},
		{"10.1.2.3", true, false},
		{"203.0.113.5", true, true},
		{"8.8.8.8", false, false},
		{"169.254.169.254", true, false},
	} {
		var mu sync.Mutex
		var tried []string
		home := ""
		n := wire.Network{Connect: func(ctx context.Context, _ netip.Addr, to netip.AddrPort) (*net.TCPConn, error) {
			mu.Lock()
			tried = append(tried, to.String())
			mu.Unlock()
			if to.String() != home {
				return nil, syscall.ECONNREFUSED
			}
			var d net.Dialer
			return d.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
		}}
		s := httptest.NewServer(http.RedirectHandler("http://"+c.to+":7/", http.StatusTemporaryRedirect))
		home = s.Listener.Addr().String()
		trace(t, safetyOf(c.listed)+fmt.Sprintf("tracing: {endpoint: '%s', protocol: http/protobuf, delay: 1ms, timeout: 100ms}\n", s.URL), n, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(tried) > 0
		})
		s.Close()
		mu.Lock()
		if got := slices.Contains(tried, c.to+":7"); got != c.want || !slices.Contains(tried, home) {
			t.Errorf("to %s, listed %v: dialled %q, want it %v", c.to, c.listed, tried, c.want)
		}
		mu.Unlock()
	}
}
