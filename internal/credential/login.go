package credential

import (
	"cmp"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/wire"
)

// Login is the token of a request such as a flow makes, made once for all virtual users.
var Login = Kind{"login", "A token that the answer to a request holds; all virtual users share it.", func() Config {
	return &login{Method: http.MethodPost, Header: "Authorization", Lifetime: defaultLifetime, Endpoint: Endpoint{Timeout: defaultTimeout}}
}}

type login struct {
	Method  string                    `yaml:"method" doc:"Request method (default POST)."`
	URL     block.Text                `yaml:"url" block:"required" doc:"Whole address of the request; this and the other texts may hold ${…} that need no flow, such as ${uuid()}."`
	Headers block.Entries[block.Text] `yaml:"headers" doc:"Header fields of the request."`
	JSON    *block.Node               `yaml:"json" doc:"Body as JSON, written as YAML."`
	Form    block.Entries[block.Text] `yaml:"form" doc:"Body as application/x-www-form-urlencoded fields."`
	Body    *block.Text               `yaml:"body" doc:"Body as text."`

	Expect    block.Text     `yaml:"expect" doc:"Condition on the answer, such as status == 200 (default: a status below 400)."`
	Token     block.Text     `yaml:"token" block:"required" doc:"Where the answer has the token, such as json.token or header(\"X-Token\")."`
	ExpiresIn block.Text     `yaml:"expires_in" doc:"Where the answer says for how many seconds the token is good, such as json.expires_in."`
	Lifetime  block.Duration `yaml:"lifetime" doc:"How long a token is used without expires_in (default 10m)."`
	Header    string         `yaml:"header" doc:"Header field of requests that holds the token (default Authorization)."`
	Prefix    *string        `yaml:"prefix" doc:"What stands before the token there (default \"Bearer \" in Authorization, nothing elsewhere)."`
	Endpoint
}

// A loginSource is a compiled login.
type loginSource struct {
	c         *login
	url, body *expr.Template
	json      *expr.JSON
	headers   []template
	form      []template
	expect    *expr.Condition
	token     *expr.Extraction
	expiresIn *expr.Extraction
}

type template struct {
	name  string
	value *expr.Template
}

func (c *login) Fields() []string { return []string{c.Header} }

func (c *login) Open(o *Opener) Source {
	s := &loginSource{c: c}
	symbols := expr.NewSymbols(nil)
	host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(c.URL.S, "https://"), "http://"), "/")
	if strings.Contains(host, "${") {
		o.Errors.Add(c.URL.Pos, c.URL.Path, "scheme, host and port must not hold ${…} of the run, got %q", c.URL)
		return nil
	}
	address := c.URL
	address.S, _, _ = strings.Cut(address.S, "${")
	c.open(o, address)
	if !wire.IsToken(c.Method) {
		at := o.at("method")
		o.Errors.Add(at.Pos, at.Path, "must be one word such as POST, got %q", c.Method)
	}
	checkField(c.Header, o.at("header"), o.Errors)
	if c.Lifetime <= 0 {
		at := o.at("lifetime")
		o.Errors.Add(at.Pos, at.Path, "must be more than 0")
	}
	parse := func(t block.Text) *expr.Template { return expr.ParseTemplate(t, symbols, o.Errors) }
	s.url = parse(c.URL)
	bodies := 0
	for _, e := range c.Headers {
		if !wire.IsToken(e.Name.S) {
			o.Errors.Add(e.Name.Pos, e.Name.Path, "%q is not a header's name", e.Name.S)
		}
		s.headers = append(s.headers, template{e.Name.S, parse(e.Value)})
	}
	if c.Body != nil {
		bodies++
		s.body = parse(*c.Body)
	}
	if c.JSON != nil {
		bodies++
		s.json = expr.ParseJSON(c.JSON, symbols, o.Errors)
	}
	if c.Form != nil {
		bodies++
		for _, e := range c.Form {
			s.form = append(s.form, template{e.Name.S, parse(e.Value)})
		}
	}
	if bodies > 1 {
		o.Errors.Add(o.At.Pos, o.At.Path, "a request has one body: body, json or form")
	}
	if c.Expect.Path != "" {
		s.expect = expr.ParseCondition(c.Expect, symbols, o.Errors)
	}
	if c.Token.Path != "" {
		s.token = expr.ParseExtraction(c.Token, symbols, o.Errors)
	}
	if c.ExpiresIn.Path != "" {
		s.expiresIn = expr.ParseExtraction(c.ExpiresIn, symbols, o.Errors)
	}
	return s
}

