package wire

import (
	"testing"
	"time"
)

// What RFC 6265 section 5.1.1 makes of dates; the cases are ours.
func TestDatesOfCookies(t *testing.T) {
	at := func(year, month, day, hour, minute, second int) time.Time {
		return time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	}
	for text, want := range map[string]time.Time{
		"Wed, 09 Jun 2027 10:18:14 GMT":     at(2027, 6, 9, 10, 18, 14),
		"Wednesday, 09-Jun-27 10:18:14 GMT": at(2027, 6, 9, 10, 18, 14),
		"Wed Jun  9 10:18:14 2027":          at(2027, 6, 9, 10, 18, 14),
		"Wed, 09-Jun-2027 10:18:14 GMT":     at(2027, 6, 9, 10, 18, 14),
		"9 june 2027 1:2:3":                 at(2027, 6, 9, 1, 2, 3),
		"2027 Jun 9 10:18:14":               at(2027, 6, 9, 10, 18, 14),
		"10:18:14 9/Jun/99":                 at(1999, 6, 9, 10, 18, 14),
		"Thu, 01 Jan 1970 00:00:00 UTC":     at(1970, 1, 1, 0, 0, 0),
		"31 dec 69 23:59:59 +0200":          at(2069, 12, 31, 23, 59, 59),
		"9th Jun 2027 10:18:14.5":           at(2027, 6, 9, 10, 18, 14),
		"Wed, 30 Feb 2027 10:18:14 GMT":     {},
		"Wed, 09 Jun 2027 24:18:14 GMT":     {},
		"Wed, 09 Jun 2027 10:60:14 GMT":     {},
		"Wed, 09 Jun 2027":                  {},
		"Wed, 09 Jun 1600 10:18:14 GMT":     {},
		"tomorrow":                          {},
		"":                                  {},
	} {
		got, ok := parseExpires(text)
		if ok == want.IsZero() || ok && !got.Equal(want) {
			t.Errorf("%q = %v, %v, want %v", text, got, ok, want)
		}
	}
}

func TestNamesOfCookies(t *testing.T) {
	tls, plain := Origin{TLS: true, Host: "shop.test"}, Origin{Host: "shop.test"}
	for _, c := range []struct {
		field string
		o     *Origin
		want  string
	}{
		{"user[id]=1", &plain, "Cookie: user[id]=1\r\n"},
		{"sess:x=a b", &plain, "Cookie: sess:x=a b\r\n"},
		{"a/b@c=1", &plain, "Cookie: a/b@c=1\r\n"},
		{" spaced name = 1 ", &plain, "Cookie: spaced name=1\r\n"},
		{"gr\u00fcn=1", &plain, "Cookie: gr\u00fcn=1\r\n"},
		{"=1", &plain, ""},
		{"a\x01=1", &plain, ""},
		{"__Secure-a=1", &tls, ""},
		{"__Secure-a=1; Secure", &tls, "Cookie: __Secure-a=1\r\n"},
		{"__secure-a=1; Secure", &plain, ""},
		{"__Host-a=1; Secure; Path=/", &tls, "Cookie: __Host-a=1\r\n"},
		{"__Host-a=1; Secure; Path=/x", &tls, ""},
		{"__Host-a=1; Secure", &tls, ""},
		{"__Host-a=1; Secure; Path=/; Domain=shop.test", &tls, ""},
	} {
		var j Jar
		j.Set([]byte(c.field), c.o, []byte("/"), time.Now())
		if got := string(j.Append(nil, c.o, []byte("/"), WithinSite, time.Now())); got != c.want {
			t.Errorf("%s becomes %q, want %q", c.field, got, c.want)
		}
	}
}
