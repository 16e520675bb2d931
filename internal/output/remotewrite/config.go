package remotewrite

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/config"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/output"
)

// Config is one entry of the block remote_write.
type Config struct {
	Name       string            `yaml:"name" doc:"Name of the endpoint in metrics and logs (default: the url's host)."`
	URL        block.Text        `yaml:"url" block:"required" doc:"Where to write to, such as http://prometheus:9090/api/v1/write."`
	Identity   map[string]string `yaml:"identity" block:"required" doc:"Labels that every series gets. job and instance are required: without them two instances would write the same series."`
	Protocol   Protocol          `yaml:"protocol" doc:"1.0, 2.0 or auto (default), which falls back to 1.0 where the receiver does not know 2.0."`
	Histograms Histograms        `yaml:"histograms" doc:"classic, native or both. The default is both with protocol 2.0 and classic with 1.0."`
	Exemplars  bool              `yaml:"exemplars" doc:"Send exemplars (default true)."`
	Keep       []Pattern         `yaml:"keep" doc:"Send only series whose names match one of these regular expressions, from beginning to end."`
	Drop       []Pattern         `yaml:"drop" doc:"Do not send series whose names match one of these regular expressions."`
	MaxSamples int               `yaml:"max_samples_per_send" doc:"Most samples in one request (default 2000)."`
	MaxRate    block.Rate        `yaml:"max_send_rate" doc:"Most samples per time, for what has piled up during an outage (default 0/s, which is as fast as the receiver answers)."`
	Timeout    block.Duration    `yaml:"timeout" doc:"How long a request may take (default 30s)."`
	MinBackoff block.Duration    `yaml:"min_backoff" doc:"Wait before the first retry (default 30ms); it doubles with each."`
	MaxBackoff block.Duration    `yaml:"max_backoff" doc:"Longest wait between retries (default 5s), unless the receiver asks for more."`
	OnRejected Rejected          `yaml:"on_rejected" doc:"What becomes of a batch that is refused with 413, or by a 1.0 receiver with 400: split (default), which finds what is too large or refused, or drop."`
	// OnUnauthorized holds, against the specification: it has 4xx answers but 429 not be tried again.
	OnUnauthorized Unauthorized                `yaml:"on_unauthorized" doc:"What becomes of samples while the receiver answers 401, 403, 404 or 407: hold (default) keeps them and tries again up to max_age, so that an expired token or a missing route costs nothing; drop gives them up, as the specification of remote write asks."`
	Headers        block.Entries[block.Secret] `yaml:"headers" doc:"Further header fields, such as X-Scope-OrgID."`
	BasicAuth      *BasicAuth                  `yaml:"basic_auth" doc:"User and password."`
	Bearer         block.Secret                `yaml:"bearer_token" doc:"Token of the Authorization field."`
	BearerFile     string                      `yaml:"bearer_token_file" doc:"File that holds the token; it is read for every request."`
	ProxyURL       block.Secret                `yaml:"proxy_url" doc:"Proxy by which the receiver is reached, such as http://proxy:3128, user and password allowed; none is no proxy (default: HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment)."`
	TLS            output.TLS                  `yaml:"tls" doc:"Certificates; their files are read again when they change."`
}

// BasicAuth is a user and a password.
type BasicAuth struct {
	Username     string       `yaml:"username" block:"required" doc:"Name of the user."`
	Password     block.Secret `yaml:"password" doc:"Password of the user."`
	PasswordFile string       `yaml:"password_file" doc:"File that holds the password; it is read for every request."`
}

// QueueConfig is the block remote_write_queue, which all endpoints share.
type QueueConfig struct {
	Interval      block.Duration `yaml:"interval" doc:"Time between two snapshots of all series, from 1s to 1m (default 15s), aligned to the clock."`
	MaxBytes      block.Size     `yaml:"max_bytes" doc:"Most bytes on disk (default 1GiB); the oldest are dropped first."`
	MaxAge        block.Duration `yaml:"max_age" doc:"Age from which on samples are not sent any more (default 24h)."`
	FsyncInterval block.Duration `yaml:"fsync_interval" doc:"Time between two syncs to disk (default 1s): what a loss of power may cost. A crash of perfd costs nothing."`
}

// DefaultQueue returns the queue's defaults.
func DefaultQueue() QueueConfig {
	return QueueConfig{
		Interval: block.Duration(15 * time.Second), MaxBytes: 1 << 30,
		MaxAge: block.Duration(24 * time.Hour), FsyncInterval: block.Duration(time.Second),
	}
}

// Protocol is a version of the remote-write protocol.
type Protocol string

// The protocols.
const (
	Auto Protocol = "auto"
	V1   Protocol = "1.0"
	V2   Protocol = "2.0"
)

// DecodeBlock accepts a version, which YAML may take for a number.
func (p *Protocol) DecodeBlock(n *block.Node, errs *block.Errors) {
	oneOf(p, n, errs, Auto, V1, V2)
}

// JSONSchema lists the versions.
func (Protocol) JSONSchema() map[string]any {
	return map[string]any{"enum": []any{"auto", "1.0", "2.0", 1.0, 2.0}}
}

