package credential

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"time"
)

// ErrNone is why a request is not sent whose credential has no value.
var ErrNone = errors.New("there is no credential to send")

// Dress adds the current value to a request without a body that net/http makes, of a watch for
// example. Header fields that the request has already stay. Without a value the error is ErrNone.
func (c *Credential) Dress(req *http.Request) (*Value, error) {
	v := c.Value()
	if v == nil {
		return nil, ErrNone
	}
	if len(v.Query) > 0 && !strings.Contains("&"+req.URL.RawQuery+"&", "&"+string(v.Query)+"&") {
		query := string(v.Query)
		if req.URL.RawQuery != "" {
			query = req.URL.RawQuery + "&" + query
		}
		req.URL.RawQuery = query
	}
	setFields(req, v.Header)
	if v.Sign == nil {
		return v, nil
	}
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	fields, err := v.Sign(nil, &Request{
		Method: req.Method, Host: []byte(host), Target: []byte(req.URL.RequestURI()), At: time.Now(),
	})
	if err != nil {
		return nil, err
	}
	setFields(req, fields)
	return v, nil
}

func setFields(req *http.Request, lines []byte) {
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(": "))
		if ok && req.Header.Get(string(name)) == "" {
			req.Header.Set(string(name), string(value))
		}
	}
}
