package protocol

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/wire"
)

// CheckURL checks the text between a URL's values and reports whether a query has begun in it.
func (c *Compiler) CheckURL(t *expr.Template, at block.Text) (query bool) {
	t.Literals(func(text string) {
		query = query || strings.Contains(text, "?")
		if strings.Contains(text, "#") {
			c.Errors.Add(at.Pos, at.Path, "holds a fragment, which is never sent").Hint = "write %23 for a #"
		}
		if strings.Contains(text, "{{") {
			return // which is reported as the notation of other tools
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }); i >= 0 {
			r := []rune(text[i:])[0]
			c.Errors.Add(at.Pos, at.Path, "holds %q, which must be percent-encoded", r).Hint = "write " + url.PathEscape(string(r))
		}
	})
	return query
}

// HostField returns the value of the Host field of an address: its host and port
// without a zone, which means something on this machine only (RFC 6874 section 4).
func HostField(u *url.URL) string {
	zone, end := strings.IndexByte(u.Host, '%'), strings.IndexByte(u.Host, ']')
	if zone < 0 || end < zone {
		return u.Host
	}
	return u.Host[:zone] + u.Host[end:]
}

// OriginOf returns the origin of an address with the scheme http or https, whose host it writes in ASCII.
func OriginOf(u *url.URL) (wire.Origin, error) {
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
