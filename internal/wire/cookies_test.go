package wire

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestCookies(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	shop := Origin{TLS: true, Host: "Shop.example.com"}
	for _, c := range []struct {
		name   string
		from   Origin
		fields []string // set by an answer to /a/b
		to     Origin
		path   string
		later  time.Duration
		want   string // of the Cookie field
	}{
		{"comes back", shop, []string{"a=1"}, shop, "/a/c", 0, "a=1"},
		{"empty value", shop, []string{"a="}, shop, "/a/c", 0, "a="},
		{"value in quotes stays in quotes", shop, []string{`a="1 2"`}, shop, "/a/c", 0, `a="1 2"`},
		{"value with equal signs", shop, []string{"a=b=c=="}, shop, "/a/c", 0, "a=b=c=="},
		{"replaced", shop, []string{"a=1", "b=2", "a=3"}, shop, "/a/c", 0, "a=3; b=2"},
		{"default path is the request's folder", shop, []string{"a=1"}, shop, "/", 0, ""},
		{"path", shop, []string{"a=1; Path=/x"}, shop, "/x/y", 0, "a=1"},
		{"path ends at a slash", shop, []string{"a=1; Path=/x"}, shop, "/xy", 0, ""},
		{"longer paths first", shop, []string{"a=1; Path=/", "b=2; Path=/x", "c=3; Path=/"}, shop, "/x", 0, "b=2; a=1; c=3"},
		{"path that is none", shop, []string{"a=1; Path=x"}, shop, "/a/", 0, "a=1"},
		{"other host", shop, []string{"a=1; Path=/"}, Origin{TLS: true, Host: "example.com"}, "/", 0, ""},
		{"host below", shop, []string{"a=1; Path=/"}, Origin{TLS: true, Host: "x.shop.example.com"}, "/", 0, ""},
		{"domain", shop, []string{"a=1; Path=/; Domain=.Example.com"}, Origin{TLS: true, Host: "www.example.com"}, "/", 0, "a=1"},
		{"domain is not a suffix of text", shop, []string{"a=1; Path=/; Domain=example.com"}, Origin{TLS: true, Host: "badexample.com"}, "/", 0, ""},
		{"domain of others", shop, []string{"a=1; Path=/; Domain=example.org"}, shop, "/", 0, ""},
		{"domain of everybody", shop, []string{"a=1; Path=/; Domain=com"}, shop, "/", 0, ""},
		{"address as domain", Origin{Host: "127.0.0.1"}, []string{"a=1; Path=/; Domain=127.0.0.1"}, Origin{Host: "127.0.0.1"}, "/", 0, "a=1"},
		{"part of an address as domain", Origin{Host: "127.0.0.1"}, []string{"a=1; Path=/; Domain=0.0.1"}, Origin{Host: "127.0.0.1"}, "/", 0, ""},
		{"secure", shop, []string{"a=1; Path=/; Secure"}, shop, "/", 0, "a=1"},
		{"secure is not sent in the clear", shop, []string{"a=1; Path=/; Secure"}, Origin{Host: "shop.example.com"}, "/", 0, ""},
		{"secure is not taken in the clear", Origin{Host: "shop.example.com"}, []string{"a=1; Path=/; Secure"}, shop, "/", 0, ""},
		{"secure on this machine", Origin{Host: "127.0.0.1"}, []string{"a=1; Path=/; Secure"}, Origin{Host: "127.0.0.1"}, "/", 0, "a=1"},
		{"max-age", shop, []string{"a=1; Path=/; Max-Age=10"}, shop, "/", 9 * time.Second, "a=1"},
		{"max-age is over", shop, []string{"a=1; Path=/; Max-Age=10"}, shop, "/", 10 * time.Second, ""},
		{"max-age before expires", shop, []string{"a=1; Path=/; Max-Age=10; Expires=Mon, 23 Nov 2026 11:00:00 GMT"}, shop, "/", 0, "a=1"},
		{"expires", shop, []string{"a=1; Path=/; Expires=Mon, 23 Nov 2026 13:00:00 GMT"}, shop, "/", 59 * time.Minute, "a=1"},
		{"expires with dashes", shop, []string{"a=1; Path=/; Expires=Mon, 23-Nov-2026 13:00:00 GMT"}, shop, "/", 61 * time.Minute, ""},
		{"deleted", shop, []string{"a=1; Path=/", "b=2; Path=/", "a=; Path=/; Max-Age=0"}, shop, "/", 0, "b=2"},
		{"domain of a registry", Origin{TLS: true, Host: "shop.example.co.uk"}, []string{"a=1; Path=/; Domain=co.uk"}, Origin{TLS: true, Host: "shop.example.co.uk"}, "/", 0, ""},
		{"domain below a registry", Origin{TLS: true, Host: "shop.example.co.uk"}, []string{"a=1; Path=/; Domain=example.co.uk"}, Origin{TLS: true, Host: "example.co.uk"}, "/", 0, "a=1"},
		{"same-site none without secure", shop, []string{"a=1; Path=/; SameSite=None", "b=1; Path=/; SameSite=None; Secure", "c=1; Path=/; SameSite=strict", "d=1; Path=/; SameSite=odd"}, shop, "/", 0, "b=1; c=1; d=1"},
		{"no name", shop, []string{"=1; Path=/"}, shop, "/", 0, ""},
		{"no pair", shop, []string{"a; Path=/"}, shop, "/", 0, ""},
		{"line end in the value", shop, []string{"a=1\r\nX: y; Path=/"}, shop, "/", 0, ""},
		{"too long", shop, []string{"a=" + strings.Repeat("x", 5000) + "; Path=/"}, shop, "/", 0, ""},
	} {
		var j Jar
		for _, field := range c.fields {
			j.Set([]byte(field), &c.from, []byte("/a/b"), now)
		}
		want := c.want
		if want != "" {
			want = "Cookie: " + want + "\r\n"
		}
		if got := string(j.Append(nil, &c.to, []byte(c.path), WithinSite, now.Add(c.later))); got != want {
			t.Errorf("%s: Append = %q, want %q", c.name, got, want)
		}
	}
}

