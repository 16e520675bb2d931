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
	expires     time.Time // zero for never
}

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
func (j *Jar) Append(dst []byte, o *Origin, path []byte, now time.Time) []byte {
	empty := true
	for i := range j.cookies {
		c := &j.cookies[i]
		if c.secure && !trusted(o) || !c.expires.IsZero() && !c.expires.After(now) || !c.fits(o.Host) || !pathMatches(path, c.path) {
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

// parseCookie reads a Set-Cookie field (sections 5.2 and 5.3).
func parseCookie(field []byte, o *Origin, path []byte, now time.Time) (c cookie, ok bool) {
	pair, attributes, _ := bytes.Cut(field, []byte(";"))
	name, value, ok := bytes.Cut(pair, []byte("="))
	name, value = trim(name), trim(value)
	if !ok || !isToken(name) || !isCookieValue(value) || len(name)+len(value) > maxCookie {
		return c, false
	}
	c = cookie{
		name: string(name), value: string(value),
		domain: strings.ToLower(o.Host), exact: true, path: defaultPath(path),
	}
	aged := false // Max-Age overrides Expires
	for len(attributes) > 0 {
		var attribute []byte
		attribute, attributes, _ = bytes.Cut(attributes, []byte(";"))
		key, value, _ := bytes.Cut(attribute, []byte("="))
		key, value = trim(key), trim(value)
		switch {
		case equalFold(key, "Secure"):
			c.secure = true
		case equalFold(key, "Path"):
			if c.path = defaultPath(path); len(value) > 0 && value[0] == '/' {
				c.path = string(value)
			}
		case equalFold(key, "Domain"):
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
	return c, !c.secure || trusted(o)
}

// narrow sets the cookie's domain, which must be the host or a domain above it,
// and reports whether it is. Hosts cannot share a domain of a single label.
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
	return err != nil && strings.Contains(domain, ".") && !strings.HasSuffix(domain, ".") && c.fits(host)
}

// defaultPath returns the request's path up to but without its last slash (section 5.1.4).
func defaultPath(path []byte) string {
	i := bytes.LastIndexByte(path, '/')
	if i <= 0 || path[0] != '/' {
		return "/"
	}
	return string(path[:i])
}

// isCookieValue reports whether a value may stand in a header field.
func isCookieValue(p []byte) bool {
	for _, c := range p {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// parseExpires reads the forms of a date that servers send.
func parseExpires(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC1123, "Mon, 02-Jan-2006 15:04:05 MST", time.RFC850, time.ANSIC} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}
