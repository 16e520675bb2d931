package http

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// An address is where a step's requests go.
type address struct {
	origin wire.Origin
	host   string // value of the Host field
	// template is the path as it is written in the configuration, for spans; empty if it holds a secret.
	template string
	target   []segment // path and query
	asks     bool      // there is a query
}

// address compiles the url: its origin is fixed, its path and query may hold expressions.
func (c *Config) address(k *protocol.Compiler) (a address) {
	at := c.URL
	if at.Path == "" {
		return a // a missing url was reported when the block was decoded
	}
	if !whole(at.S) {
		if at.S != "" && at.S[0] != '/' && at.S[0] != '?' {
			wrong := k.Errors.Add(at.Pos, at.Path, "must begin with / or be a whole URL, got %q", at)
			if !at.Hidden {
				wrong.Hint = "write /" + at.S
			}
			return a
		}
		if k.Base.S == "" {
			return a // the target's url was reported
		}
		at.S = strings.TrimSuffix(k.Base.S, "/") + at.S
		at.Hidden = at.Hidden || k.Base.Hidden
	}
	rest, ok := a.reach(at, k)
	if !ok {
		return a
	}
	if rest == "" || rest[0] != '/' {
		rest = "/" + rest
	}
	path := at
	path.S = rest
	before := k.Errors.Len()
	t := expr.ParseTemplate(path, k.Symbols, k.Errors)
	if k.Errors.Len() > before {
		return a
	}
	query := checkURL(t, at, k.Errors)
	list := []segment{urlOf(t)}
	for _, q := range c.Query {
		for _, value := range q.Value {
			separator := "&"
			if !query {
				separator, query = "?", true
			}
			list = append(list, literal(separator+url.QueryEscape(q.Name.S)+"="),
				slotOf(expr.ParseTemplate(value, k.Symbols, k.Errors), queryValue))
		}
	}
	a.target, a.asks = list, query
	if !at.Hidden {
		a.template, _, _ = strings.Cut(rest, "?")
	}
	return a
}

// whole reports whether a url is a whole one rather than a path and query, which
// may hold a URL of its own.
func whole(text string) bool {
	scheme, _, found := strings.Cut(text, "://")
	return found && !strings.ContainsAny(scheme, "/?#")
}

// reach sets origin and host by a whole URL and returns what follows its host.
func (a *address) reach(at block.Text, k *protocol.Compiler) (rest string, ok bool) {
	scheme, rest, _ := strings.Cut(at.S, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority := at
	authority.S = rest[:end]
	if strings.Contains(scheme, "${") || strings.Contains(authority.S, "${") {
		k.Errors.Add(at.Pos, at.Path, "scheme, host and port must not hold ${…} of the flow, got %q", authority).
			Hint = "name the host in the target's url, or in vars"
		return "", false
	}
	u, err := url.Parse(scheme + "://" + authority.S)
	switch {
	case err != nil || u.Hostname() == "":
		k.Errors.Add(at.Pos, at.Path, "not a URL: %q", at)
		return "", false
	case u.Scheme != "http" && u.Scheme != "https":
		k.Errors.Add(at.Pos, at.Path, "must be http or https, got %q", u.Scheme)
		return "", false
	case u.User != nil:
		k.Errors.Add(at.Pos, at.Path, "must not hold a password").
			Hint = "write headers: {Authorization: …} with a secret from ${env:…} or ${file:…}"
		return "", false
	}
	if a.origin, err = originOf(u); err != nil {
		k.Errors.Add(at.Pos, at.Path, "%v", err)
		return "", false
	}
	k.CheckHost(u.Hostname(), at)
	a.host = hostField(u)
	return rest[end:], true
}

// checkURL checks the text between a URL's values and reports whether a query has begun in it.
func checkURL(t *expr.Template, at block.Text, errs *block.Errors) (query bool) {
	t.Literals(func(text string) {
		query = query || strings.Contains(text, "?")
		if strings.Contains(text, "#") {
			errs.Add(at.Pos, at.Path, "holds a fragment, which is never sent").Hint = "write %23 for a #"
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }); i >= 0 {
			r := []rune(text[i:])[0]
			errs.Add(at.Pos, at.Path, "holds %q, which must be percent-encoded", r).Hint = "write " + url.PathEscape(string(r))
		}
	})
	return query
}

// hostField returns the value of the Host field of an address: its host and port
// without a zone, which means something on this machine only (RFC 6874 section 4).
func hostField(u *url.URL) string {
	zone, end := strings.IndexByte(u.Host, '%'), strings.IndexByte(u.Host, ']')
	if zone < 0 || end < zone {
		return u.Host
	}
	return u.Host[:zone] + u.Host[end:]
}

// originOf returns the origin of an address, whose host it writes in ASCII.
func originOf(u *url.URL) (wire.Origin, error) {
	if err := toASCII(u); err != nil {
		return wire.Origin{}, err
	}
	o := wire.Origin{TLS: u.Scheme == "https", Host: strings.ToLower(u.Hostname()), Port: 80}
	if o.TLS {
		o.Port = 443
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return o, fmt.Errorf("port %q is not one", p)
		}
		o.Port = uint16(n)
	}
	return o, nil
}

// toASCII writes a host of other alphabets as DNS knows it (RFC 5891), as browsers do, and
// refuses a zone that is none (RFC 6874 section 2).
func toASCII(u *url.URL) error {
	host := u.Hostname()
	if _, zone, found := strings.Cut(host, "%"); found {
		if strings.ContainsFunc(zone, func(r rune) bool {
			return r >= 0x80 || !isAlphanumeric(byte(r)) && !strings.ContainsRune("-._~", r)
		}) {
			return fmt.Errorf("%q is no zone of an address", zone)
		}
		return nil
	}
	if strings.IndexFunc(host, func(r rune) bool { return r >= 0x80 }) < 0 {
		return nil
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || ascii == "" { // of characters that count for nothing
		return fmt.Errorf("%q is no host", host)
	}
	if port := u.Port(); port != "" {
		ascii += ":" + port
	}
	u.Host = ascii
	return nil
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
