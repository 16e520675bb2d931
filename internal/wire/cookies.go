package wire

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a Jar, those of RFC 6265 section 6.1.
const (
	maxCookie  = 4096 // bytes of name and value
	maxCookies = 50   // of one jar; beyond it each new cookie replaces another
)

// trusted reports whether Secure cookies may be sent to and set by an origin:
// over TLS, or on loopback as in browsers.
func trusted(o *Origin) bool {
	if o.TLS || strings.EqualFold(o.Host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(o.Host)
	return err == nil && addr.IsLoopback()
}

// A Jar keeps the cookies of one VU (RFC 6265). Its zero value is empty and
// allocates nothing until the first cookie.
type Jar struct {
	cookies []cookie // in the order of section 5.4: longer paths first, then older cookies
}

type cookie struct {
	name, value string
	domain      string // lower case, without a leading dot
	path        string
	exact       bool // for the host domain only, not for those below it
	secure      bool
	site        sameSite
	expires     time.Time // zero for never
}

// A sameSite is the attribute SameSite of a cookie.
type sameSite uint8

const (
	siteOpen   sameSite = iota // None, or nothing that is known
	siteLax                    // not sent across sites but with GET and HEAD
	siteStrict                 // not sent across sites
)

// Len returns the number of cookies, including those that have expired since they were set.
func (j *Jar) Len() int { return len(j.cookies) }

// Clear forgets all cookies.
func (j *Jar) Clear() {
	clear(j.cookies)
	j.cookies = j.cookies[:0]
}

// Set keeps the cookie of one Set-Cookie field of an answer to a request for the
// path. A cookie that breaks the rules is ignored.
func (j *Jar) Set(field []byte, o *Origin, path []byte, now time.Time) {
	c, ok := parseCookie(field, o, path, now)
	if !ok {
		return
	}
	i := slices.IndexFunc(j.cookies, func(have cookie) bool {
		return have.name == c.name && have.domain == c.domain && have.path == c.path
	})
	gone := !c.expires.IsZero() && !c.expires.After(now)
	switch {
	case i >= 0 && gone:
		j.cookies = slices.Delete(j.cookies, i, i+1)
	case i >= 0:
		j.cookies[i] = c // keeps its place, as section 5.3 keeps the creation time
	case !gone:
		if len(j.cookies) >= maxCookies { // those that have expired go first
			j.cookies = slices.DeleteFunc(j.cookies, func(have cookie) bool { return !have.expires.IsZero() && !have.expires.After(now) })
		}
		if len(j.cookies) >= maxCookies {
			j.cookies = slices.Delete(j.cookies, 0, 1)
		}
		at := slices.IndexFunc(j.cookies, func(have cookie) bool { return len(have.path) < len(c.path) })
		if at < 0 {
			at = len(j.cookies)
		}
		j.cookies = slices.Insert(j.cookies, at, c)
	}
}

// Append appends the Cookie field of a request for a path, with its line end, unless no cookie fits.
func (j *Jar) Append(dst []byte, o *Origin, path []byte, by Crossing, now time.Time) []byte {
	empty := true
	for i := range j.cookies {
		c := &j.cookies[i]
		if !c.sent(o, now) || !c.crosses(by) || !pathMatches(path, c.path) {
			continue
		}
		if empty {
			dst = append(dst, "Cookie: "...)
			empty = false
		} else {
			dst = append(dst, "; "...)
		}
		dst = append(dst, c.name...)
		dst = append(dst, '=')
		dst = append(dst, c.value...)
	}
	if !empty {
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// Get returns the value of a cookie for the host of an origin, whatever path it is for; of those of one name, that for
// the longest path.
func (j *Jar) Get(name string, o *Origin, now time.Time) (value string, ok bool) {
	for i := range j.cookies {
		if c := &j.cookies[i]; c.name == name && c.sent(o, now) {
			return c.value, true
		}
	}
	return "", false
}

// sent reports whether requests to an origin are sent with the cookie, where their path fits.
func (c *cookie) sent(o *Origin, now time.Time) bool {
	return (!c.secure || trusted(o)) && (c.expires.IsZero() || c.expires.After(now)) && c.fits(o.Host)
}

// crosses reports whether the cookie goes with a request that was led across sites.
func (c *cookie) crosses(by Crossing) bool {
	return by == WithinSite || c.site == siteOpen || c.site == siteLax && by == AcrossSites
}

// fits reports whether the cookie is for a host.
func (c *cookie) fits(host string) bool {
	if strings.EqualFold(host, c.domain) {
		return true
	}
	below := len(host) - len(c.domain)
	return !c.exact && below > 0 && host[below-1] == '.' && strings.EqualFold(host[below:], c.domain)
}

// pathMatches reports whether a path equals another one or is below it (section 5.1.4).
func pathMatches(path []byte, of string) bool {
	return len(path) >= len(of) && string(path[:len(of)]) == of &&
		(len(path) == len(of) || of[len(of)-1] == '/' || path[len(of)] == '/')
}

// parseCookie reads a Set-Cookie field (sections 5.2 and 5.3). One with a control
// character is none, wherever that stands (RFC 6265bis, section 5.6).
func parseCookie(field []byte, o *Origin, path []byte, now time.Time) (c cookie, ok bool) {
	if !isCookieText(field) {
		return c, false
	}
	pair, attributes, _ := bytes.Cut(field, []byte(";"))
	name, value, ok := bytes.Cut(pair, []byte("="))
	name, value = trim(name), trim(value)
	if !ok || len(name) == 0 || len(name)+len(value) > maxCookie {
		return c, false
	}
	c = cookie{
		name: string(name), value: string(value),
		domain: strings.ToLower(o.Host), exact: true, path: defaultPath(path),
	}
	aged := false // Max-Age overrides Expires
	none := false // SameSite=None
	rooted, narrowed := false, false
	for len(attributes) > 0 {
		var attribute []byte
		attribute, attributes, _ = bytes.Cut(attributes, []byte(";"))
		key, value, _ := bytes.Cut(attribute, []byte("="))
		key, value = trim(key), trim(value)
		switch {
		case equalFold(key, "Secure"):
			c.secure = true
		case equalFold(key, "SameSite"):
			c.site, none = siteOpen, equalFold(value, "None")
			if equalFold(value, "Lax") {
				c.site = siteLax
			} else if equalFold(value, "Strict") {
				c.site = siteStrict
			}
		case equalFold(key, "Path"):
			if c.path = defaultPath(path); len(value) > 0 && value[0] == '/' {
				c.path = string(value)
			}
			rooted = c.path == "/"
		case equalFold(key, "Domain"):
			narrowed = len(value) > 0
			if !c.narrow(strings.ToLower(strings.TrimPrefix(string(value), ".")), o.Host) {
				return c, false
			}
		case equalFold(key, "Max-Age"):
			if seconds, err := strconv.ParseInt(string(value), 10, 64); err == nil {
				aged = true
				c.expires = now.Add(time.Duration(min(max(seconds, -1), 1<<31)) * time.Second)
			}
		case equalFold(key, "Expires") && !aged:
			if at, ok := parseExpires(string(value)); ok {
				c.expires = at
			}
		}
	}
	// What SameSite=None and the prefixes of names promise (RFC 6265bis, sections 5.7 and 4.1.3).
	switch {
	case none && !c.secure,
		hasPrefixFold(c.name, "__Secure-") && !c.secure,
		hasPrefixFold(c.name, "__Host-") && (!c.secure || !rooted || narrowed):
		return c, false
	}
	return c, !c.secure || trusted(o)
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// narrow sets the cookie's domain, which must be the host or a domain above it,
// and reports whether it is. Hosts cannot share a domain of a single label, or one that anybody registers names in.
func (c *cookie) narrow(domain, host string) bool {
	if domain == "" {
		return true
	}
	if strings.EqualFold(domain, host) {
		_, err := netip.ParseAddr(host)
		c.exact = err == nil || !strings.Contains(domain, ".")
		return true
	}
	c.domain, c.exact = domain, false
	_, err := netip.ParseAddr(host)
	return err != nil && strings.Contains(domain, ".") && !strings.HasSuffix(domain, ".") && !isPublicSuffix(domain) && c.fits(host)
}

// defaultPath returns the request's path up to but without its last slash (section 5.1.4).
func defaultPath(path []byte) string {
	i := bytes.LastIndexByte(path, '/')
	if i <= 0 || path[0] != '/' {
		return "/"
	}
	return string(path[:i])
}

// isCookieText reports whether a name or value may stand in a header field. Names
// need not be tokens (section 5.2).
func isCookieText(p []byte) bool {
	for _, c := range p {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// parseExpires reads a date as section 5.1.1 does: the first tokens that look like
// a time, a day, a month and a year, in whatever order and between whatever else.
func parseExpires(s string) (time.Time, bool) {
	var hour, minute, second, day, month, year int
	var timed, dayed, monthed, yeared bool
	for _, token := range strings.FieldsFunc(s, isDateDelimiter) {
		if h, m, sec, ok := clockOf(token); ok && !timed {
			hour, minute, second, timed = h, m, sec, true
			continue
		}
		if n, digits := leadingNumber(token); digits >= 1 && digits <= 2 && !dayed {
			day, dayed = n, true
			continue
		}
		if n := monthOf(token); n > 0 && !monthed {
			month, monthed = n, true
			continue
		}
		if n, digits := leadingNumber(token); digits >= 2 && digits <= 4 && !yeared {
			year, yeared = n, true
		}
	}
	switch {
	case year >= 70 && year <= 99:
		year += 1900
	case year >= 0 && year <= 69:
		year += 2000
	}
	if !timed || !dayed || !monthed || !yeared || year < 1601 || hour > 23 || minute > 59 || second > 59 || day < 1 {
		return time.Time{}, false
	}
	at := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	return at, at.Day() == day // the 30th of February is none
}

// isDateDelimiter reports whether a character divides the tokens of a date.
func isDateDelimiter(r rune) bool {
	return r == '\t' || r >= 0x20 && r <= 0x2f || r >= 0x3b && r <= 0x40 || r >= 0x5b && r <= 0x60 || r >= 0x7b && r <= 0x7e
}

// leadingNumber returns the number that a token begins with, and of how many digits it is.
func leadingNumber(token string) (n, digits int) {
	for digits < len(token) && digits < 5 && '0' <= token[digits] && token[digits] <= '9' {
		n = 10*n + int(token[digits]-'0')
		digits++
	}
	return n, digits
}

// clockOf reads a token that begins with a time such as 9:05:00.
func clockOf(token string) (hour, minute, second int, ok bool) {
	parts := strings.SplitN(token, ":", 3)
	if len(parts) < 3 {
		return 0, 0, 0, false
	}
	var n [3]int
	for i, part := range parts {
		var digits int
		n[i], digits = leadingNumber(part)
		if digits < 1 || digits > 2 || i < 2 && digits != len(part) {
			return 0, 0, 0, false
		}
	}
	return n[0], n[1], n[2], true
}

var months = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// monthOf returns the month that a token begins with, 0 for none.
func monthOf(token string) int {
	if len(token) < 3 {
		return 0
	}
	return slices.Index(months, strings.ToLower(token[:3])) + 1
}
