package dns

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
	"github.com/perfd/perfd/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A user is one virtual user.
type user struct{ *protocoltest.User }

func newUser(t testing.TB, target string) user {
	u := user{protocoltest.NewUser(t, Kind, "http://127.0.0.1:9", wire.DialerOptions{})}
	u.Target = target
	return u
}

// must performs a query that must be answered, and returns the answer as JSON.
func (u user) must(text string) gjson.Result {
	u.Helper()
	body := u.Must(text)
	if !gjson.Valid(body) {
		u.Fatalf("%s: the answer is no JSON: %s", text, body)
	}
	return gjson.Parse(body)
}

// A zone answers a query with the message that it is given, which has the query's number and question.
type zone func(q dnsmessage.Question, m *dnsmessage.Message, udp bool)

// reply returns the answer to a query.
func (z zone) reply(query []byte, udp bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Answers, m.Authorities, m.Additionals = true, true, nil, nil, nil
	z(m.Questions[0], &m, udp)
	out, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return out
}

// A server answers over UDP and TCP on one port.
type server struct {
	addr     string
	udp, tcp atomic.Int64 // queries
}

// serve answers by what reply returns, each piece a datagram or a message, nil nothing, until the test ends.
func serve(t testing.TB, reply func(query []byte, udp bool) [][]byte) *server {
	t.Helper()
	s := &server{}
	var l net.Listener
	var pc *net.UDPConn
	for range 20 { // until both have the same port
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		s.addr = l.Addr().String()
		if pc, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s.addr))); err == nil {
			break
		}
		l.Close()
	}
	var all sync.WaitGroup
	all.Go(func() {
		b := make([]byte, longest)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			s.udp.Add(1)
			for _, p := range reply(b[:n], true) {
				_, _ = pc.WriteToUDPAddrPort(p, from)
			}
		}
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				s.serveTCP(c, reply)
			})
		}
	})
	t.Cleanup(func() { l.Close(); pc.Close(); all.Wait() })
	return s
}

func (s *server) serveTCP(c net.Conn, reply func(query []byte, udp bool) [][]byte) {
	b := make([]byte, 2+longest)
	for {
		if _, err := io.ReadFull(c, b[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(b))
		if _, err := io.ReadFull(c, b[2:2+n]); err != nil {
			return
		}
		s.tcp.Add(1)
		var all []byte // at once
		for _, p := range reply(b[2:2+n], false) {
			all = append(binary.BigEndian.AppendUint16(all, uint16(len(p))), p...)
		}
		_, _ = c.Write(all)
	}
}

// alone makes replies of one message.
func alone(z zone) func([]byte, bool) [][]byte {
	return func(query []byte, udp bool) [][]byte { return [][]byte{z.reply(query, udp)} }
}

func a(q dnsmessage.Question, ttl uint32, addr string) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: ttl},
		Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addr).As4()},
	}
}

func one(q dnsmessage.Question, m *dnsmessage.Message, _ bool) {
	m.Answers = append(m.Answers, a(q, 60, "192.0.2.1"))
}

func TestContract(t *testing.T) {
	step := func(transport string) func(t testing.TB, addr string) protocol.Step {
		return func(t testing.TB, addr string) protocol.Step {
			var errs block.Errors
			c := Kind.Step()
			block.Decode(block.Parse("step.yaml", fmt.Appendf(nil, `{name: shop.example, transport: %s, address: %q}`, transport, addr), &errs), c, &errs)
			s := c.Compile(&protocol.Compiler{Symbols: expr.NewSymbols(nil), Errors: &errs})
			if err := errs.Err(); err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Run("udp", func(t *testing.T) {
		protocoltest.RunDatagrams(t, protocoltest.Subject{
			Step: step("udp"),
			Answer: func(c net.Conn) {
				p := make([]byte, 1024)
				for {
					n, err := c.Read(p)
					if err != nil {
						return
					}
					p[2] |= bitQR >> 8
					if _, err := c.Write(p[:n]); err != nil {
						return
					}
				}
			},
			Ask:         func(c net.Conn) { _, _ = c.Read(make([]byte, 1024)) },
			Allocations: pooled,
		})
	})
	query := 2 + headLength + len("\x04shop\x07example\x00") + 4 + 11
	t.Run("tcp", func(t *testing.T) {
		protocoltest.Run(t, protocoltest.Subject{
			Step: step("tcp"),
			Answer: func(c net.Conn) {
				p := make([]byte, query)
				for {
					if _, err := io.ReadFull(c, p); err != nil {
						return
					}
					p[4] |= bitQR >> 8
					if _, err := c.Write(p); err != nil {
						return
					}
				}
			},
			Ask:     func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, query)) },
			Garbage: "\x00\x03abc",
		})
	})
	t.Run("http", func(t *testing.T) {
		protocoltest.Run(t, protocoltest.Subject{
			Step:    func(t testing.TB, addr string) protocol.Step { return step("https")(t, "http://"+addr) },
			Answer:  answerHTTP,
			Ask:     func(c net.Conn) { _, _ = readHTTP(c, make([]byte, 4096)) },
			Garbage: "HTTP/2 what?\r\n\r\n", Allocations: pooled,
		})
	})
}

