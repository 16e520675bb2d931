package websocket

import (
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// An opening says how a stream is opened. It belongs to the step with its url.
type opening struct {
	origin       wire.Origin
	tls          *wire.TLS
	host         string
	target       *expr.Template // path and query
	at           string         // host and port, and the path as it is written unless it holds a secret, for spans
	headers      []field
	client       *protocol.Client // the target's fields; nil for none
	credential   string           // empty for none
	subprotocols []string
	deflates     bool // compression is offered
	greetings    []*message
	pingEvery    time.Duration
	rules        protocol.StreamRules
	reconnect    *protocol.Reconnect // nil for none
	maxMessage   int                 // bytes
}

// A field is a header field of the opening request.
type field struct {
	name  string
	value *expr.Template
}

// A message is a compiled message.
type message struct {
	first byte // of its frame
	text  *expr.Template
	json  *expr.JSON
	bytes []byte // of a binary message that is always the same
}

// append appends the payload. It may use room for text that is decoded.
func (m *message) append(dst []byte, s *expr.Scope) ([]byte, error) {
	switch {
	case m.json != nil:
		return m.json.Append(dst, s)
	case m.bytes != nil:
		return append(dst, m.bytes...), nil
	case m.first == opText:
		return m.text.Append(dst, s)
	}
	text, err := m.text.Append(nil, s)
	if err != nil {
		return dst, err
	}
	dst, err = base64.StdEncoding.AppendDecode(dst, text)
	if err != nil {
		err = &expr.ValueError{Text: "binary: " + err.Error()}
	}
	return dst, err
}

// Compile turns the block into a step.
func (c *Config) Compile(k *protocol.Compiler) protocol.Step {
	before := k.Errors.Len()
	t, ok := k.Defaults.(*TargetConfig)
	if !ok || t == nil {
		t = DefaultTarget()
	}
	s := &step{
		key:    protocol.Key{Kind: Kind.Name, Name: c.Stream},
		listen: int64(c.Listen), ping: c.Ping,
	}
	if c.URL.Path != "" {
		s.opening = c.opening(k)
		s.opening.maxMessage = int(t.MaxMessage)
	}
	if c.Send != nil {
		s.send = c.Send.compile(k)
	}
	if c.Close != nil {
		s.closes = *c.Close
	}
	s.wanted = protocol.ParseWanted(c.Receive, c.Echo, k)
	if k.Errors.Len() > before {
		return nil
	}
	return s
}

// opening compiles how the step opens a stream.
func (c *Config) opening(k *protocol.Compiler) *opening {
	o := &opening{pingEvery: c.PingEvery.D(), reconnect: c.Reconnect, deflates: c.Compression == deflateName}
	o.address(c.URL, k)
	if k.Client != nil {
		o.client = k.Client()
	}
	if o.client != nil {
		o.tls = o.client.TLS
	}
	for _, h := range c.Headers {
		switch {
		case !wire.IsToken(h.Name.S):
			k.Errors.Add(h.Name.Pos, h.Name.Path, "is no name of a header field: %q", h.Name.S)
		case strings.HasPrefix(strings.ToLower(h.Name.S), "sec-websocket-") || slices.ContainsFunc([]string{"Upgrade", "Connection", "Host"}, func(own string) bool { return strings.EqualFold(own, h.Name.S) }):
			e := k.Errors.Add(h.Name.Pos, h.Name.Path, "%s is written by the protocol", h.Name.S)
			switch {
			case strings.EqualFold(h.Name.S, "Sec-WebSocket-Protocol"):
				e.Hint = "write subprotocols: […]"
			case strings.EqualFold(h.Name.S, "Sec-WebSocket-Extensions"):
				e.Hint = "write compression: " + deflateName
			}
		}
		o.headers = append(o.headers, field{h.Name.S, expr.ParseTemplate(h.Value, k.Symbols, k.Errors)})
	}
	for _, p := range c.Subprotocols {
		if !wire.IsToken(p.S) {
			k.Errors.Add(p.Pos, p.Path, "is no name of a subprotocol: %q", p.S).Hint = "names are made of letters, digits and a few signs, without spaces and commas"
		}
		o.subprotocols = append(o.subprotocols, p.S)
	}
	for i := range c.OnOpen {
		o.greetings = append(o.greetings, c.OnOpen[i].compile(k))
	}
	o.rules = protocol.ParseStreamRules(c.Sequence, c.SequencePer, c.Each, k.Errors)
	o.credential = c.credential(k, o)
	return o
}

// compile compiles a message.
func (m *Message) compile(k *protocol.Compiler) *message {
	switch {
	case m.JSON != nil:
		return &message{first: opText, json: expr.ParseJSON(m.JSON, k.Symbols, k.Errors)}
	case m.Text != nil:
		return &message{first: opText, text: expr.ParseTemplate(*m.Text, k.Symbols, k.Errors)}
	case m.Binary == nil:
		return &message{}
	}
	out := &message{first: opBinary, text: expr.ParseTemplate(*m.Binary, k.Symbols, k.Errors)}
	if text, ok := out.text.Constant(); ok {
		var err error
		if out.bytes, err = base64.StdEncoding.DecodeString(text); err != nil {
			k.Errors.Add(m.Binary.Pos, m.Binary.Path, "must be base64: %v", err).Hint = "write text for text"
		}
		out.bytes = append([]byte{}, out.bytes...) // an empty message is one too
	}
	return out
}

// address compiles the url: scheme, host and port are fixed, path and query may hold expressions.
func (o *opening) address(at block.Text, k *protocol.Compiler) {
	scheme, _, whole := strings.Cut(at.S, "://")
	if !whole || strings.ContainsAny(scheme, "/?#") {
		if at.S == "" || at.S[0] != '/' && at.S[0] != '?' {
			k.Errors.Add(at.Pos, at.Path, "must begin with / or be a whole URL, got %q", at).Hint = "write url: /realtime"
			return
		}
		if k.Base.S == "" {
			return // the target's url was reported
		}
		at.S = strings.TrimSuffix(k.Base.S, "/") + at.S
		at.Hidden = at.Hidden || k.Base.Hidden
	}
	scheme, rest, _ := strings.Cut(at.S, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority := at
	authority.S = rest[:end]
	u, err := url.Parse(scheme + "://" + authority.S)
	switch {
	case strings.Contains(scheme+authority.S, "${"):
		k.Errors.Add(at.Pos, at.Path, "scheme, host and port must not hold ${…} of the flow, got %q", authority).Hint = "name the host in the target's url, or in vars"
		return
	case err != nil || u.Hostname() == "":
		k.Errors.Add(at.Pos, at.Path, "not a URL: %q", at)
		return
	case u.User != nil:
		k.Errors.Add(at.Pos, at.Path, "must not hold a password").Hint = "write headers: {Authorization: …} with a secret from ${env:…} or ${file:…}"
		return
	case !slices.Contains([]string{"ws", "wss", "http", "https"}, u.Scheme):
		k.Errors.Add(at.Pos, at.Path, "must be ws or wss, got %q", u.Scheme)
		return
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	}
	if o.origin, err = protocol.OriginOf(u); err != nil {
		k.Errors.Add(at.Pos, at.Path, "%v", err)
		return
	}
	k.CheckHost(u.Hostname(), at)
	o.host = protocol.HostField(u)
	path := at
	if path.S = rest[end:]; path.S == "" || path.S[0] != '/' {
		path.S = "/" + path.S
	}
	before := k.Errors.Len()
	if o.target = expr.ParseTemplate(path, k.Symbols, k.Errors); k.Errors.Len() > before {
		return
	}
	k.CheckURL(o.target, at)
	o.at = net.JoinHostPort(strings.Trim(o.origin.Host, "[]"), strconv.Itoa(int(o.origin.Port)))
	if !at.Hidden {
		written, _, _ := strings.Cut(path.S, "?")
		o.at += written
	}
}

// credential returns the name of the entry of credentials that the opening request is sent with, empty for none. That
// of the target is for the target alone.
func (c *Config) credential(k *protocol.Compiler, o *opening) string {
	const none = "none"
	name, own := k.Credentials, c.Credentials.Path != ""
	if own {
		name = c.Credentials.S
	}
	if name == "" || name == none || k.Credential == nil {
		return ""
	}
	d := k.Credential(name)
	if d == nil {
		if own {
			k.Errors.Add(c.Credentials.Pos, c.Credentials.Path, "there is no entry of credentials named %q", c.Credentials).Hint = "write one of the names below credentials, or none"
		}
		return ""
	}
	var base opening
	var errs block.Errors
	base.address(block.Text{S: "/", Path: "url"}, &protocol.Compiler{Base: k.Base, Symbols: expr.NewSymbols(nil), Errors: &errs})
	if !own && base.origin != o.origin {
		return ""
	}
	for _, h := range c.Headers {
		if !slices.ContainsFunc(d.Fields, func(f string) bool { return strings.EqualFold(f, h.Name.S) }) {
			continue
		}
		if own {
			k.Errors.Add(h.Name.Pos, h.Name.Path, "%s is written by credentials %s too", h.Name.S, name).Hint = "leave one of them out"
		}
		return ""
	}
	return name
}

// has reports whether the step itself writes a header field.
func (o *opening) has(name string) bool {
	return slices.ContainsFunc(o.headers, func(f field) bool { return strings.EqualFold(f.name, name) })
}

var errLineEnd error = &expr.ValueError{Text: "a value with a line end cannot stand in a request's head"}

// appendField appends a header field whose value was checked.
func appendField(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...)
}

// appendTarget appends path and query, whose values are encoded by their place.
func (o *opening) appendTarget(dst []byte, s *expr.Scope) ([]byte, error) {
	if text, ok := o.target.Constant(); ok {
		return append(dst, text...), nil
	}
	encode := url.PathEscape
	err := o.target.Each(s, func(text string) {
		if strings.IndexByte(text, '?') >= 0 {
			encode = url.QueryEscape
		}
		dst = append(dst, text...)
	}, func(v expr.Value) { dst = append(dst, encode(v.String())...) })
	return dst, err
}

// keyLength is that of a Sec-WebSocket-Key.
const keyLength = 24

// A hello is an opening request, with which a stream is opened again, too.
type hello struct {
	text  []byte
	keyAt int // where its key is

	by       *credential.Credential // nil for none
	value    *credential.Value      // of by, as the fields between two offsets say it
	from, to int
}

func (h *hello) key() []byte { return h.text[h.keyAt : h.keyAt+keyLength] }

// renew has the request say the present value of its credential: the one that it was sent with first may have expired.
func (h *hello) renew() error {
	if h.by == nil {
		return nil
	}
	now := h.by.Value()
	switch now {
	case nil:
		return errNoCredential(h.by.Name())
	case h.value:
		return nil
	}
	h.text = slices.Replace(h.text, h.from, h.to, now.Header...)
	h.value, h.to = now, h.from+len(now.Header)
	return nil
}

// appendRequest writes the opening request with room for its key.
func (o *opening) appendRequest(h *hello, c *protocol.Call) (err error) {
	dst, key := h.text[:0], 0
	defer func() { h.text, h.keyAt = dst, key }()
	h.by = nil
	env := c.VU.Env
	dst = append(dst, "GET "...)
	from := len(dst)
	if dst, err = o.appendTarget(dst, c.Scope); err != nil {
		return err
	}
	path := string(dst[from:])
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = appendField(dst, "Host", o.host)
	dst = append(dst, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	key = len(dst)
	dst = append(append(dst, make([]byte, keyLength)...), "\r\n"...)
	if len(o.subprotocols) > 0 {
		dst = appendField(dst, "Sec-WebSocket-Protocol", strings.Join(o.subprotocols, ", "))
	}
	if o.deflates {
		dst = appendField(dst, "Sec-WebSocket-Extensions", deflateOffer)
	}
	written := []string{}
	add := func(name, value string) {
		if strings.ContainsAny(value, "\r\n") {
			err = errLineEnd
		}
		dst = appendField(dst, name, value)
		written = append(written, strings.ToLower(name))
	}
	for _, f := range o.headers {
		value, verr := f.value.Append(nil, c.Scope)
		if verr != nil {
			return verr
		}
		add(f.name, string(value))
	}
	if o.credential != "" {
		by := env.Credentials[o.credential]
		value := by.Value()
		if value == nil {
			return errNoCredential(o.credential)
		}
		if value.Sign != nil || len(value.Query) > 0 {
			return &expr.ValueError{Text: "credentials " + o.credential + " sign requests or write into their query, which the opening of a stream does not have"}
		}
		h.by, h.value, h.from = by, value, len(dst)
		dst = append(dst, value.Header...)
		h.to = len(dst)
	}
	if o.client != nil && o.client.Header != nil {
		o.client.Header(func(name, value string) {
			if !o.has(name) {
				add(name, value)
			}
		})
	}
	if !slices.Contains(written, "user-agent") {
		add("User-Agent", env.UserAgent)
	}
	if !slices.Contains(written, "x-perfd") {
		add("X-Perfd", env.Identity())
	}
	if !slices.Contains(written, "traceparent") {
		dst = append(protocol.AppendTraceparent(append(dst, "traceparent: "...), &c.Result), "\r\n"...)
	}
	if jar := c.VU.Cookies(); jar != nil {
		dst = jar.AppendCookies(dst, &o.origin, []byte(path))
	}
	dst = append(dst, "\r\n"...)
	return err
}

// timings are those of every stream that the opening opens.
func (o *opening) timings() []load.MessageTiming {
	t := []load.MessageTiming{load.FirstMessage, load.MessageGap, load.RoundTrip, load.PingRoundTrip, load.Lifetime}
	if o.reconnect != nil {
		t = append(t, load.Reconnect)
	}
	return t
}

var errNotOpen = errors.New("no stream is open: a step with url opens one")
