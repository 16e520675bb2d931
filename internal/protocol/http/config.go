// Package http is the HTTP/1.1 protocol: a request is compiled once into
// encoded segments with slots, and sent by wire's user agent.
//
// A request has the header fields of the configuration and, besides them, only
// Host, User-Agent, X-Perfd and traceparent, Accept-Encoding if encodings or gzip ask for any, Cookie,
// Content-Type and Content-Length.
//
// A value that ${…} puts into a url is percent-encoded by its place: in the path
// as part of one segment, so that it can neither end the segment nor begin a query;
// after the question mark as a query's value, with + for a space. The text of the
// configuration itself is sent as it was written.
package http

import (
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// Kind describes HTTP to the configuration.
var Kind = protocol.Kind{
	Name:   "http",
	Step:   func() protocol.Config { return &Config{} },
	Target: func() any { return DefaultTarget() },

	Scenario: newScenario,
	Shapes:   []string{"version"},
}

// A Config is the http block of a step.
type Config struct {
	Method    string                    `yaml:"method" doc:"Request method (default GET, or POST where there is a body), such as PUT or PURGE."`
	URL       block.Text                `yaml:"url" doc:"Path and query below the target's url, or a whole URL; may hold ${…}, whose values are percent-encoded. Obligatory, but in a step that goes on with a stream of events."`
	Query     block.Entries[values]     `yaml:"query" doc:"Query parameters, added to those of url and encoded; a list sends one for each of its items."`
	Headers   block.Entries[block.Text] `yaml:"headers" doc:"Header fields; they take the place of the target's of the same name."`
	Body      *block.Text               `yaml:"body" doc:"Body as text."`
	JSON      *block.Node               `yaml:"json" doc:"Body as JSON, written as YAML; a value that is exactly one ${…} keeps its type."`
	Form      block.Entries[values]     `yaml:"form" doc:"Body as application/x-www-form-urlencoded fields; a list sends one for each of its items."`
	Multipart []Part                    `yaml:"multipart" doc:"Body as multipart/form-data."`
	File      *block.Text               `yaml:"file" doc:"Body from a file, streamed; the path starts from the configuration file."`
	Redirects *int                      `yaml:"redirects" doc:"How many redirects to follow; 0 is none (default: the target's)."`
	Gzip      *bool                     `yaml:"gzip" doc:"Ask for gzip and decode it (default: the target's); short for encodings: [gzip], or [] where it is false."`
	Encodings []string                  `yaml:"encodings" doc:"Content codings to ask for in Accept-Encoding and to decode: gzip, deflate, br and zstd (default: the target's)."`
	MaxRead   block.Size                `yaml:"max_read" doc:"Largest body that expressions may read, such as 4MiB; a larger one fails as overload (default: the target's)."`
	MaxHeader block.Size                `yaml:"max_header" doc:"Longest head of an answer; a longer one fails as overload (default: the target's)."`
	Cookies   *bool                     `yaml:"cookies" doc:"Send and keep cookies (default: the target's)."`
	Events    *Events                   `yaml:"events" doc:"Read the answer event by event: server-sent events, NDJSON, or chunks. The stream stays open for later steps, and is attended while the virtual user thinks."`
	// Credentials names an entry of credentials, or is none.
	Credentials block.Text `yaml:"credentials" doc:"Name of the entry of credentials that the request is sent with, or none (default: the target's; none where the request goes to another host, or has the same header field of its own)."`
}

// values are those of one field: each is sent as a field of its own.
type values []block.Text

// DecodeBlock reads one value, or a list of them.
func (v *values) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind == block.List {
		var list []block.Text
		block.Decode(n, &list, errs)
		*v = list
		return
	}
	var one block.Text
	block.Decode(n, &one, errs)
	*v = values{one}
}

// JSONSchema describes both forms.
func (values) JSONSchema() map[string]any {
	one := block.Text{}.JSONSchema()
	return map[string]any{"anyOf": []any{one, map[string]any{"type": "array", "items": one}}}
}

// A Part is one part of a multipart body.
type Part struct {
	Name        block.Text  `yaml:"name" block:"required" doc:"Name of the field."`
	Value       *block.Text `yaml:"value" doc:"Content as text."`
	File        *block.Text `yaml:"file" doc:"Content from a file; the path starts from the configuration file."`
	ContentType string      `yaml:"content_type" doc:"Content type of the part."`
}