func TestJarIsBounded(t *testing.T) {
	var j Jar
	o := Origin{Host: "localhost"}
	for i := range 1000 {
		j.Set([]byte("c"+strconv.Itoa(i)+"=v"), &o, []byte("/"), time.Now())
	}
	if n := j.Len(); n != maxCookies {
		t.Errorf("Len() = %d after 1000 cookies, want %d", n, maxCookies)
	}
	j.Clear()
	if got := j.Append(nil, &o, []byte("/"), WithinSite, time.Now()); len(got) > 0 || j.Len() != 0 {
		t.Errorf("after Clear: %q", got)
	}
}

// What has expired makes room before what is alive (RFC 6265 section 5.3).
func TestAFullJarForgetsWhatHasExpiredFirst(t *testing.T) {
	var j Jar
	o := &Origin{TLS: true, Host: "shop.example.com"}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	j.Set([]byte("session=1; Path=/account"), o, []byte("/"), now)
	for i := range maxCookies - 1 {
		j.Set([]byte("brief"+strconv.Itoa(i)+"=1; Path=/; Max-Age=1"), o, []byte("/"), now)
	}
	now = now.Add(time.Minute)
	j.Set([]byte("last=2; Path=/"), o, []byte("/"), now)
	if got := string(j.Append(nil, o, []byte("/account"), WithinSite, now)); got != "Cookie: session=1; last=2\r\n" {
		t.Errorf("sent %q, want the session and the last cookie", got)
	}
}

func TestSendingCookiesAllocatesNothing(t *testing.T) {
	var j Jar
	o, path, now, dst := &Origin{Host: "shop.example.com"}, []byte("/a"), time.Now(), make([]byte, 0, 100)
	j.Set([]byte("a=1; Domain=example.com; Path=/; Max-Age=100"), o, path, now)
	if n := testing.AllocsPerRun(100, func() { dst = j.Append(dst[:0], o, path, WithinSite, now) }); n > 0 {
		t.Errorf("Append allocates %v times, want 0", n)
	}
}

