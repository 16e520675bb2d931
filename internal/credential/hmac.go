package credential

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // services ask for it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// HMAC signs each request with a shared key (RFC 2104).
var HMAC = Kind{"hmac", "A signature of each request by a shared key (RFC 2104).", func() Config {
	return &hmacConfig{Header: "X-Signature", Algorithm: "sha256", Encoding: "hex", Over: []string{"body"}, Separator: "\n", TimestampFormat: "unix"}
}}

type hmacConfig struct {
	Secret          block.Secret `yaml:"secret" block:"required" doc:"The shared key."`
	Algorithm       string       `yaml:"algorithm" doc:"sha256 (default), sha512 or sha1."`
	Over            []string     `yaml:"over" doc:"What is signed, in order: method, host, target (path and query), path, query, timestamp, body and body_sha256 (in hexadecimal); default body."`
	Separator       string       `yaml:"separator" doc:"What stands between the parts (default a line feed)."`
	Header          string       `yaml:"header" doc:"Header field of the signature (default X-Signature)."`
	Prefix          string       `yaml:"prefix" doc:"What stands before the signature there, such as sha256= (default nothing)."`
	Encoding        string       `yaml:"encoding" doc:"hex (default) or base64."`
	TimestampHeader string       `yaml:"timestamp_header" doc:"Header field of the time of the signature; needed where over has timestamp."`
	TimestampFormat string       `yaml:"timestamp_format" doc:"unix (default, in seconds), unix_ms or rfc3339."`

	hashes sync.Pool
}

var algorithms = map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New, "sha1": sha1.New}

func (c *hmacConfig) Fields() []string {
	if c.TimestampHeader == "" {
		return []string{c.Header}
	}
	return []string{c.Header, c.TimestampHeader}
}

func (c *hmacConfig) Open(o *Opener) Source {
	if at := o.at("secret"); c.Secret.Value() == "" && at != o.At {
		o.Errors.Add(at.Pos, at.Path, "must not be empty")
	}
	oneOf(o, "algorithm", c.Algorithm, "sha256", "sha512", "sha1")
	oneOf(o, "encoding", c.Encoding, "hex", "base64")
	oneOf(o, "timestamp_format", c.TimestampFormat, "unix", "unix_ms", "rfc3339")
	checkField(c.Header, o.at("header"), o.Errors)
	if c.TimestampHeader != "" {
		checkField(c.TimestampHeader, o.at("timestamp_header"), o.Errors)
	}
	if at := o.at("prefix"); bytes.ContainsAny([]byte(c.Prefix), "\r\n\x00") {
		o.Errors.Add(at.Pos, at.Path, "must not hold line ends")
	}
	if len(c.Over) == 0 {
		at := o.at("over")
		o.Errors.Add(at.Pos, at.Path, "must have a part")
	}
	parts := []string{"method", "host", "target", "path", "query", "timestamp", "body", "body_sha256"}
	for i, part := range c.Over {
		found := false
		for _, known := range parts {
			found = found || known == part
		}
		at := o.at("over")
		if !found {
			if i < len(at.Items) {
				at = at.Items[i]
			}
			o.Errors.Add(at.Pos, at.Path, "is no part of a request: %q", part).Hint = block.Nearest(part, parts)
		}
		if part == "timestamp" && c.TimestampHeader == "" {
			o.Errors.Add(at.Pos, at.Path, "timestamp needs a timestamp_header that tells the receiver")
		}
	}
	algorithm := algorithms[c.Algorithm]
	if algorithm == nil {
		return nil
	}
	c.hashes.New = func() any { return &hashing{Hash: hmac.New(algorithm, []byte(c.Secret.Value()))} }
	return fixed{&Value{Sign: c.sign, Secrets: []string{c.Secret.Value()}}}
}

// hashing is what one signature needs, for use by the next.
type hashing struct {
	hash.Hash
	sum, part []byte
}

func (c *hmacConfig) sign(dst []byte, r *Request) ([]byte, error) {
	h := c.hashes.Get().(*hashing) //nolint:forcetypeassert // hashes has no others
	defer c.hashes.Put(h)
	h.Reset()
	path, query, _ := bytes.Cut(r.Target, []byte("?"))
	for i, part := range c.Over {
		if i > 0 {
			h.part = append(h.part[:0], c.Separator...)
			h.Write(h.part)
		}
		switch part {
		case "method":
			h.part = append(h.part[:0], r.Method...)
			h.Write(h.part)
		case "host":
			h.Write(r.Host)
		case "target":
			h.Write(r.Target)
		case "path":
			h.Write(path)
		case "query":
			h.Write(query)
		case "timestamp":
			h.part = c.timestamp(h.part[:0], r.At)
			h.Write(h.part)
		case "body":
			if err := r.writeBody(h); err != nil {
				return dst, err
			}
		case "body_sha256":
			sum := sha256.New()
			if err := r.writeBody(sum); err != nil {
				return dst, err
			}
			h.part = hex.AppendEncode(h.part[:0], sum.Sum(nil))
			h.Write(h.part)
		}
	}
	h.sum = h.Sum(h.sum[:0])
	dst = append(dst, c.Header...)
	dst = append(dst, ": "...)
	dst = append(dst, c.Prefix...)
	if c.Encoding == "base64" {
		dst = base64.StdEncoding.AppendEncode(dst, h.sum)
	} else {
		dst = hex.AppendEncode(dst, h.sum)
	}
	dst = append(dst, "\r\n"...)
	if c.TimestampHeader != "" {
		dst = append(dst, c.TimestampHeader...)
		dst = append(dst, ": "...)
		dst = c.timestamp(dst, r.At)
		dst = append(dst, "\r\n"...)
	}
	return dst, nil
}

func (c *hmacConfig) timestamp(dst []byte, at time.Time) []byte {
	switch c.TimestampFormat {
	case "unix_ms":
		return strconv.AppendInt(dst, at.UnixMilli(), 10)
	case "rfc3339":
		return at.UTC().AppendFormat(dst, time.RFC3339)
	}
	return strconv.AppendInt(dst, at.Unix(), 10)
}