// readHTTP reads one request, and returns where its body begins and ends.
func readHTTP(c net.Conn, p []byte) (begin, end int) {
	for n := 0; ; {
		m, err := c.Read(p[n:])
		if err != nil {
			return 0, 0
		}
		n += m
		for i := 0; i+4 <= n; i++ {
			if string(p[i:i+4]) == "\r\n\r\n" && n > i+4+headLength { // the query is written with its head
				return i + 4, n
			}
		}
	}
}

// answerHTTP answers each query with itself. It allocates nothing for a request.
func answerHTTP(c net.Conn) {
	p, out := make([]byte, 4096), make([]byte, 0, 4096)
	for {
		begin, end := readHTTP(c, p)
		if end == 0 {
			return
		}
		p[begin+2] |= bitQR >> 8
		out = append(out[:0], "HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: "...)
		n := end - begin
		out = append(out, byte('0'+n/10), byte('0'+n%10))
		out = append(append(out, "\r\n\r\n"...), p[begin:end]...)
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// TestAnswersAsJSON reads records of each type, names compressed as dnsmessage writes them.
func TestAnswersAsJSON(t *testing.T) {
	name := dnsmessage.MustNewName
	bodies := map[string]struct {
		kind dnsmessage.Type
		body dnsmessage.ResourceBody
		want string
	}{
		"A":     {dnsmessage.TypeA, &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}, "192.0.2.7"},
		"AAAA":  {dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::7").As16()}, "2001:db8::7"},
		"CNAME": {dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: name("www.shop.example.")}, "www.shop.example."},
		"NS":    {dnsmessage.TypeNS, &dnsmessage.NSResource{NS: name("ns1.shop.example.")}, "ns1.shop.example."},
		"PTR":   {dnsmessage.TypePTR, &dnsmessage.PTRResource{PTR: name("shop.example.")}, "shop.example."},
		"MX":    {dnsmessage.TypeMX, &dnsmessage.MXResource{Pref: 10, MX: name("mail.shop.example.")}, "10 mail.shop.example."},
		"TXT":   {dnsmessage.TypeTXT, &dnsmessage.TXTResource{TXT: []string{`v=spf1 "x"`, "\x01ä\xff -all"}}, "v=spf1 \"x\"\x01äÿ -all"},
		"SRV":   {dnsmessage.TypeSRV, &dnsmessage.SRVResource{Priority: 1, Weight: 2, Port: 443, Target: name("a.shop.example.")}, "1 2 443 a.shop.example."},
		"SOA": {
			dnsmessage.TypeSOA, &dnsmessage.SOAResource{NS: name("ns.shop.example."), MBox: name("root.shop.example."), Serial: 1, Refresh: 2, Retry: 3, Expire: 4, MinTTL: 5},
			"ns.shop.example. root.shop.example. 1 2 3 4 5",
		},
		"CAA":     {257, &dnsmessage.UnknownResource{Type: 257, Data: []byte("\x00\x05issueca.example")}, `0 issue "ca.example"`},
		"DS":      {43, &dnsmessage.UnknownResource{Type: 43, Data: []byte("\x01\x00\x08\x02\xab\xcd")}, "256 8 2 abcd"},
		"TLSA":    {52, &dnsmessage.UnknownResource{Type: 52, Data: []byte("\x03\x01\x01\xab")}, "3 1 1 ab"},
		"DNSKEY":  {48, &dnsmessage.UnknownResource{Type: 48, Data: []byte("\x01\x01\x03\x08abc")}, "257 3 8 YWJj"},
		"TYPE999": {999, &dnsmessage.UnknownResource{Type: 999, Data: []byte("\x01\x02")}, `\# 2 0102`},
	}
	s := serve(t, alone(func(q dnsmessage.Question, m *dnsmessage.Message, _ bool) {
		for _, b := range bodies {
			if b.kind == q.Type {
				h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 300}
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: b.body})
				h.TTL = 30
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: b.body})
				m.Authorities = append(m.Authorities, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeNS, Class: q.Class, TTL: 7}, Body: bodies["NS"].body,
				})
			}
		}
		m.Authoritative = true
	}))
	u := newUser(t, `address: "`+s.addr+`"`)
	for kind, want := range bodies {
		for _, transport := range []string{"udp", "tcp"} {
			j := u.must(`{name: shop.example, type: ` + kind + `, transport: ` + transport + `}`)
			if got := j.Get("answers.0.data").String(); got != want.want {
				t.Errorf("%s over %s: %q, want %q", kind, transport, got, want.want)
			}
			for path, want := range map[string]string{
				"rcode": "NOERROR", "aa": "true", "rd": "true", "tc": "false", "min_ttl": "30", "answers.#": "2", "answers.1.ttl": "30",
				"answers.0.name": "shop.example.", "answers.0.type": kind, "answers.0.class": "IN", "authorities.0.data": "ns1.shop.example.", "transport": transport,
			} {
				if got := j.Get(path).String(); got != want {
					t.Errorf("%s over %s: %s is %q, want %q", kind, transport, path, got, want)
				}
			}
		}
	}
	if n := u.VU.Env.Connections.Opened.Load(); n != 2 {
		t.Errorf("%d sockets and connections, want one of each", n)
	}
}

