package credential

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/perfd/perfd/internal/block"
)

// OAuth2 is a token of an authorization server (RFC 6749 sections 4.3, 4.4 and 6).
var OAuth2 = Kind{"oauth2", "A token of an OAuth 2.0 server, renewed before it expires (RFC 6749).", func() Config {
	return &oauth{Grant: clientCredentials, ClientAuth: authHeader, Lifetime: defaultLifetime, Endpoint: Endpoint{Timeout: defaultTimeout}}
}}

type oauth struct {
	TokenURL     block.Text                  `yaml:"token_url" block:"required" doc:"Address that gives tokens, such as https://login.staging.example.com/oauth/token."`
	Grant        string                      `yaml:"grant" doc:"client_credentials (default), password or refresh_token."`
	ClientID     string                      `yaml:"client_id" doc:"Name of the client."`
	ClientSecret block.Secret                `yaml:"client_secret" doc:"Secret of the client."`
	ClientAuth   string                      `yaml:"client_auth" doc:"Where client_id and client_secret are sent: header (default), as basic authentication, or body."`
	Username     string                      `yaml:"username" doc:"User, with grant password."`
	Password     block.Secret                `yaml:"password" doc:"Password, with grant password."`
	RefreshToken block.Secret                `yaml:"refresh_token" doc:"First refresh token, with grant refresh_token; those that answers bring take its place until perfd ends."`
	Scopes       []string                    `yaml:"scopes" doc:"Scopes to ask for."`
	Params       block.Entries[block.Secret] `yaml:"params" doc:"Further parameters of the request, such as audience."`
	Lifetime     block.Duration              `yaml:"lifetime" doc:"How long a token is used whose answer has no expires_in (default 10m)."`
	Endpoint
}

// The grants, and where the client says who it is.
const (
	clientCredentials = "client_credentials"
	password          = "password"
	refreshToken      = "refresh_token"

	authHeader, authBody = "header", "body"
)

const defaultLifetime = block.Duration(10 * time.Minute)

func (*oauth) Fields() []string { return []string{"Authorization"} }

func (c *oauth) Open(o *Opener) Source {
	c.open(o, c.TokenURL)
	oneOf(o, "grant", c.Grant, clientCredentials, password, refreshToken)
	oneOf(o, "client_auth", c.ClientAuth, authHeader, authBody)
	if c.Lifetime <= 0 {
		at := o.at("lifetime")
		o.Errors.Add(at.Pos, at.Path, "must be more than 0")
	}
	for _, k := range []struct {
		name, grant string
		must        bool
	}{
		{"client_id", clientCredentials, true}, {"username", password, true}, {"password", password, true}, {"refresh_token", refreshToken, true},
	} {
		at := o.At.Get(k.name)
		switch {
		case at == nil && c.Grant == k.grant:
			o.Errors.Add(o.At.Pos, o.At.Path, "grant %s needs %s", c.Grant, k.name)
		case at != nil && c.Grant != k.grant && k.name != "client_id" && slices.Contains([]string{clientCredentials, password, refreshToken}, c.Grant):
			e := o.Errors.Add(at.Pos, at.Path, "belongs to grant %s, and the grant is %s", k.grant, c.Grant)
			e.Hint = "write grant: " + k.grant
		}
	}
	for _, p := range c.Params {
		if slices.Contains([]string{"grant_type", "scope", "username", "password", "refresh_token", "client_id", "client_secret"}, p.Name.S) {
			o.Errors.Add(p.Name.Pos, p.Name.Path, "%s has a key of its own", p.Name.S)
		}
	}
	return &oauthSource{c: c, refresh: c.RefreshToken.Value()}
}

// oneOf reports a word that is none of a list.
func oneOf(o *Opener, key, word string, of ...string) {
	if slices.Contains(of, word) {
		return
	}
	at := o.at(key)
	last := len(of) - 1
	o.Errors.Add(at.Pos, at.Path, "must be %s or %s, got %q", strings.Join(of[:last], ", "), of[last], word).Hint = block.Nearest(word, of)
}

type oauthSource struct {
	c       *oauth
	refresh string // the refresh token in use
}

func (s *oauthSource) Endpoint() *Endpoint { return &s.c.Endpoint }

func (s *oauthSource) Fetch(ctx context.Context, by *Client) (*Value, error) {
	begun := time.Now()
	c := s.c
	// The package of the grant client_credentials is that of all: its other parameters may name another.
	from := clientcredentials.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret.Value(), TokenURL: c.TokenURL.S, Scopes: c.Scopes,
		EndpointParams: url.Values{}, AuthStyle: oauth2.AuthStyleInHeader,
	}
	if c.ClientAuth == authBody || c.ClientID == "" {
		from.AuthStyle = oauth2.AuthStyleInParams
	}
	if c.Grant != clientCredentials {
		from.EndpointParams.Set("grant_type", c.Grant)
	}
	switch c.Grant {
	case password:
		from.EndpointParams.Set("username", c.Username)
		from.EndpointParams.Set("password", c.Password.Value())
	case refreshToken:
		from.EndpointParams.Set("refresh_token", s.refresh)
	}
	for _, p := range c.Params {
		from.EndpointParams.Add(p.Name.S, p.Value.Value())
	}
	t, err := from.Token(context.WithValue(ctx, oauth2.HTTPClient, by.http))
	if err != nil {
		return nil, oauthError(ctx, err)
	}
	v := &Value{Lifetime: c.Lifetime.D(), Secrets: []string{t.AccessToken}}
	if !t.Expiry.IsZero() {
		// What is left is counted from before the request: it is when the token was made at the earliest.
		if v.Lifetime = time.Until(t.Expiry) - time.Since(begun); v.Lifetime <= 0 {
			return nil, &Error{Reason: "extract", Text: "the token has expired when it comes"}
		}
	}
	if c.Grant == refreshToken && t.RefreshToken != "" {
		s.refresh = t.RefreshToken
		v.Secrets = append(v.Secrets, s.refresh)
	}
	v.Header, err = field("Authorization", t.Type()+" "+t.AccessToken)
	return v, err
}

// oauthError returns the reason of a grant that failed.
func oauthError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		says := r.ErrorCode
		if r.ErrorDescription != "" {
			says += " (" + r.ErrorDescription + ")"
		}
		return statusError(r.Response.StatusCode, r.Response.Header, says)
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return bare(err)
	}
	return &Error{Reason: "extract", Text: strings.TrimPrefix(err.Error(), "oauth2: ")}
}