// Histograms says as what histograms are sent.
type Histograms string

// The forms.
const (
	Classic Histograms = "classic"
	Native  Histograms = "native"
	Both    Histograms = "both"
)

// DecodeBlock accepts the names of the forms.
func (h *Histograms) DecodeBlock(n *block.Node, errs *block.Errors) {
	oneOf(h, n, errs, Classic, Native, Both)
}

// JSONSchema lists the forms.
func (Histograms) JSONSchema() map[string]any {
	return map[string]any{"enum": []Histograms{Classic, Native, Both}}
}

// Rejected says what becomes of a batch that was refused.
type Rejected string

// The choices.
const (
	Split Rejected = "split"
	Drop  Rejected = "drop"
)

// DecodeBlock accepts the names of the choices.
func (r *Rejected) DecodeBlock(n *block.Node, errs *block.Errors) { oneOf(r, n, errs, Split, Drop) }

// JSONSchema lists the choices.
func (Rejected) JSONSchema() map[string]any { return map[string]any{"enum": []Rejected{Split, Drop}} }

// Unauthorized says what becomes of samples while access is refused.
type Unauthorized string

// The choices.
const (
	HoldUnauthorized Unauthorized = "hold"
	DropUnauthorized Unauthorized = "drop"
)

// DecodeBlock accepts the names of the choices.
func (u *Unauthorized) DecodeBlock(n *block.Node, errs *block.Errors) {
	oneOf(u, n, errs, HoldUnauthorized, DropUnauthorized)
}

// JSONSchema lists the choices.
func (Unauthorized) JSONSchema() map[string]any {
	return map[string]any{"enum": []Unauthorized{HoldUnauthorized, DropUnauthorized}}
}

func oneOf[T ~string](to *T, n *block.Node, errs *block.Errors, all ...T) {
	if !slices.Contains(all, T(n.Scalar)) {
		var names []string
		for _, one := range all {
			names = append(names, string(one))
		}
		last := len(names) - 1
		errs.Add(n.Pos, n.Path, "must be %s or %s, got %s", strings.Join(names[:last], ", "), names[last], n.Found())
		return
	}
	*to = T(n.Scalar)
}

// A Pattern is a regular expression that matches whole names.
type Pattern struct{ *regexp.Regexp }

// DecodeBlock compiles the expression.
func (p *Pattern) DecodeBlock(n *block.Node, errs *block.Errors) {
	var text string
	before := errs.Len()
	if block.Decode(n, &text, errs); errs.Len() > before {
		return
	}
	re, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		errs.Add(n.Pos, n.Path, "must be a regular expression, got %s: %v", n.Found(), err)
		return
	}
	p.Regexp = re
}

// JSONSchema says that a pattern is text.
func (Pattern) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "format": "regex"}
}

// DecodeBlock decodes an endpoint over its defaults.
func (c *Config) DecodeBlock(n *block.Node, errs *block.Errors) {
	type plain Config
	p := plain{
		Protocol: Auto, Exemplars: true, MaxSamples: 2000, OnRejected: Split, OnUnauthorized: HoldUnauthorized,
		Timeout: block.Duration(30 * time.Second), MinBackoff: block.Duration(30 * time.Millisecond), MaxBackoff: block.Duration(5 * time.Second),
	}
	block.Decode(n, &p, errs)
	*c = Config(p)
	if n.Kind == block.Map {
		c.check(n, errs)
	}
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// reserved are the header fields that are the protocol's.
var reserved = []string{
	"Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Host", "User-Agent", "X-Prometheus-Remote-Write-Version",
}

func (c *Config) check(n *block.Node, errs *block.Errors) {
	u, err := url.Parse(c.URL.S)
	switch {
	case c.URL.Path == "": // is missing, decoding said so
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		errs.Add(c.URL.Pos, c.URL.Path, "must be a URL such as http://prometheus:9090/api/v1/write, got %q", c.URL)
	case u.User != nil:
		errs.Add(c.URL.Pos, c.URL.Path, "must not hold a password").Hint = "write basic_auth: {username: …, password: …}"
	case output.CheckNamed(u.Hostname()) != nil:
		errs.Add(c.URL.Pos, c.URL.Path, "%v", output.CheckNamed(u.Hostname()))
	case c.Name == "" && c.URL.Hidden:
		errs.Add(c.URL.Pos, c.URL.Path, "holds a secret, so the endpoint needs a name to be shown by").Hint = "write name: …"
	case c.Name == "":
		c.Name = u.Host
	}
	c.checkIdentity(n.Get("identity"), errs)
	c.checkWays(n, errs)
}

// checkIdentity checks the labels, where there are any: decoding says so where not.
func (c *Config) checkIdentity(identity *block.Node, errs *block.Errors) {
	if identity == nil || identity.Kind != block.Map {
		return
	}
	for _, name := range []string{"job", "instance"} {
		if c.Identity[name] == "" {
			errs.Add(identity.Pos, identity.Path, "needs %s", name).Hint = "write identity: {job: perfd, instance: …}, with an instance that no other perfd has"
		}
	}
	for _, k := range identity.Keys {
		if !labelName.MatchString(k.Name) || strings.HasPrefix(k.Name, "__") {
			errs.Add(k.Pos, k.Value.Path, "a label is made of letters, digits and _ and does not begin with a digit or __, got %q", k.Name)
		}
	}
}

// checkWays checks how requests are made and who perfd says it is.
func (c *Config) checkWays(n *block.Node, errs *block.Errors) {
	for _, h := range c.Headers {
		if slices.Contains(reserved, http.CanonicalHeaderKey(h.Name.S)) {
			errs.Add(h.Name.Pos, h.Name.Path, "header field %s is the protocol's own", h.Name.S).Hint = "for Authorization write bearer_token, bearer_token_file or basic_auth"
		}
	}
	output.CheckProxy(c.ProxyURL, n.Get("proxy_url"), false, errs)
	at := func(key string) *block.Node {
		if k := n.Get(key); k != nil {
			return k
		}
		return n
	}
	add := func(key, text string) { errs.Add(at(key).Pos, at(key).Path, "%s", text) }
	if c.MaxSamples < 1 {
		add("max_samples_per_send", "must be at least 1")
	}
	if c.Timeout <= 0 {
		add("timeout", "must be more than 0")
	}
	if c.MinBackoff <= 0 || c.MaxBackoff < c.MinBackoff {
		add("min_backoff", "must be more than 0 and not over max_backoff")
	}
	ways := 0
	for _, given := range []bool{c.BasicAuth != nil, c.Bearer.Value() != "", c.BearerFile != ""} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		add("url", "has more than one of basic_auth, bearer_token and bearer_token_file")
	}
	if b := c.BasicAuth; b != nil && b.Password.Value() != "" && b.PasswordFile != "" {
		add("basic_auth", "has both password and password_file")
	}
}