// TestQueries checks what is asked by dnsmessage.
func TestQueries(t *testing.T) {
	asked := make(chan dnsmessage.Message, 1)
	s := serve(t, func(query []byte, udp bool) [][]byte {
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil {
			t.Error(err)
		}
		asked <- m
		return alone(one)(query, udp)
	})
	u := newUser(t, `address: "udp://`+s.addr+`"`)
	slot := u.Symbols.Declare("v", expr.String)
	u.Scope.Set(slot, expr.Str("x1"))
	seen := map[uint16]bool{}
	for _, c := range []struct {
		step, name string
		kind       dnsmessage.Type
		class      dnsmessage.Class
		rd, do     bool
		size       int
	}{
		{`{name: shop.example}`, "shop.example.", dnsmessage.TypeA, dnsmessage.ClassINET, true, false, 1232},
		{`{name: "${v}.shop.example.", type: aaaa}`, "x1.shop.example.", dnsmessage.TypeAAAA, dnsmessage.ClassINET, true, false, 1232},
		{`{name: ., type: NS, recursion: false}`, ".", dnsmessage.TypeNS, dnsmessage.ClassINET, false, false, 1232},
		{`{name: _sip._tcp.shop.example, type: SRV, edns: {dnssec_ok: true, size: 4096}}`, "_sip._tcp.shop.example.", dnsmessage.TypeSRV, dnsmessage.ClassINET, true, true, 4096},
		{`{name: version.bind, type: TXT, class: CH, edns: {size: 0}}`, "version.bind.", dnsmessage.TypeTXT, dnsmessage.ClassCHAOS, true, false, 0},
		{`{name: bücher.example, type: TYPE65}`, "xn--bcher-kva.example.", 65, dnsmessage.ClassINET, true, false, 1232},
	} {
		u.must(c.step)
		got := <-asked
		q := got.Questions[0]
		if q.Name.String() != c.name || q.Type != c.kind || q.Class != c.class || got.RecursionDesired != c.rd {
			t.Errorf("%s asks %v, recursion %v", c.step, q, got.RecursionDesired)
		}
		size, do := 0, false
		for _, r := range got.Additionals {
			size, do = int(r.Header.Class), r.Header.DNSSECAllowed()
		}
		if size != c.size || do != c.do {
			t.Errorf("%s: size %d and DO %v", c.step, size, do)
		}
		if seen[got.ID] {
			t.Errorf("%s: number %d for the second time", c.step, got.ID)
		}
		seen[got.ID] = true
	}
	for _, bad := range []string{"", "a..b", ".a", strings.Repeat("a", 64) + ".example", strings.Repeat("abc.", 70), `a\999`} {
		u.Scope.Set(slot, expr.Str(bad))
		u.Fails(`{name: "${v}"}`, load.Input)
	}
	const written = `a\.b\\c\065\032.example`
	onWire, err := appendQuestionName(make([]byte, headLength), []byte(written))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\x07a.b\\cA \x07example\x00"; string(onWire[headLength:]) != want {
		t.Errorf("%s is %q on the wire, want %q", written, onWire[headLength:], want)
	}
	if back, end, err := appendName(nil, onWire, headLength); err != nil || end != len(onWire) || string(back) != `a\.b\\cA\032.example.` {
		t.Errorf("name %q comes back (%v)", back, err)
	}
}