// A TargetConfig is the http block of a target: defaults of its steps, and options of its connections.
type TargetConfig struct {
	Headers      block.Entries[block.Text] `yaml:"headers" doc:"Header fields of every request."`
	Redirects    int                       `yaml:"redirects" doc:"How many redirects to follow (default 0: a redirect is an answer)."`
	Gzip         bool                      `yaml:"gzip" doc:"Ask for gzip and decode it; short for encodings: [gzip]."`
	Encodings    []string                  `yaml:"encodings" doc:"Content codings to ask for in Accept-Encoding and to decode: gzip, deflate, br and zstd (default: none). Those of a header field Accept-Encoding are decoded, too; an answer in any other is left as it came."`
	MaxRead      block.Size                `yaml:"max_read" doc:"Largest body that expressions may read (default 16MiB). What no expression reads has no bound."`
	MaxHeader    block.Size                `yaml:"max_header" doc:"Longest head of an answer, its status line and header fields (default 64KiB)."`
	Cookies      bool                      `yaml:"cookies" doc:"Keep cookies within an iteration (default true)."`
	CookiesReset string                    `yaml:"cookies_reset" doc:"iteration (default) forgets cookies when an iteration ends, never keeps them as long as the virtual user, as a returning visitor's browser does."`
	Version      Version                   `yaml:"version" doc:"Version of HTTP that the load speaks: 1.1 (default), 2, or auto, which offers both over TLS and speaks what the server chooses, and 1.1 without TLS. With 2, TLS offers nothing else, and without TLS connections begin with HTTP/2 unasked (prior knowledge)."`
	Connections  Connections               `yaml:"connections" doc:"How connections live."`
	TLS          protocol.TLS              `yaml:"tls" doc:"TLS of https."`
}

// Connections says whose connections are and how they live.
type Connections struct {
	Pool int `yaml:"pool" doc:"How many connections to each host the virtual users of a run share, over all shards, each for one request at a time, or over HTTP/2 for as many as the server allows; the time that a request waits for one is its phase blocked (default: each virtual user has its own)."`
	protocol.Connections
}

// Validate checks what needs no other part of the configuration.
func (c *Connections) Validate(n *block.Node, errs *block.Errors) {
	c.Connections.Validate(n, errs)
	at := n.Get("pool")
	switch {
	case at != nil && c.Pool < 1:
		errs.Add(at.Pos, at.Path, "must be at least 1, got %d", c.Pool).Hint = "leave it out to give each virtual user its own"
	case c.Pool > 0 && c.Renewed():
		if at == nil {
			at = n.Get("reset")
		}
		errs.Add(at.Pos, at.Path, "pool and reset: iteration exclude each other: what all share is not one iteration's").Hint = "write max_requests to replace connections of a pool"
	}
}

// share is the part of the pool that is one shard's; 0 without a pool.
func (c *Connections) share(shards int) int {
	if c.Pool == 0 {
		return 0
	}
	return max(1, c.Pool/max(1, shards))
}

// A ScenarioConfig is the http block of a scenario.
type ScenarioConfig struct {
	Connections  Connections  `yaml:"connections" doc:"Whose connections are and how they live, over what the target says."`
	TLS          protocol.TLS `yaml:"tls" doc:"TLS of https, over what the target says. Names in cert_file and key_file may hold ${…}: each virtual user presents the client certificate of its row."`
	CookiesReset string       `yaml:"cookies_reset" doc:"When cookies are forgotten, over what the target says: iteration or never."`
	Version      Version      `yaml:"version" doc:"Version of HTTP, over what the target says: 1.1, 2 or auto."`

	of *TargetConfig
}

func newScenario(target any) protocol.ScenarioBlock {
	t, _ := target.(*TargetConfig)
	if t == nil {
		t = DefaultTarget()
	}
	return &ScenarioConfig{Connections: t.Connections, TLS: t.TLS, CookiesReset: t.CookiesReset, Version: t.Version, of: t}
}

// Validate checks what needs no other part of the configuration.
func (s *ScenarioConfig) Validate(n *block.Node, errs *block.Errors) {
	checkCookiesReset(s.CookiesReset, n, errs)
	checkCertificates(&s.TLS, s.Connections.Pool, errs)
}

