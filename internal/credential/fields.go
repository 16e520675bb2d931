package credential

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

// written lists the header fields that perfd writes itself.
var written = []string{"Content-Length", "Transfer-Encoding", "Connection", "Host", "Cookie", "X-Perfd"}

// checkField reports a name that a credential's header field cannot have.
func checkField(name string, at *block.Node, errs *block.Errors) {
	if !wire.IsToken(name) {
		errs.Add(at.Pos, at.Path, "%q is not a header's name", name)
	}
	for _, own := range written {
		if strings.EqualFold(own, name) {
			errs.Add(at.Pos, at.Path, "%s is written by perfd itself", own)
		}
	}
}

// field returns a header field as HTTP/1.1 writes it. A value that cannot stand in one is an *Error.
func field(name, value string) ([]byte, error) {
	if strings.ContainsAny(value, "\r\n\x00") {
		return nil, &Error{Reason: "extract", Text: "the value for the header field " + name + " holds a line end"}
	}
	return []byte(name + ": " + value + "\r\n"), nil
}

// checkValue reports a fixed value that cannot stand in a header field, or that is empty.
func checkValue(s block.Secret, key string, o *Opener) {
	at := o.At.Get(key)
	switch {
	case at == nil: // is missing, decoding said so where it must be there
	case s.Value() == "":
		o.Errors.Add(at.Pos, at.Path, "must not be empty")
	case strings.ContainsAny(s.Value(), "\r\n\x00"):
		o.Errors.Add(at.Pos, at.Path, "must not hold line ends")
	}
}

// at returns the place of a key, or of the block where it is not written.
func (o *Opener) at(key string) *block.Node {
	if n := o.At.Get(key); n != nil {
		return n
	}
	return o.At
}

// Basic is HTTP's basic authentication (RFC 7617).
var Basic = Kind{"basic", "User and password in each request (RFC 7617).", func() Config { return &basic{} }}

type basic struct {
	Username string       `yaml:"username" block:"required" doc:"Name of the user, without a colon."`
	Password block.Secret `yaml:"password" block:"required" doc:"Password of the user."`
}

func (*basic) Fields() []string { return []string{"Authorization"} }

func (c *basic) Open(o *Opener) Source {
	if strings.Contains(c.Username, ":") {
		at := o.at("username")
		o.Errors.Add(at.Pos, at.Path, "must not hold a colon, which ends it")
	}
	coded := base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password.Value()))
	header, err := field("Authorization", "Basic "+coded)
	if err != nil {
		return nil // base64 has no line ends
	}
	return fixed{&Value{Header: header, Secrets: []string{coded}}}
}

// APIKey is a fixed value in a header field or the query.
var APIKey = Kind{"api_key", "A fixed value in a header field or in the query.", func() Config { return &apiKey{} }}

type apiKey struct {
	Header string       `yaml:"header" doc:"Name of the header field that holds the key, such as X-Api-Key."`
	Query  string       `yaml:"query" doc:"Name of the query parameter that holds the key, instead of a header field."`
	Value  block.Secret `yaml:"value" block:"required" doc:"The key."`
}

func (c *apiKey) Fields() []string {
	if c.Header == "" {
		return nil
	}
	return []string{c.Header}
}

func (c *apiKey) Open(o *Opener) Source {
	checkValue(c.Value, "value", o)
	if (c.Header == "") == (c.Query == "") {
		o.Errors.Add(o.At.Pos, o.At.Path, "has either a header or a query")
		return nil
	}
	v := &Value{Secrets: []string{c.Value.Value()}}
	if c.Query != "" {
		v.Query = []byte(url.QueryEscape(c.Query) + "=" + url.QueryEscape(c.Value.Value()))
		return fixed{v}
	}
	checkField(c.Header, o.at("header"), o.Errors)
	var err error
	if v.Header, err = field(c.Header, c.Value.Value()); err != nil {
		return nil // that was reported
	}
	return fixed{v}
}
