package http

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// request is what a server saw of one.
type request struct {
	method, host, target, body string
	header                     http.Header
}

// recording serves answers and notes what was asked for.
func recording(t testing.TB, seen *[]request, answer http.HandlerFunc) string {
	return serve(t, func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		*seen = append(*seen, request{q.Method, q.Host, q.RequestURI, string(body), q.Header})
		if answer != nil {
			answer(w, q)
		}
	})
}

func TestTheWireHoldsNothingElse(t *testing.T) {
	got := make(chan string, 1)
	base := each(t, func(c net.Conn) {
		p := make([]byte, 4096)
		n, _ := c.Read(p)
		got <- string(p[:n])
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	host := strings.TrimPrefix(base, "http://")
	r := newRig(t, base)
	r.scope.Set(r.symbols.Declare("v", expr.String), expr.Str("1"))
	const others = "\r\nUser-Agent: perfd/test\r\nX-Perfd: scenario/run\r\n"
	const own = others + "traceparent: 00-00000000000000000000000000000000-0000000000000000-00\r\n"
	for _, c := range []struct{ yaml, want string }{
		{`{url: "/a?b#c"}`, ""},
		{`{url: "/a?b"}`, "GET /a?b HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{`{url: "", gzip: true}`, "GET / HTTP/1.1\r\nHost: " + host + own + "Accept-Encoding: gzip\r\n\r\n"},
		{`{url: "?a=b"}`, "GET /?a=b HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{`{url: /, headers: {host: shop.test, A: "${v}", B: b}}`, "GET / HTTP/1.1\r\nhost: shop.test" + own + "A: 1\r\nB: b\r\n\r\n"},
		{`{url: /, headers: {TraceParent: mine}}`, "GET / HTTP/1.1\r\nHost: " + host + others + "TraceParent: mine\r\n\r\n"},
		{`{url: /, method: POST}`, "POST / HTTP/1.1\r\nHost: " + host + own + "Content-Length: 0\r\n\r\n"},
		{`{url: /, method: purge}`, "purge / HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{`{url: /, method: PROPFIND, body: x}`, "PROPFIND / HTTP/1.1\r\nHost: " + host + own + "Content-Length: 1\r\n\r\nx"},
		{`{url: /, method: M-SEARCH}`, "M-SEARCH / HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{`{url: /, method: patch}`, "PATCH / HTTP/1.1\r\nHost: " + host + own + "Content-Length: 0\r\n\r\n"},
		{`{url: "/login?return=http://127.0.0.1:9/home"}`, "GET /login?return=http://127.0.0.1:9/home HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{`{url: "/proxy/https://shop.test/x"}`, "GET /proxy/https://shop.test/x HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{`{url: "?to=ftp://a"}`, "GET /?to=ftp://a HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{`{url: /, query: {id: [1, "${v}", a b], n: 2, none: []}}`, "GET /?id=1&id=1&id=a+b&n=2 HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{`{url: "/?a=0", query: {a: [true, 2]}}`, "GET /?a=0&a=true&a=2 HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{
			`{url: /, form: {none: [], topping: [a, "b&c"], size: l}}`,
			"POST / HTTP/1.1\r\nHost: " + host + own + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 30\r\n\r\ntopping=a&topping=b%26c&size=l",
		},
		{`{url: /, headers: {User-Agent: mine}}`, "GET / HTTP/1.1\r\nHost: " + host + "\r\nX-Perfd: scenario/run\r\ntraceparent: 00-00000000000000000000000000000000-0000000000000000-00\r\nUser-Agent: mine\r\n\r\n"},
		{`{url: /, gzip: true, headers: {accept-encoding: br}}`, "GET / HTTP/1.1\r\nHost: " + host + own + "accept-encoding: br\r\n\r\n"},
		{`{url: /, method: DELETE}`, "DELETE / HTTP/1.1\r\nHost: " + host + own + "\r\n"},
		{`{url: /, body: ""}`, "POST / HTTP/1.1\r\nHost: " + host + own + "Content-Length: 0\r\n\r\n"},
		{`{url: /, json: {a: 1}}`, "POST / HTTP/1.1\r\nHost: " + host + own + "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}"},
		{
			`{url: /, json: {a: 1}, headers: {content-type: application/x}}`,
			"POST / HTTP/1.1\r\nHost: " + host + own + "content-type: application/x\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
		},
	} {
		s, err := r.compile(c.yaml)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s compiles", c.yaml)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.yaml, err)
			continue
		}
		if call := r.do(s, 10*time.Second); call.Err != nil {
			t.Errorf("%s: %v", c.yaml, call.Err)
		}
		if diff := cmp.Diff(c.want, <-got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.yaml, diff)
		}
	}
}

func TestValuesCannotLeaveTheirPlace(t *testing.T) { overEach(t, testValuesCannotLeaveTheirPlace) }

func testValuesCannotLeaveTheirPlace(t *testing.T) {
	var seen []request
	r := newRig(t, recording(t, &seen, nil))
	v := r.symbols.Declare("v", expr.String)
	for _, c := range []struct{ yaml, value, target string }{
		{`{url: "/a/${v}/b"}`, "../x?y#z%", "/a/..%2Fx%3Fy%23z%25/b"},
		{`{url: "/a/${v}"}`, "é b\r\nX: y", "/a/%C3%A9%20b%0D%0AX:%20y"},
		{`{url: "/a?q=${v}&n=1"}`, "x&y=z +%#", "/a?q=x%26y%3Dz+%2B%25%23&n=1"},
		{`{url: "/${v == '' ? 'a' : v}", query: {"a b": "${v}", c: "d e"}}`, "?&", "/%3F&?a+b=%3F%26&c=d+e"},
		{`{url: "/a?x", query: {q: "${v}"}}`, "1", "/a?x&q=1"},
	} {
		r.scope.Set(v, expr.Str(c.value))
		seen = nil
		if call := r.get(c.yaml); call.Err != nil || len(seen) != 1 || seen[0].target != c.target {
			t.Errorf("%s with %q: %v, %+v; want %s", c.yaml, c.value, call.Err, seen, c.target)
		}
	}
	for _, value := range []string{"a\r\nX: y", "a\nb", "a\rb", "a\x00b"} {
		r.scope.Set(v, expr.Str(value))
		seen = nil
		call := r.get(`{url: /, headers: {X-A: "${v}"}}`)
		if call.Result.Cause != load.Input || call.Err == nil || len(seen) > 0 || call.Result.Done < call.Result.Sent {
			t.Errorf("header value %q: cause %v (%v), %d requests; want it refused", value, call.Result.Cause, call.Err, len(seen))
		}
	}
	r.scope.Set(v, expr.Str("fine"))
	if call := r.get(`{url: /, headers: {X-A: "${v}"}}`); call.Err != nil {
		t.Errorf("the request after: %v", call.Err)
	}
}

// A request that lacks a value is not sent: not half of it, and not with empty text in its place.
func TestARequestThatLacksAValueIsNotSent(t *testing.T) {
	var seen []request
	r := newRig(t, recording(t, &seen, nil))
	r.scope.Set(r.symbols.Declare("row", expr.Object), expr.FromJSON(`{"name":"x"}`))
	for _, yaml := range []string{
		`{url: "/users/${row.id}"}`, `{url: "/users?id=${row.id}"}`, `{url: /, query: {id: "${row.id}"}}`, `{url: /, query: {id: ["1", "${row.id}"]}}`,
		`{url: /, headers: {X-Id: "${row.id}"}}`, `{url: /, headers: {Host: "${row.id}"}}`, `{url: /, body: "a", headers: {Content-Type: "text/${row.id}"}}`,
		`{url: /, body: "id=${row.id}"}`, `{url: /, json: {id: "${row.id}"}}`, `{url: /, json: {id: "no ${row.id}"}}`,
		`{url: /, form: {id: "${row.id}"}}`, `{url: /, multipart: [{name: id, value: "${row.id}"}]}`,
	} {
		seen = nil
		call := r.get(yaml)
		if call.Result.Cause != load.Input || call.Err == nil || call.Err.Error() != "row.id is missing" || len(seen) > 0 || call.Result.SentBytes > 0 {
			t.Errorf("%s: cause %v (%v), %d requests of %d bytes; want cause input and none", yaml, call.Result.Cause, call.Err, len(seen), call.Result.SentBytes)
		}
		if call.Result.Done < call.Result.Sent || call.Response != nil {
			t.Errorf("%s: done %d before sent %d, or with an answer %v", yaml, call.Result.Done, call.Result.Sent, call.Response)
		}
	}
	seen = nil
	call := r.get(`{url: "/users/${row.id ?? 7}", query: {n: "${row.name}"}}`)
	if call.Err != nil || len(seen) != 1 || seen[0].target != "/users/7?n=x" {
		t.Errorf("with a default: %v, %+v", call.Err, seen)
	}
}

func TestIdentityWithALineEndIsRefused(t *testing.T) {
	r := newRig(t, serve(t, func(http.ResponseWriter, *http.Request) {}))
	r.env.Identity = func() string { return "a\r\nX: y" }
	if call := r.get(`{url: /}`); call.Result.Cause != load.Internal || call.Err == nil {
		t.Errorf("cause %v (%v), want %v", call.Result.Cause, call.Err, load.Internal)
	}
}

func TestMultipartAndFiles(t *testing.T) { overEach(t, testMultipartAndFiles) }

func testMultipartAndFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, `pi"c.bin`)
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var seen []request
	r := newRig(t, recording(t, &seen, nil))
	r.scope.Set(r.symbols.Declare("v", expr.String), expr.Str("chair"))
	quoted := strings.ReplaceAll(file, `"`, `\"`)

	if call := r.get(`{url: /, file: "` + quoted + `"}`); call.Err != nil || seen[0].body != string(content) || seen[0].header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("file: %v, %d bytes of %q", call.Err, len(seen[0].body), seen[0].header.Get("Content-Type"))
	}
	seen = nil
	call := r.get(`{url: /, multipart: [{name: title, value: "${v}"}, {name: "a\"b", file: "` + quoted + `", content_type: image/x}]}`)
	if call.Err != nil || len(seen) != 1 {
		t.Fatalf("multipart: %v, %d requests", call.Err, len(seen))
	}
	if sent := call.Result.SentBytes; sent < int64(len(content)) {
		t.Errorf("multipart: %d bytes sent, the file alone has %d", sent, len(content))
	}
	_, params, err := mime.ParseMediaType(seen[0].header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	form, err := multipart.NewReader(strings.NewReader(seen[0].body), params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	part := form.File["a%22b"]
	if got := form.Value["title"]; len(got) != 1 || got[0] != "chair" || len(part) != 1 || part[0].Filename != "pi%22c.bin" ||
		part[0].Size != int64(len(content)) || part[0].Header.Get("Content-Type") != "image/x" {
		t.Errorf("multipart arrives as %+v", form)
	}
	os.Remove(file)
	s := r.step(`{url: /, body: x}`)
	s.(*step).file = file
	if call := r.do(s, time.Second); call.Result.Cause != load.Internal || call.Err == nil {
		t.Errorf("a file that is gone: cause %v (%v), want %v", call.Result.Cause, call.Err, load.Internal)
	}
}

func TestRedirectsKeepWhatTheyShould(t *testing.T) { overEach(t, testRedirectsKeepWhatTheyShould) }

func testRedirectsKeepWhatTheyShould(t *testing.T) {
	var there []request
	away := recording(t, &there, nil)
	var here []request
	code, to := 0, ""
	base := recording(t, &here, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/from" {
			http.SetCookie(w, &http.Cookie{Name: "c", Value: "1", Path: "/"})
			w.Header().Set("Location", to)
			w.WriteHeader(code)
		}
	})
	r := newRig(t, base)
	for _, c := range []struct {
		method string
		code   int
		to     string
		want   string // method, target and body of the second request
	}{
		{"POST", 301, "/to?x=y", "GET /to?x=y "},
		{"POST", 302, "to", "GET /to "},
		{"PUT", 302, "/to", "PUT /to 7"},
		{"PUT", 303, "/to", "GET /to "},
		{"POST", 307, base + "/to#f", "POST /to 7"},
		{"POST", 308, "//" + strings.TrimPrefix(base, "http://") + "/to", "POST /to 7"},
		{"POST", 307, away + "/to", "POST /to 7"},
		{"POST", 303, away, "GET / "},
	} {
		here, there, code, to = nil, nil, c.code, c.to
		call := r.get(`{url: /from, method: ` + c.method + `, redirects: 1, body: "${random_int(7, 7)}", headers: {Authorization: secret, X-Id: "${uuid()}"}}`)
		all := append(here, there...)
		if call.Err != nil || call.Result.Code != 200 || len(all) != 2 {
			t.Errorf("%s %d to %s: %v, code %d, %d requests", c.method, c.code, c.to, call.Err, call.Result.Code, len(all))
			continue
		}
		second := all[1]
		if got := second.method + " " + second.target + " " + second.body; got != c.want {
			t.Errorf("%s %d to %s becomes %q, want %q", c.method, c.code, c.to, got, c.want)
		}
		same := len(there) == 0
		if id := second.header.Get("X-Id"); (id == all[0].header.Get("X-Id")) != same || (second.header.Get("Authorization") == "secret") != same {
			t.Errorf("%s %d to %s: fields of the configuration %v, want them only at their own origin", c.method, c.code, c.to, second.header)
		}
		if second.header.Get("X-Perfd") != "scenario/run" || second.header.Get("Cookie") != "c=1" {
			t.Errorf("%s %d to %s: fields %v, want X-Perfd and the cookie of the host", c.method, c.code, c.to, second.header)
		}
		if d := call.Response.Duration(); d != time.Duration(call.Result.Duration()) {
			t.Errorf("duration %v, want that of the whole request, %v", d, time.Duration(call.Result.Duration()))
		}
	}
	code, to = 302, "gopher://localhost/"
	if call := r.get(`{url: /from, redirects: 1}`); call.Result.Cause != load.Protocol {
		t.Errorf("a redirect to another protocol: cause %v (%v), want %v", call.Result.Cause, call.Err, load.Protocol)
	}
	to = "http://169.254.169.254/latest"
	if call := r.get(`{url: /from, redirects: 1}`); call.Result.Cause != load.Overload {
		t.Errorf("a redirect to cloud metadata: cause %v (%v), want %v", call.Result.Cause, call.Err, load.Overload)
	}
}

// Locations as browsers and curl take them.
func TestLocationsAreEncoded(t *testing.T) {
	for location, want := range map[string]string{
		"/plain?a=b":         "/plain?a=b",
		"/red lamp":          "/red%20lamp",
		"/to?q=red lamp":     "/to?q=red%20lamp",
		"/to?q=grün":         "/to?q=gr%C3%BCn",
		"/caf\xe9":           "/caf%E9",
		"/a%20b?c=%2F":       "/a%20b?c=%2F",
		"/100%?x=50%off":     "/100%25?x=50%25off",
		"/a\"b<c>|d":         "/a%22b%3Cc%3E%7Cd",
		"to?x={y}":           "/to?x=%7By%7D",
		"../up":              "/up",
		"?only=query":        "/from?only=query",
		"/tab\there":         "/tab%09here",
		"/to?u=http://a.b/c": "/to?u=http://a.b/c",
	} {
		var seen []string
		base := each(t, func(c net.Conn) {
			q, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			seen = append(seen, q.RequestURI)
			if len(seen) == 1 {
				io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: "+location+" \r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		})
		call := newRig(t, base).get(`{url: /from, redirects: 1}`)
		if call.Err != nil || call.Result.Code != 200 || len(seen) != 2 || seen[1] != want {
			t.Errorf("redirect to %q: %v, code %d, requests %q, want %s", location, call.Err, call.Result.Code, seen, want)
		}
	}
	// Without a location the answer is the last one.
	for _, field := range []string{"Location: \r\n", "Location:\r\n", ""} {
		base := each(t, func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 302 Found\r\n"+field+"Content-Length: 0\r\nConnection: close\r\n\r\n")
		})
		if call := newRig(t, base).get(`{url: /from, redirects: 1}`); call.Err != nil || call.Result.Code != 302 {
			t.Errorf("redirect with %q: %v, code %d, want the answer", field, call.Err, call.Result.Code)
		}
	}
}

func TestCookiesCanBeOff(t *testing.T) { overEach(t, testCookiesCanBeOff) }

func testCookiesCanBeOff(t *testing.T) {
	var seen []request
	r := newRig(t, recording(t, &seen, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2; Path=/other")
	}))
	for _, yaml := range []string{`{url: /x}`, `{url: /x}`, `{url: /x, cookies: false}`, `{url: /other/y}`} {
		r.get(yaml)
	}
	var got []string
	for _, q := range seen {
		got = append(got, q.header.Get("Cookie"))
	}
	if diff := cmp.Diff([]string{"", "a=1", "", "b=2; a=1"}, got); diff != "" {
		t.Errorf("cookies of four requests (-want +got):\n%s", diff)
	}
}