// Target returns the target's block with what the scenario says in its place.
func (s *ScenarioConfig) Target() any {
	t := *s.of
	t.Connections, t.CookiesReset, t.Version = s.Connections, s.CookiesReset, s.Version
	if s.TLS != t.TLS {
		t.TLS = s.TLS.Unopened()
	}
	return &t
}

const maxRedirects = 50 // of one request

// DefaultTarget returns the block of a target without one.
func DefaultTarget() *TargetConfig {
	return &TargetConfig{
		Cookies: true, CookiesReset: protocol.ResetIteration,
		MaxRead: 16 << 20, MaxHeader: 64 << 10, Version: "1.1",
		Connections: Connections{Connections: protocol.DefaultConnections()},
		TLS:         protocol.DefaultTLS(),
	}
}

// Validate checks what needs no other part of the configuration.
func (t *TargetConfig) Validate(n *block.Node, errs *block.Errors) {
	checkRedirects(t.Redirects, n, errs)
	checkMaxRead(t.MaxRead, n, errs)
	checkMaxHeader(t.MaxHeader, n, errs)
	checkEncodings(t.Encodings, t.Gzip, n, errs)
	checkFields(t.Headers, errs)
	checkOwnCookies(t.Headers, t.Cookies, errs)
	if ofRows(&t.TLS) {
		errs.Add(t.TLS.CertFile.Pos, t.TLS.CertFile.Path, "a target has no rows that name client certificates").Hint = "write http: {tls: {cert_file: …, key_file: …}} in the scenario"
	}
	checkCookiesReset(t.CookiesReset, n, errs)
	if at := n.Get("cookies_reset"); at != nil && !t.Cookies {
		errs.Add(at.Pos, at.Path, "there are none to forget: cookies is false")
	}
}

// versions are the values of version.
var versions = map[Version]wire.Version{"1.1": wire.HTTP1, "2": wire.HTTP2, "auto": wire.HTTPAuto}

// A Version is a version of HTTP as it is written: 1.1, 2 or auto, in quotes or not.
type Version string

// DecodeBlock reads a version.
func (v *Version) DecodeBlock(n *block.Node, errs *block.Errors) {
	*v = Version(n.Scalar)
	if _, ok := versions[*v]; ok && n.Kind != block.List && n.Kind != block.Map {
		return
	}
	wrong := errs.Add(n.Pos, n.Path, "must be 1.1, 2 or auto, got %s", n.Found())
	switch strings.ToLower(n.Scalar) {
	case "2.0", "h2", "h2c", "http/2":
		wrong.Hint = "write version: 2"
	case "1", "1.0", "http/1.1":
		wrong.Hint = "write version: 1.1"
	}
}

// JSONSchema describes the values.
func (Version) JSONSchema() map[string]any {
	return map[string]any{"enum": []any{"1.1", "2", "auto", 1.1, 2}}
}

// checkOwnCookies reports a field Cookie where cookies of answers are sent.
func checkOwnCookies(list block.Entries[block.Text], sent bool, errs *block.Errors) {
	for _, e := range list {
		if sent && strings.EqualFold(e.Name.S, "Cookie") {
			errs.Add(e.Name.Pos, e.Name.Path, "Cookie is written by perfd itself, of what answers set").Hint = "write cookies: false beside headers to send your own"
		}
	}
}

// checkCookiesReset checks the value of cookies_reset, where it is written.
func checkCookiesReset(reset string, n *block.Node, errs *block.Errors) {
	at := n.Get("cookies_reset")
	if resets := []string{protocol.ResetIteration, protocol.ResetNever}; at != nil && !slices.Contains(resets, reset) {
		errs.Add(at.Pos, at.Path, "must be iteration or never, got %s", at.Found()).Hint = block.Nearest(reset, resets)
	}
}

// methods lists the methods of RFC 9110 section 9.3 and RFC 5789. The value says
// whether a method is idempotent, so that a request may be sent twice (RFC 9110
// section 9.2.2); of others that is not known.
var methods = map[string]bool{
	"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "PUT": true, "DELETE": true, "POST": false, "PATCH": false,
}

