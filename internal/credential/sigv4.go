package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/perfd/perfd/internal/block"
)

// SigV4 signs each request as AWS asks for (Signature Version 4).
var SigV4 = Kind{"aws_sigv4", "A signature of each request by AWS Signature Version 4.", func() Config { return &sigV4{} }}

type sigV4 struct {
	Region       string       `yaml:"region" block:"required" doc:"Region of the service, such as eu-central-1."`
	Service      string       `yaml:"service" block:"required" doc:"Name of the service, such as execute-api or s3."`
	AccessKey    block.Secret `yaml:"access_key" block:"required" doc:"Access key ID."`
	SecretKey    block.Secret `yaml:"secret_key" block:"required" doc:"Secret access key."`
	SessionToken block.Secret `yaml:"session_token" doc:"Session token of temporary credentials."`

	signer *v4.Signer
}

func (c *sigV4) Fields() []string {
	return []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"}
}

func (c *sigV4) Open(o *Opener) Source {
	for _, k := range []struct {
		name  string
		value block.Secret
	}{{"access_key", c.AccessKey}, {"secret_key", c.SecretKey}, {"session_token", c.SessionToken}} {
		checkValue(k.value, k.name, o)
	}
	for _, k := range []struct{ name, value string }{{"region", c.Region}, {"service", c.Service}} {
		if at := o.At.Get(k.name); at != nil && (k.value == "" || strings.ContainsAny(k.value, " /\r\n")) {
			o.Errors.Add(at.Pos, at.Path, "must be one word, got %q", k.value)
		}
	}
	// S3 takes paths as they are sent, every other service encodes them once more.
	c.signer = v4.NewSigner(func(s *v4.SignerOptions) { s.DisableURIPathEscaping = c.s3() })
	return fixed{&Value{Sign: c.sign, Secrets: []string{c.SecretKey.Value(), c.SessionToken.Value()}}}
}

func (c *sigV4) s3() bool { return strings.HasPrefix(c.Service, "s3") }

func (c *sigV4) sign(dst []byte, r *Request) ([]byte, error) {
	path, query, _ := strings.Cut(string(r.Target), "?")
	host := string(r.Host)
	req := &http.Request{
		Method: r.Method, Host: host, Header: http.Header{},
		// Opaque makes the path what is sent, whatever net/url would encode.
		URL: &url.URL{Scheme: "http", Host: host, Opaque: "//" + host + path, RawQuery: query},
	}
	sum := sha256.New()
	if err := r.writeBody(sum); err != nil {
		return dst, err
	}
	payload := hex.EncodeToString(sum.Sum(nil))
	if c.s3() {
		req.Header.Set("X-Amz-Content-Sha256", payload)
	}
	keys := aws.Credentials{AccessKeyID: c.AccessKey.Value(), SecretAccessKey: c.SecretKey.Value(), SessionToken: c.SessionToken.Value()}
	if err := c.signer.SignHTTP(context.Background(), keys, req, payload, c.Service, c.Region, r.At); err != nil {
		return dst, err
	}
	for _, name := range c.Fields() {
		if value := req.Header.Get(name); value != "" {
			dst = append(dst, name...)
			dst = append(dst, ": "...)
			dst = append(dst, value...)
			dst = append(dst, "\r\n"...)
		}
	}
	return dst, nil
}
