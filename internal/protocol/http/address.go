package http

import (
	"net/url"
	"strings"

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
	query := k.CheckURL(t, at)
	list := []segment{urlOf(t)}
	for _, q := range c.Query {
		for _, value := range q.Value {
			separator := "&"
			if !query {
				separator, query = "?", true
			}
			list = append(list, pairsOf(separator, q.Name.S, expr.ParseTemplate(value, k.Symbols, k.Errors))...)
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
	if a.origin, err = protocol.OriginOf(u); err != nil {
		k.Errors.Add(at.Pos, at.Path, "%v", err)
		return "", false
	}
	k.CheckHost(u.Hostname(), at)
	a.host = protocol.HostField(u)
	return rest[end:], true
}