// Validate checks what needs no other part of the configuration.
func (c *Config) Validate(n *block.Node, errs *block.Errors) {
	if at := n.Get("method"); at != nil && !wire.IsToken(c.Method) {
		errs.Add(at.Pos, at.Path, "must be one word such as GET or PURGE, got %q", c.Method)
	}
	if c.Redirects != nil {
		checkRedirects(*c.Redirects, n, errs)
	}
	if n.Get("max_read") != nil {
		checkMaxRead(c.MaxRead, n, errs)
	}
	if n.Get("max_header") != nil {
		checkMaxHeader(c.MaxHeader, n, errs)
	}
	checkEncodings(c.Encodings, c.Gzip != nil, n, errs)
	checkFields(c.Headers, errs)
	c.validateEvents(n, errs)
	if given := c.bodies(); len(given) > 1 {
		errs.Add(n.Pos, n.Path, "a request has one body, got %s", strings.Join(given, " and "))
	}
	for i, p := range c.Multipart {
		at := n.Get("multipart").Items[i]
		if (p.Value == nil) == (p.File == nil) {
			errs.Add(at.Pos, at.Path, "a part has either a value or a file")
		}
		if hasLineEnd([]byte(p.ContentType)) {
			at = at.Get("content_type")
			errs.Add(at.Pos, at.Path, "must not hold line ends")
		}
	}
}

// mostRead bounds max_read, in bytes: each virtual user may hold as much.
const mostRead = 1 << 30

func checkMaxRead(s block.Size, in *block.Node, errs *block.Errors) {
	if s <= 0 || s > mostRead {
		at := in.Get("max_read")
		errs.Add(at.Pos, at.Path, "must be more than 0 and at most 1GiB, got %s", at.Scalar)
	}
}

// leastHeader and mostHeader bound max_header, in bytes.
const leastHeader, mostHeader = 1 << 10, 16 << 20

func checkMaxHeader(s block.Size, in *block.Node, errs *block.Errors) {
	if s < leastHeader || s > mostHeader {
		at := in.Get("max_header")
		errs.Add(at.Pos, at.Path, "must be from 1KiB to 16MiB, got %s", at.Scalar)
	}
}

// checkEncodings reports codings that perfd does not decode, twice the same, and a gzip beside them.
func checkEncodings(list []string, gzip bool, in *block.Node, errs *block.Errors) {
	at := in.Get("encodings")
	for i, name := range list {
		switch item := at.Items[i]; {
		case !slices.Contains(wire.CodingNames[:], name):
			errs.Add(item.Pos, item.Path, "must be %s, got %q", strings.Join(wire.CodingNames[:], ", "), name).Hint = block.Nearest(name, wire.CodingNames[:])
		case slices.Contains(list[:i], name):
			errs.Add(item.Pos, item.Path, "%s is there already", name)
		}
	}
	if at != nil && gzip {
		errs.Add(at.Pos, at.Path, "encodings and gzip say the same").Hint = "write gzip among the encodings"
	}
}

func checkRedirects(n int, in *block.Node, errs *block.Errors) {
	if n < 0 || n > maxRedirects {
		at := in.Get("redirects")
		errs.Add(at.Pos, at.Path, "must be between 0 and %d, got %d", maxRedirects, n)
	}
}

// own lists the header fields that perfd writes itself.
var own = []string{"Content-Length", "Transfer-Encoding", "Connection", "X-Perfd"}

// checkFields reports invalid names, and those of fields that perfd writes itself.
func checkFields(list block.Entries[block.Text], errs *block.Errors) {
	for _, e := range list {
		if !wire.IsToken(e.Name.S) {
			errs.Add(e.Name.Pos, e.Name.Path, "%q is not a header's name", e.Name.S)
		}
		for _, name := range own {
			if strings.EqualFold(name, e.Name.S) {
				errs.Add(e.Name.Pos, e.Name.Path, "%s is written by perfd itself", name)
			}
		}
	}
}

// bodies returns the keys that give the request a body.
func (c *Config) bodies() (given []string) {
	for _, b := range []struct {
		name string
		is   bool
	}{{"body", c.Body != nil}, {"json", c.JSON != nil}, {"form", c.Form != nil}, {"multipart", c.Multipart != nil}, {"file", c.File != nil}} {
		if b.is {
			given = append(given, b.name)
		}
	}
	return given
}