// TestCodes judges answers by their code, the extended ones of EDNS included.
func TestCodes(t *testing.T) {
	s := serve(t, alone(func(q dnsmessage.Question, m *dnsmessage.Message, _ bool) {
		switch strings.Split(q.Name.String(), ".")[0] {
		case "missing":
			m.RCode = dnsmessage.RCodeNameError
		case "broken":
			m.RCode = dnsmessage.RCodeServerFailure
		case "badvers":
			var h dnsmessage.ResourceHeader
			_ = h.SetEDNS0(1232, 16, false)
			m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{}})
		case "short":
			m.RCode, m.Questions = dnsmessage.RCodeFormatError, nil
		}
	}))
	u := newUser(t, `address: "`+s.addr+`"`)
	for name, want := range map[string]struct {
		code  int32
		rcode string
		cause load.Cause
	}{
		"fine": {0, "NOERROR", load.None}, "missing": {3, "NXDOMAIN", load.Status}, "broken": {2, "SERVFAIL", load.Status},
		"badvers": {16, "BADVERS", load.Status}, "short": {1, "FORMERR", load.Status},
	} {
		text := `{name: ` + name + `.example}`
		j := u.must(text)
		step, err := u.Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		r := &u.Call.Result
		if h, _ := u.Call.Response.Header("rcode"); r.Code != want.code || !r.Coded || u.Call.Response.Code() != int(want.code) || h != want.rcode || j.Get("rcode").String() != want.rcode {
			t.Errorf("%s: code %d, %s", name, r.Code, h)
		}
		if cause := step.(protocol.Judge).Judge(&u.Call); cause != want.cause {
			t.Errorf("%s is judged %v, want %v", name, cause, want.cause)
		}
	}
}

// A span names the server, what was asked for unless that is a secret, and the code of a failure.
func TestSpan(t *testing.T) {
	s := serve(t, alone(func(_ dnsmessage.Question, m *dnsmessage.Message, _ bool) { m.RCode = dnsmessage.RCodeNameError }))
	_, port, _ := net.SplitHostPort(s.addr)
	for _, c := range []struct {
		transport, text string
		cause           load.Cause
		want            string
	}{
		{"udp", `{name: missing.example, type: aaaa}`, load.Status, "DNS AAAA dns.question.name=missing.example network.transport=udp error.type=NXDOMAIN"},
		{"tcp", `{name: "${random_string(4)}.example"}`, load.None, "DNS A network.transport=tcp"},
	} {
		u := newUser(t, `{address: "`+s.addr+`", transport: `+c.transport+`}`)
		u.must(c.text)
		u.Call.Result.Cause = c.cause
		step, err := u.Compile(c.text)
		if err != nil {
			t.Fatal(err)
		}
		var span protocol.Span
		step.(protocol.SpanMapper).Span(&u.Call.Result, u.Call.Address, &span)
		got := span.Name
		for _, a := range span.Attributes {
			switch a.Key {
			case "server.address", "server.port":
				if a.Text != "127.0.0.1" && strconv.FormatInt(a.Number, 10) != port {
					t.Errorf("%s: %v, want 127.0.0.1 and %s", c.text, a, port)
				}
			default:
				got += " " + a.Key + "=" + a.Text
			}
		}
		if got != c.want {
			t.Errorf("%s: span %s, want %s", c.text, got, c.want)
		}
	}
}

