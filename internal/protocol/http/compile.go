package http

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// Compile turns the block into a step.
func (c *Config) Compile(k *protocol.Compiler) protocol.Step {
	before := k.Errors.Len()
	t, _ := k.Defaults.(*TargetConfig)
	if t == nil {
		t = DefaultTarget()
	}
	s := &step{
		key:         protocol.Key{Kind: Kind.Name},
		method:      c.method(),
		redirects:   either(c.Redirects, t.Redirects),
		maxRead:     int(cmp.Or(c.MaxRead, t.MaxRead)),
		maxHeader:   int(cmp.Or(c.MaxHeader, t.MaxHeader)),
		cookies:     either(c.Cookies, t.Cookies),
		stays:       t.CookiesReset == protocol.ResetNever,
		connections: t.Connections,
		version:     versions[t.Version],
	}
	checkOwnCookies(c.Headers, s.cookies, k.Errors)
	if s.identities = newIdentities(k, &t.TLS); s.identities != nil {
		if c.Events != nil {
			at := t.TLS.CertFile
			k.Errors.Add(at.Pos, at.Path, "streams of events are not opened with a client certificate of each row").Hint = "write events in a scenario of its own, with one certificate"
		}
		bare := t.TLS.Anonymous()
		s.tls = bare.Open(k)
	} else {
		s.tls = t.TLS.Open(k)
	}
	if c.Events != nil {
		c.Events.Format.check(t.Version, k.Errors)
	}
	a := c.address(k)
	if s.credential = c.credential(k, t, &a); s.credential != "" {
		a.target = append(a.target, credentialQuery(a.asks))
	}
	f := c.headers(k, t)
	s.codings = f.codings
	s.origin, s.own, s.contentType = a.origin, f.own, f.contentType
	s.template = a.template
	s.spans = s.spanning()
	c.body(k, s)
	if k.Errors.Len() > before {
		return nil
	}
	if f.host == nil {
		f.host = []segment{literal("Host: " + a.host + "\r\n")}
	}
	if c.Events != nil {
		s.codings = 0
	}
	s.head = merge([]segment{literal(s.method + " ")}, a.target, []segment{literal(" HTTP/1.1\r\n")}, f.host, f.own, f.others)
	if c.Events != nil {
		return c.Events.compile(k, s, c.URL.Path != "")
	}
	return s
}

// noCredential is the value of a key credentials that means none.
const noCredential = "none"

// credential returns the name of the entry of credentials that requests are sent with, empty for none. That of the
// target is for the target alone.
func (c *Config) credential(k *protocol.Compiler, t *TargetConfig, a *address) string {
	name, own := k.Credentials, c.Credentials.Path != ""
	if own {
		name = c.Credentials.S
	}
	if name == "" && !own || name == noCredential {
		return ""
	}
	var d *credential.Definition
	if k.Credential != nil {
		d = k.Credential(name)
	}
	if d == nil {
		if own {
			k.Errors.Add(c.Credentials.Pos, c.Credentials.Path, "there is no entry of credentials named %q", c.Credentials).Hint = "write one of the names below credentials, or none"
		}
		return "" // that of the target was reported
	}
	if !own && !a.ofTarget(k.Base.S) {
		return ""
	}
	headers := c.Headers
	if own {
		headers = slices.Concat(c.Headers, t.Headers)
	}
	for _, e := range headers {
		if !slices.ContainsFunc(d.Fields, func(f string) bool { return strings.EqualFold(f, e.Name.S) }) {
			continue
		}
		if own {
			k.Errors.Add(e.Name.Pos, e.Name.Path, "%s is written by credentials %s too", e.Name.S, name).Hint = "leave one of them out"
		}
		return ""
	}
	return name
}

// ofTarget reports whether requests go to the host and port of the target's url.
func (a *address) ofTarget(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	o, err := protocol.OriginOf(u)
	return err == nil && o == a.origin
}

// either returns the step's own value if it has one, else the target's.
func either[T any](own *T, target T) T {
	if own != nil {
		return *own
	}
	return target
}

func (c *Config) method() string {
	switch {
	case c.Method != "":
		// Methods are case-sensitive (RFC 9110 section 9.1); of those that everybody knows the case is forgiven.
		if _, known := methods[strings.ToUpper(c.Method)]; !known {
			return c.Method
		}
		return strings.ToUpper(c.Method)
	case len(c.bodies()) > 0:
		return "POST"
	}
	return "GET"
}

// fields are the compiled header fields of a step.
type fields struct {
	own         []segment    // written by perfd
	host        []segment    // of the configuration, nil for none
	contentType []segment    // of the configuration, nil for none
	others      []segment    // of the configuration
	codings     wire.Codings // that the request asks for
}

// headers compiles the header fields of the target and of the step, whose fields
// replace the target's of the same name.
func (c *Config) headers(k *protocol.Compiler, t *TargetConfig) fields {
	var given given
	for _, list := range []block.Entries[block.Text]{t.Headers, c.Headers} {
		for _, e := range list {
			given.set(e)
		}
	}
	var f fields
	if !given.has("User-Agent") {
		f.own = append(f.own, literal("User-Agent: "), userAgent, literal("\r\n"))
	}
	f.own = append(f.own, literal("X-Perfd: "), identity, literal("\r\n"))
	if !given.has("Traceparent") {
		f.own = append(f.own, literal("traceparent: "), traceparent, literal("\r\n"))
	}
	if list := c.encodings(t); len(list) > 0 && !given.has("Accept-Encoding") {
		text := strings.Join(list, ", ")
		f.own = append(f.own, literal("Accept-Encoding: "+text+"\r\n"))
		f.codings = wire.AcceptedCodings(text)
	}
	for _, e := range given {
		value := expr.ParseTemplate(e.Value, k.Symbols, k.Errors)
		if text, ok := value.Constant(); ok && hasLineEnd([]byte(text)) {
			k.Errors.Add(e.Value.Pos, e.Value.Path, "must not hold line ends")
		}
		if strings.EqualFold(e.Name.S, "Accept-Encoding") {
			f.codings = wire.AllCodings
			if text, ok := value.Constant(); ok {
				f.codings = wire.AcceptedCodings(text)
			}
		}
		segments := fieldOf(e.Name.S, value)
		switch {
		case strings.EqualFold(e.Name.S, "Host"):
			f.host = segments
		case strings.EqualFold(e.Name.S, "Content-Type"):
			f.contentType = segments
		default:
			f.others = append(f.others, segments...)
		}
	}
	return f
}

// encodings returns the content codings to ask for: the step's own, else the target's.
func (c *Config) encodings(t *TargetConfig) []string {
	switch {
	case c.Events != nil:
		return nil
	case c.Encodings != nil:
		return c.Encodings
	case c.Gzip != nil && *c.Gzip, c.Gzip == nil && t.Encodings == nil && t.Gzip:
		return []string{"gzip"}
	case c.Gzip != nil:
		return nil
	}
	return t.Encodings
}

// given holds the header fields of the configuration.
type given block.Entries[block.Text]

// set adds a field, or replaces the one of the same name.
func (g *given) set(e block.Entry[block.Text]) {
	for i := range *g {
		if strings.EqualFold((*g)[i].Name.S, e.Name.S) {
			(*g)[i] = e
			return
		}
	}
	*g = append(*g, e)
}

func (g given) has(name string) bool {
	return slices.ContainsFunc(g, func(e block.Entry[block.Text]) bool { return strings.EqualFold(e.Name.S, name) })
}