// Validate checks the queue's bounds.
func (c *QueueConfig) Validate(n *block.Node, errs *block.Errors) {
	at := func(key string) *block.Node {
		if k := n.Get(key); k != nil {
			return k
		}
		return n
	}
	if d := c.Interval.D(); d < time.Second || d > time.Minute || d%time.Second != 0 {
		errs.Add(at("interval").Pos, at("interval").Path, "must be whole seconds from 1s to 1m, got %s", c.Interval)
	}
	if c.MaxBytes < 1<<20 {
		errs.Add(at("max_bytes").Pos, at("max_bytes").Path, "must be at least 1MiB")
	}
	if c.MaxAge.D() < time.Minute {
		errs.Add(at("max_age").Pos, at("max_age").Path, "must be at least 1m, got %s", c.MaxAge)
	}
	if d := c.FsyncInterval.D(); d < 10*time.Millisecond || d > time.Minute {
		errs.Add(at("fsync_interval").Pos, at("fsync_interval").Path, "must be from 10ms to 1m, got %s", c.FsyncInterval)
	}
}

// client returns what authenticates requests. Its files start from the options' folder.
func (c *Config) client(o *Options) (*http.Client, error) {
	t, err := c.TLS.Open(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	home, err := url.Parse(c.URL.S)
	if err != nil {
		return nil, output.Bare(err)
	}
	secret := func(value block.Secret, file string) config.SecretReader {
		if file != "" {
			return config.NewFileSecret(output.Path(o.Dir, file))
		}
		return config.NewInlineSecret(value.Value())
	}
	w := output.Way{
		Home: home, Guard: o.Guard, Network: o.Network, Proxy: c.ProxyURL, Timeout: c.Timeout.D(), TLS: t, Faults: o.TLSFaults, Plain: ownFields,
		Like: &http.Transport{
			ForceAttemptHTTP2: true, DisableCompression: true, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 5 * time.Minute,
		},
	}
	switch b := c.BasicAuth; {
	case b != nil:
		w.Signed = func(by http.RoundTripper) http.RoundTripper {
			return config.NewBasicAuthRoundTripper(config.NewInlineSecret(b.Username), secret(b.Password, b.PasswordFile), by)
		}
	case c.Bearer.Value() != "" || c.BearerFile != "":
		w.Signed = func(by http.RoundTripper) http.RoundTripper {
			return config.NewAuthorizationCredentialsRoundTripper("Bearer", secret(c.Bearer, c.BearerFile), by)
		}
	}
	return w.Client(), nil
}

// shown is the url as people may see it.
func (c *Config) shown() string {
	u, err := url.Parse(c.URL.S)
	if err != nil || c.URL.Hidden {
		return c.URL.String()
	}
	u.RawQuery = ""
	return u.String()
}

// kept returns the filter of names, nil where there is none.
func (c *Config) kept() func(string) bool {
	if len(c.Keep) == 0 && len(c.Drop) == 0 {
		return nil
	}
	match := func(list []Pattern, name string) bool {
		return slices.ContainsFunc(list, func(p Pattern) bool { return p.MatchString(name) })
	}
	return func(name string) bool {
		return (len(c.Keep) == 0 || match(c.Keep, name)) && !match(c.Drop, name)
	}
}