// TestTruncated asks again over TCP, unless that is not wanted.
func TestTruncated(t *testing.T) {
	s := serve(t, alone(func(q dnsmessage.Question, m *dnsmessage.Message, udp bool) {
		m.Truncated = udp
		for range 1000 {
			if !udp {
				m.Answers = append(m.Answers, a(q, 60, "192.0.2.1"))
			}
		}
	}))
	u := newUser(t, `address: "`+s.addr+`"`)
	for range 3 {
		j := u.must(`{name: many.example}`)
		if j.Get("answers.#").Int() != 1000 || j.Get("tc").Bool() || j.Get("transport").String() != "tcp" {
			t.Errorf("%d answers over %s", j.Get("answers.#").Int(), j.Get("transport"))
		}
	}
	if s.udp.Load() != 3 || s.tcp.Load() != 3 || u.VU.Env.Connections.Opened.Load() != 2 {
		t.Errorf("%d queries over UDP and %d over TCP, %d opened", s.udp.Load(), s.tcp.Load(), u.VU.Env.Connections.Opened.Load())
	}
	if j := u.must(`{name: many.example, truncated: accept}`); !j.Get("tc").Bool() || s.tcp.Load() != 3 {
		t.Errorf("got %s", j)
	}
}

// TestTheLimitHoldsForTheQueryOverTCP: a server that truncates every answer would see twice the rate.
func TestTheLimitHoldsForTheQueryOverTCP(t *testing.T) {
	s := serve(t, alone(func(q dnsmessage.Question, m *dnsmessage.Message, udp bool) {
		m.Truncated = udp
		m.Answers = []dnsmessage.Resource{a(q, 60, "192.0.2.1")}
	}))
	u := newUser(t, `address: "`+s.addr+`"`)
	taken, wait := 0, 20*time.Millisecond
	u.VU.Env.Redirect = func(string, uint16, []netip.Addr, bool) (time.Duration, bool) {
		taken++
		return wait, true
	}
	u.must(`{name: shop.example, truncated: accept}`)
	if taken != 0 {
		t.Errorf("an answer that is taken as it is takes %d more tokens", taken)
	}
	u.must(`{name: shop.example}`)
	if r := &u.Call.Result; taken != 1 || r.Waited < int64(wait) {
		t.Errorf("%d tokens after a wait of %d ns, want one after %v", taken, r.Waited, wait)
	}
	wait = time.Hour
	u.Fails(`{name: shop.example}`, load.Overload)
}

// TestOtherAnswersAreIgnored sends, before the answer, what is none: with another number, to another question, a query, and
// what is too short. Over TCP that is against the rules.
func TestOtherAnswersAreIgnored(t *testing.T) {
	others := func(query []byte, udp bool) [][]byte {
		var out [][]byte
		for i, change := range []func(p []byte){
			func(p []byte) { p[0] ^= 1 }, func(p []byte) { p[2] &^= 0x80 }, func(p []byte) { p[2] |= 0x08 },
			func(p []byte) { p[headLength+1] = 'X' }, func(p []byte) { p[headLength+len("\x04shop\x07example\x00")+1] = 28 },
			func(p []byte) { p[5] = 2 },
		} {
			p := zone(one).reply(query, udp)
			if change(p); udp || i == 0 {
				out = append(out, p)
			}
		}
		return append(out, []byte("x"), nil)
	}
	s := serve(t, func(query []byte, udp bool) [][]byte {
		return append(others(query, udp), zone(func(q dnsmessage.Question, m *dnsmessage.Message, udp bool) {
			one(q, m, udp)
			m.Questions[0].Name = dnsmessage.MustNewName("SHOP.example.")
		}).reply(query, udp))
	})
	u := newUser(t, `address: "`+s.addr+`"`)
	if got := u.must(`{name: shop.example}`).Get("answers.0.data").String(); got != "192.0.2.1" {
		t.Errorf("got %q", got)
	}
	if h, _ := u.Call.Response.Header("ignored"); h != "8" || u.VU.Env.Connections.Ignored.Load() != 8 {
		t.Errorf("%s datagrams ignored, want 8", h)
	}
	u.Fails(`{name: shop.example, transport: tcp}`, load.Protocol)
}