func (s *loginSource) Endpoint() *Endpoint { return &s.c.Endpoint }

// request returns the request of one login.
func (s *loginSource) request(ctx context.Context, scope *expr.Scope) (*http.Request, error) {
	var missing error
	text := func(t *expr.Template) string {
		out, err := t.Append(nil, scope)
		missing = cmp.Or(missing, err)
		return string(out)
	}
	body, contentType := "", ""
	switch {
	case s.body != nil:
		body = text(s.body)
	case s.json != nil:
		out, err := s.json.Append(nil, scope)
		missing = cmp.Or(missing, err)
		body, contentType = string(out), "application/json"
	case s.form != nil:
		var pairs []string
		for _, f := range s.form {
			pairs = append(pairs, url.QueryEscape(f.name)+"="+url.QueryEscape(text(f.value)))
		}
		body, contentType = strings.Join(pairs, "&"), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(ctx, s.c.Method, text(s.url), strings.NewReader(body))
	if err != nil {
		return nil, bare(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, f := range s.headers {
		if strings.EqualFold(f.name, "Host") {
			req.Host = text(f.value)
		} else {
			req.Header.Set(f.name, text(f.value))
		}
	}
	if missing != nil {
		return nil, &Error{Reason: "extract", Text: missing.Error()}
	}
	return req, nil
}

func (s *loginSource) Fetch(ctx context.Context, by *Client) (*Value, error) {
	c := s.c
	scope := &expr.Scope{Rand: rand.NewPCG(rand.Uint64(), rand.Uint64())}
	req, err := s.request(ctx, scope)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	resp, err := by.http.Do(req)
	if err != nil {
		return nil, bare(err)
	}
	defer resp.Body.Close()
	a := &answer{header: resp.Header, code: resp.StatusCode}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, longestAnswer+1)); err != nil {
		return nil, err
	}
	a.took = time.Since(begun)
	if len(a.body) > longestAnswer {
		return nil, &Error{Reason: "extract", Text: "the answer is longer than 1 MiB"}
	}
	if err := s.judge(scope, a); err != nil {
		return nil, err
	}
	token, err := s.token.Eval(scope, a)
	if err != nil {
		return nil, &Error{Reason: "extract", Text: "token: " + err.Error()}
	}
	v := &Value{Lifetime: c.Lifetime.D(), Secrets: []string{token.String()}}
	if token.String() == "" {
		return nil, &Error{Reason: "extract", Text: "token: is empty"}
	}
	if s.expiresIn != nil {
		seconds, err := s.expiresIn.Eval(scope, a)
		if err != nil {
			return nil, &Error{Reason: "extract", Text: "expires_in: " + err.Error()}
		}
		if v.Lifetime = secondsOf(seconds.String()); v.Lifetime <= 0 {
			return nil, &Error{Reason: "extract", Text: "expires_in: is not a number of seconds"}
		}
	}
	prefix := ""
	switch {
	case c.Prefix != nil:
		prefix = *c.Prefix
	case strings.EqualFold(c.Header, "Authorization"):
		prefix = "Bearer "
	}
	v.Header, err = field(c.Header, prefix+token.String())
	return v, err
}

// judge returns an error unless the answer is what is expected.
func (s *loginSource) judge(scope *expr.Scope, a *answer) error {
	if s.expect == nil {
		if a.code >= http.StatusBadRequest {
			return statusError(a.code, a.header, "")
		}
		return nil
	}
	ok, err := s.expect.Eval(scope, a)
	switch {
	case err != nil:
		return &Error{Reason: "extract", Text: "expect: " + err.Error()}
	case !ok:
		return statusError(a.code, a.header, "expect does not hold: "+s.expect.String())
	}
	return nil
}

// An answer is what expressions read of the answer to a login.
type answer struct {
	code   int
	header http.Header
	body   []byte
	took   time.Duration
}

func (a *answer) Code() int    { return a.code }
func (a *answer) Body() []byte { return a.body }
func (a *answer) Header(name string) (string, bool) {
	v := a.header.Values(name)
	if len(v) == 0 {
		return "", false
	}
	return v[0], true
}
func (a *answer) Duration() time.Duration { return a.took }
func (a *answer) Size() int64             { return int64(len(a.body)) }
func (a *answer) Sum() uint64             { return xxhash.Sum64(a.body) }

// secondsOf reads a number of seconds, whole or not; 0 for what is none.
func secondsOf(text string) time.Duration {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds > 0) {
		return 0
	}
	return time.Duration(min(seconds, longestLifetime.Seconds()) * float64(time.Second))
}
