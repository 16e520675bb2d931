package protocol

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

// A Scheme is how an address may begin, of a protocol that does not speak HTTP.
type Scheme struct {
	Name string // such as tcp, in tcp://host:port
	TLS  bool
	Port uint16 // where the address has none; 0 where it must have one
}

// An Endpoint is where a step goes.
type Endpoint struct {
	Scheme string // as it is written, empty for a plain host:port
	Origin wire.Origin
	Path   string // behind the host, with the query
	At     block.Text
}

// Endpoint compiles the first address that is written, of a step or of its target's block, and else the target's url. An
// address is host:port, or begins with one of the schemes; the url may be one of HTTP, too. Mistakes go to c.Errors, and
// then it returns nil.
func (c *Compiler) Endpoint(schemes []Scheme, addresses ...block.Text) *Endpoint {
	at := c.Base
	known := slices.Concat(schemes, []Scheme{{"http", false, 80}, {"https", true, 443}})
	if i := slices.IndexFunc(addresses, func(a block.Text) bool { return a.Path != "" }); i >= 0 {
		at, known = addresses[i], schemes
	} else if at.S == "" {
		return nil // the target's url was reported
	}
	forms := []string{"host:port"}
	for _, s := range schemes {
		forms = append(forms, s.Name+"://host:port")
	}
	example := strings.Join(forms, ", or ")
	if strings.Contains(at.S, "${") {
		c.Errors.Add(at.Pos, at.Path, "must not hold ${…} of the flow, got %q", at).Hint = "name the host in vars, or in the target's url"
		return nil
	}
	scheme, rest, found := strings.Cut(at.S, "://")
	if !found {
		scheme, rest = "", at.S
	}
	s := schemes[0]
	if scheme != "" {
		i := slices.IndexFunc(known, func(s Scheme) bool { return strings.EqualFold(s.Name, scheme) })
		if i < 0 {
			e := c.Errors.Add(at.Pos, at.Path, "must be %s, got %q", example, at)
			if at.Path == c.Base.Path {
				e.Hint = "write address: host:port in the step, or in the protocol's block of the target"
			}
			return nil
		}
		s = known[i]
	}
	u, err := url.Parse("http://" + rest)
	if err != nil || u.Hostname() == "" || u.User != nil {
		c.Errors.Add(at.Pos, at.Path, "must be %s, got %q", example, at)
		return nil
	}
	if u.Port() == "" {
		if s.Port == 0 {
			c.Errors.Add(at.Pos, at.Path, "has no port: must be %s, got %q", example, at)
			return nil
		}
		u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(int(s.Port)))
	}
	e := &Endpoint{Path: u.RequestURI(), At: at}
	if found {
		e.Scheme = s.Name
	}
	if e.Origin, err = OriginOf(u); err != nil && at.Hidden {
		c.Errors.Add(at.Pos, at.Path, "must be %s, got %q", example, at)
		return nil
	} else if err != nil {
		c.Errors.Add(at.Pos, at.Path, "%v", err)
		return nil
	}
	e.Origin.TLS = s.TLS
	if !c.CheckHost(e.Origin.Host, at) {
		return nil
	}
	return e
}

// Address returns host and port.
func (e *Endpoint) Address() string {
	return net.JoinHostPort(e.Origin.Host, strconv.Itoa(int(e.Origin.Port)))
}