// TestALateAnswerIsNobodys answers the first query when the second comes, and with what the first has asked.
func TestALateAnswerIsNobodys(t *testing.T) {
	var late []byte
	s := serve(t, func(query []byte, udp bool) [][]byte {
		if late == nil {
			late = zone(func(q dnsmessage.Question, m *dnsmessage.Message, _ bool) {
				m.Answers = append(m.Answers, a(q, 60, "192.0.2.99"))
			}).reply(query, udp)
			return nil
		}
		return [][]byte{late, zone(one).reply(query, udp)}
	})
	u := newUser(t, `address: "`+s.addr+`"`)
	u.Fails(`{name: shop.example}`, load.Timeout)
	for range 3 {
		if got := u.must(`{name: shop.example}`).Get("answers.0.data").String(); got != "192.0.2.1" {
			t.Errorf("got %q, the answer to another query", got)
		}
	}
}

// question is the query's question as an answer repeats it, with counts of records.
func head(query []byte, counts ...byte) []byte {
	end := headLength
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	p := append([]byte{}, query[:end+5]...)
	p[2] |= 0x80
	for i, n := range counts {
		p[7+2*i] = n
	}
	p[11] = 0
	if len(counts) > 2 {
		p[11] = counts[2]
	}
	return p
}

// hostile is what a server may answer, behind the question, with the cause of the request.
var hostile = []struct {
	name   string
	counts []byte
	rest   string
	cause  load.Cause
}{
	{"a record that is not there", []byte{1}, "", load.Protocol},
	{"a pointer to itself", []byte{1}, "\xc0\x1e\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04abcd", load.Protocol},
	{"a pointer forward", []byte{1}, "\xc0\x20\xc0\x1e\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04abcd", load.Protocol},
	{"a pointer into the header", []byte{1}, "\xc0\x00\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04abcd", load.Protocol},
	{"a pointer past the end", []byte{1}, "\xff\xff\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04abcd", load.Protocol},
	{"a label of an unknown kind", []byte{1}, "\x80\x00\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04abcd", load.Protocol},
	{"a loop in the data", []byte{1}, "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x01\x00\x02\xc0\x2a", load.Protocol},
	{"data past the end", []byte{1}, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\xff\xffabcd", load.Protocol},
	{"an address of three bytes", []byte{1}, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x03abc", load.Protocol},
	{"text that ends within", []byte{1}, "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x01\x00\x02\x05a", load.Protocol},
	{"a name and more", []byte{1}, "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x01\x00\x03\xc0\x0cx", load.Protocol},
	{"a mail server without a name", []byte{1}, "\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x01\x00\x02\x00\x01", load.Protocol},
	{"a start of authority of ten bytes", []byte{1}, "\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x01\x00\x0aabcdefghij", load.Protocol},
	{"a broken record beside the answer", []byte{0, 0, 1}, "\xc0", load.Protocol},
	{"no records", nil, "", load.None},
	{"rubbish behind the records", nil, "rubbish", load.None},
}

func TestHostileServers(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			s := serve(t, func(query []byte, _ bool) [][]byte { return [][]byte{append(head(query, h.counts...), h.rest...)} })
			for _, transport := range []string{"udp", "tcp"} {
				u := newUser(t, `address: "`+s.addr+`"`)
				c := u.Do(`{name: shop.example, transport: `+transport+`}`, 2*time.Second)
				if c.Result.Cause != h.cause || (c.Response == nil) != (h.cause != load.None) {
					t.Errorf("over %s: cause %v (%v), want %v", transport, c.Result.Cause, c.Err, h.cause)
				}
			}
		})
	}
	t.Run("a flood of other datagrams", func(t *testing.T) {
		s := serve(t, func(query []byte, _ bool) [][]byte {
			p := append(head(query), make([]byte, 60_000)...)
			p[0] ^= 1
			return slices.Repeat([][]byte{p}, 2000)
		})
		u := newUser(t, `address: "`+s.addr+`"`)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		u.Fails(`{name: shop.example}`, load.Timeout)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; pooled == 0 && took > 16<<20 {
			t.Errorf("%d MiB were allocated", took>>20)
		}
	})
	t.Run("more than the answer", func(t *testing.T) { // of which the end may come later, and be taken for the next answer
		s := serve(t, func(query []byte, _ bool) [][]byte { return [][]byte{zone(one).reply(query, false), {0}} })
		u := newUser(t, `{address: "`+s.addr+`", transport: tcp}`)
		for n := range uint64(3) {
			u.must(`{name: shop.example}`)
			if got := u.VU.Env.Connections.Opened.Load(); got != n+1 {
				t.Errorf("after %d answers %d connections, want one for each", n+1, got)
			}
		}
	})
	t.Run("an end within the answer", func(t *testing.T) {
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
				_, _ = c.Read(make([]byte, 512))
				_, _ = c.Write([]byte("\xff\xff\x00"))
				c.Close()
			}
		})
		t.Cleanup(func() { l.Close(); all.Wait() })
		newUser(t, "").Fails(`{name: shop.example, address: "tcp://`+l.Addr().String()+`"}`, load.Partial)
	})
}