func TestConnectionsMayEndWithTheIteration(t *testing.T) {
	overEach(t, testConnectionsMayEndWithTheIteration)
}

func testConnectionsMayEndWithTheIteration(t *testing.T) {
	r := newRig(t, serve(t, func(http.ResponseWriter, *http.Request) {}))
	r.target = "connections: {reset: iteration}"
	s := r.step(`{url: /}`)
	for range 3 {
		r.vu.Begin()
		r.do(s, time.Second)
		r.do(s, time.Second)
	}
	if n := r.env.Connections.Opened.Load(); n != 3 {
		t.Errorf("%d connections in three iterations, want 3", n)
	}
}

// A secret in the configuration must not come out in a message about a mistake.
func TestMistakesHideSecrets(t *testing.T) {
	const secret = "s3cr3t"
	for _, text := range []string{secret, "ftp://" + secret, "http://a:" + secret + "@127.0.0.1/", "http://${" + secret + "}/"} {
		var errs block.Errors
		c := Config{URL: block.Text{S: text, Path: "url", Hidden: true}}
		c.Compile(&protocol.Compiler{Base: block.Text{S: "http://127.0.0.1"}, Symbols: expr.NewSymbols(nil), Errors: &errs})
		if err := errs.Err(); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want a message without the secret", text, err)
		}
	}
}

// A zone of an IPv6 address is for the dialer, and an address without a host is none.
func TestHostsOfAddresses(t *testing.T) {
	r := newRig(t, "http://127.0.0.1")
	for text, want := range map[string]string{
		"http://[::1]/": "[::1]", "http://[::1%25lo]/": "[::1]", "http://[::1%25lo]:8080/": "[::1]:8080", "http://localhost:8080/": "localhost:8080",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := protocol.HostField(u); got != want {
			t.Errorf("%s has the Host field %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"http://:8080/", "http:///x", "https://:443"} {
		if _, err := r.compile(`{url: "` + text + `"}`); err == nil || !strings.Contains(err.Error(), "not a URL") {
			t.Errorf("%s: %v, want a mistake", text, err)
		}
	}
	for _, location := range []string{"//:1", "http://:8080/", "http:///"} {
		at, _ := url.Parse("http://a.test/")
		h := hop{method: "GET", at: at}
		if err := h.move(302, location); wire.Classify(err) != load.Protocol {
			t.Errorf("a redirect to %q: %v, want one of protocol", location, err)
		}
	}
}