// FuzzCookie compares with net/http: a cookie that both take is sent back alike.
func FuzzCookie(f *testing.F) {
	for _, field := range []string{
		"a=1", "a=1; Path=/a", "a=1; Domain=example.com", "a=1; Max-Age=5; Secure; HttpOnly; SameSite=Lax", `a="x"`,
		"a=1; Expires=Mon, 23 Nov 2030 13:00:00 GMT", "a=b=c; path=/; domain=.shop.example.com", "a=1; Max-Age=-1", "=", ";", "a=1;;",
	} {
		f.Add(field, "/a/b")
	}
	f.Fuzz(func(t *testing.T, field, path string) {
		u, err := url.Parse("https://shop.example.com")
		if err != nil {
			t.Fatal(err)
		}
		if u.Path = path; !strings.HasPrefix(path, "/") || u.EscapedPath() != path {
			return
		}
		o, now := &Origin{TLS: true, Host: "shop.example.com"}, time.Now()
		var ours Jar
		ours.Set([]byte(field), o, []byte(path), now)
		got := string(ours.Append(nil, o, []byte(path), WithinSite, now))
		if strings.ContainsAny(strings.TrimSuffix(got, "\r\n"), "\r\n\x00") {
			t.Fatalf("%q makes a field with a line end: %q", field, got)
		}
		parsed, err := http.ParseSetCookie(field)
		if err != nil || ours.Len() == 0 || len(parsed.Unparsed) > 0 || strings.ContainsAny(parsed.Value, " ,") {
			return // net/http gave up on a part of it, or puts a value with these into quotes that it did not have
		}
		theirs, _ := cookiejar.New(nil)
		theirs.SetCookies(u, []*http.Cookie{parsed})
		request := http.Request{Header: http.Header{}, URL: u}
		for _, c := range theirs.Cookies(u) {
			request.AddCookie(c)
		}
		want := ""
		if v := request.Header.Get("Cookie"); v != "" {
			want = "Cookie: " + v + "\r\n"
		}
		if got != want {
			t.Errorf("%q on %q comes back as %q, by net/http as %q", field, path, got, want)
		}
	})
}

// A redirect from another site carries no Strict cookies, and Lax ones with GET and HEAD only.
func TestCookiesAcrossSites(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	shop := Origin{TLS: true, Host: "shop.example.com"}
	var j Jar
	for _, field := range []string{"open=1; Path=/", "none=1; Path=/; SameSite=None; Secure", "lax=1; Path=/; SameSite=Lax", "strict=1; Path=/; SameSite=Strict"} {
		j.Set([]byte(field), &shop, []byte("/"), now)
	}
	for _, c := range []struct {
		from   Origin
		method string
		want   string
	}{
		{Origin{TLS: true, Host: "shop.example.com", Port: 8443}, "POST", "open=1; none=1; lax=1; strict=1"},
		{Origin{TLS: true, Host: "login.Example.com."}, "POST", "open=1; none=1; lax=1; strict=1"},
		{Origin{TLS: true, Host: "example.org"}, "GET", "open=1; none=1; lax=1"},
		{Origin{TLS: true, Host: "example.org"}, "HEAD", "open=1; none=1; lax=1"},
		{Origin{TLS: true, Host: "example.org"}, "POST", "open=1; none=1"},
		{Origin{TLS: true, Host: "com"}, "POST", "open=1; none=1"},
		{Origin{Host: "shop.example.com"}, "PUT", "open=1; none=1"}, // another scheme is another site
		{Origin{TLS: true, Host: "127.0.0.1"}, "PUT", "open=1; none=1"},
	} {
		if got := string(j.Append(nil, &shop, []byte("/"), CrossingOf(&c.from, &shop, c.method), now)); got != "Cookie: "+c.want+"\r\n" {
			t.Errorf("%s by way of %v: %q, want %q", c.method, c.from, got, c.want)
		}
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{{"a.github.io", "b.github.io", false}, {"a.example.co.uk", "b.example.co.uk", true}, {"a.co.uk", "b.co.uk", false}, {"localhost", "localhost", true}, {"10.0.0.1", "10.0.1.1", false}} {
		if got := CrossingOf(&Origin{Host: c.a}, &Origin{Host: c.b}, "POST") == WithinSite; got != c.same {
			t.Errorf("%s and %s are one site: %v, want %v", c.a, c.b, got, c.same)
		}
	}
}