// TestHTTPS asks over HTTPS, and gets answers that are none.
func TestHTTPS(t *testing.T) {
	const right = "application/dns-message"
	h := func(w http.ResponseWriter, r *http.Request) {
		query, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != right || query[0] != 0 || query[1] != 0 || r.Header.Get("X-Perfd") != "scenario/run" {
			t.Errorf("%s %s, %s, number %d, of %s", r.Method, r.URL, r.Header.Get("Content-Type"), binary.BigEndian.Uint16(query), r.Header.Get("X-Perfd"))
		}
		switch r.URL.Path {
		case "/dns-query":
			w.Header().Set("Content-Type", right+"; charset=x")
			_, _ = w.Write(zone(one).reply(query, false))
		case "/html":
			_, _ = io.WriteString(w, "<html>")
		case "/error":
			http.Error(w, "no", http.StatusBadGateway)
		case "/other":
			w.Header().Set("Content-Type", right)
			p := zone(one).reply(query, false)
			p[0] = 1
			_, _ = w.Write(p)
		case "/long":
			w.Header().Set("Content-Type", right)
			_, _ = w.Write(make([]byte, 100_000))
		}
	}
	s := httptest.NewTLSServer(http.HandlerFunc(h))
	defer s.Close()
	u := newUser(t, `{address: "`+s.URL+`", tls: {insecure_skip_verify: true}}`)
	for range 3 {
		if j := u.must(`{name: shop.example}`); j.Get("answers.0.data").String() != "192.0.2.1" || j.Get("transport").String() != "https" {
			t.Errorf("got %s", j)
		}
	}
	if n := u.VU.Env.Connections.Opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	for path, cause := range map[string]load.Cause{"/html": load.Protocol, "/error": load.Status, "/other": load.Protocol, "/long": load.Overload} {
		u.Fails(`{name: shop.example, address: "`+s.URL+path+`"}`, cause)
	}
	newUser(t, "").Fails(`{name: shop.example, address: "`+s.URL+`"}`, load.TLS)
	plain := httptest.NewServer(http.HandlerFunc(h))
	defer plain.Close()
	v := newUser(t, "")
	v.Base = plain.URL
	v.must(`{name: shop.example, transport: https}`)
}

func TestWhatIsWrong(t *testing.T) {
	u := newUser(t, "")
	for text, want := range map[string]string{
		`{type: A}`: "name: is required",
		`{name: x}`: "there is no server to ask",
		`{name: x, address: 127.0.0.1, type: AAAAA}`:                      "is no type of records",
		`{name: x, address: 127.0.0.1, class: XX}`:                        "must be IN, CH or HS",
		`{name: x, address: 127.0.0.1, transport: quic}`:                  "must be udp, tcp, tls or https",
		`{name: x, address: 127.0.0.1, truncated: never}`:                 "must be retry or accept",
		`{name: x, address: 127.0.0.1, edns: {size: 100}}`:                "must be from 512 to 65535",
		`{name: x, address: 127.0.0.1, edns: {size: 0, dnssec_ok: true}}`: "size: 0 sends none",
		`{name: a..b, address: 127.0.0.1}`:                                "empty or longer than 63 bytes",
		`{name: x, address: 192.0.2.1}`:                                   "192.0.2.1 is not allowed",
		`{name: x, address: "tls://127.0.0.1/path"}`:                      "must end with its port",
		`{name: x, address: "quic://127.0.0.1"}`:                          "must be host:port",
		`{query_name: x}`:                                                 "write name",
		`{name: x, address: 127.0.0.1, validate_answer_rrs: {}}`:          "write checks or expect beside dns",
	} {
		_, err := u.Compile(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`{name: x, address: 127.0.0.1}`:                        "udp false 127.0.0.1:53",
		`{name: x, address: "dns://127.0.0.1"}`:                "udp false 127.0.0.1:53",
		`{name: x, address: 127.0.0.1, transport: tls}`:        "tls true 127.0.0.1:853",
		`{name: x, address: 127.0.0.1, transport: https}`:      "https true 127.0.0.1:443",
		`{name: x, address: "tls://[::1]"}`:                    "tls true [::1]:853",
		`{name: x, address: "https://localhost/q"}`:            "https true localhost:443",
		`{name: x, address: "127.0.0.1:5353", transport: tcp}`: "tcp false 127.0.0.1:5353",
	} {
		s, err := u.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := s.(*step).key.Name; got != want {
			t.Errorf("%s goes to %s, want %s", text, got, want)
		}
	}
}

// TestPointersThatLeadToPointers are followed as often as a name may need it, and no more: a message has room for thousands of
// records whose names go through thousands of them.
func TestPointersThatLeadToPointers(t *testing.T) {
	const label = headLength // where the last of them leads
	chain := append(make([]byte, label), 1, 'a', 0)
	last := label
	for range 1000 {
		at := len(chain)
		chain = append(chain, 0xc0|byte(last>>8), byte(last))
		last = at
	}
	pointers := func(n int) int { return label + 3 + 2*(n-1) }
	if name, _, err := appendName(nil, chain, pointers(127)); err != nil || string(name) != "a." {
		t.Errorf("through 127 pointers: %q, %v", name, err)
	}
	if name, _, err := appendName(nil, chain, pointers(128)); err == nil {
		t.Errorf("through 128 pointers: %q, want an error", name)
	}
}

// FuzzMessage reads whatever a server may answer. Where dnsmessage can read it too, it finds the same records.
func FuzzMessage(f *testing.F) {
	query := []byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04shop\x07example\x00\x00\x01\x00\x01")
	f.Add([]byte(nil), uint8(0), uint8(0), uint8(0))
	for _, h := range hostile {
		c := append(h.counts, 0, 0, 0)
		f.Add([]byte(h.rest), c[0], c[1], c[2])
	}
	f.Add([]byte("\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04abcd\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x01\x00\x09\x00\x01\x04mail\xc0\x0c"), uint8(2), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, rest []byte, answersCount, authorities, additionals uint8) {
		msg := append(head(query, answersCount, authorities, additionals), rest...)
		if len(msg) > longest {
			return
		}
		if !answers(query, len(query), msg) {
			t.Fatal("is not taken for the answer")
		}
		a := &answer{end: len(query), msg: msg, over: overUDP}
		err := a.read(true)
		if err == nil && !gjson.ValidBytes(a.body) {
			t.Fatalf("no JSON: %s", a.body)
		}
		var m dnsmessage.Message
		theirs := m.Unpack(msg)
		if theirs == nil && err == nil {
			if n := gjson.GetBytes(a.body, "answers.#").Int(); n != int64(len(m.Answers)) {
				t.Fatalf("%d answers, dnsmessage finds %d", n, len(m.Answers))
			}
			for i, r := range m.Answers {
				if ttl := gjson.GetBytes(a.body, fmt.Sprintf("answers.%d.ttl", i)).Uint(); ttl != uint64(r.Header.TTL) {
					t.Fatalf("answer %d has the TTL %d, dnsmessage finds %d", i, ttl, r.Header.TTL)
				}
			}
		}
		if b := (&answer{end: len(query), msg: msg, over: overUDP}); (b.read(false) == nil) != (err == nil) {
			t.Fatal("what is read depends on whether something reads it")
		}
	})
}
