// Package target holds what belongs to a system under load rather than to the
// scenarios that share it: its entry in the configuration, the limit on its
// request rate, the Distress that reduces load while it does not answer, and the
// Watch that reads its release and resources.
//
// It generates no load and knows no protocol of steps. The Watch reads over HTTP.
package target

import (
	"net/url"
	"reflect"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A Config is one entry of targets.
type Config struct {
	Name block.Text `yaml:"name" block:"required" doc:"Name of the target: letters, digits, _ and -. It is a label of metrics."`
	URL  block.Text `yaml:"url" block:"required" doc:"Base address, such as https://shop.staging.example.com; steps add their paths to it."`
	// ProxyURL is parsed by wire.ParseProxy; empty is none.
	ProxyURL       block.Secret             `yaml:"proxy_url" doc:"HTTP proxy that all connections of load and of reads on the target are tunnelled through, wherever they lead, such as http://proxy:3128, user and password allowed (default: none; HTTP_PROXY and its like never are for load)."`
	LocalAddresses Addresses                `yaml:"local_addresses" doc:"Addresses of this machine that connections of load and of reads on the target come from, in turn, such as [10.0.0.11, 10.0.0.12]: each has local ports of its own, some 28,000 for one address of the target (default: the system chooses)."`
	Resolve        block.Entries[Addresses] `yaml:"resolve" doc:"Addresses of hosts and ports that DNS is not asked for, such as {shop.staging.example.com:443: 10.0.0.7}; one or a list. Host and SNI stay those of the url."`
	// Credentials names an entry of credentials; empty is none.
	Credentials block.Text `yaml:"credentials" doc:"Name of the entry of credentials that requests to the target are sent with, those that read its release and resources from its host included (default: none)."`
	Limits      Limits     `yaml:"limits" doc:"What all scenarios together may do to the target."`

	Release   *ReleaseConfig   `yaml:"release" doc:"How perfd learns which release the target runs: regressions are pinned to releases, and windows do not count while a release settles."`
	Resources []ResourceConfig `yaml:"resources" doc:"Levels of the target, such as its memory, that are read all the time and watched for leaks."`

	// Client is how load speaks HTTP to the target, nil where it does not. Package config, which knows the
	// protocols, sets it.
	Client *protocol.Client `yaml:"-"`
	// Blocks are the other keys, in document order: the blocks of protocols, or unknown keys. Package config,
	// which knows the protocols, decodes them.
	Blocks []block.Key
}

// Limits bounds the load of all scenarios on a target, over all shards.
type Limits struct {
	RequestRate block.Rate `yaml:"request_rate" doc:"Most requests per time; safety.max_request_rate bounds it in any case."`
	Connections int        `yaml:"connections" doc:"Most connections that are open at once; without it, as many as there are virtual users."`
}

// DecodeBlock decodes the keys that every target has, strictly, and keeps the others.
func (c *Config) DecodeBlock(n *block.Node, errs *block.Errors) {
	type plain Config
	own, others := block.Split(n, reflect.TypeFor[plain]())
	c.Blocks = others
	block.Decode(own, (*plain)(c), errs)
	if c.URL.Path != "" {
		c.checkURL(errs)
	}
	if text := c.ProxyURL.Value(); text != "" {
		if _, err := wire.ParseProxy(text); err != nil {
			at := n.Get("proxy_url")
			errs.Add(at.Pos, at.Path, "%v", err)
		}
	}
	c.checkReach(n, errs)
	c.checkResources(errs)
}

// Addresses returns the addresses beside the target's own that the watch reads.
func (c *Config) Addresses() []block.Text {
	var list []block.Text
	add := func(ref block.Text) {
		if strings.Contains(ref.S, "://") {
			list = append(list, ref)
		}
	}
	if c.Release != nil {
		add(c.Release.URL)
	}
	for i := range c.Resources {
		add(c.Resources[i].Scrape)
		add(c.Resources[i].Prometheus)
	}
	return list
}

// JSONSchema returns the schema of the keys that every target has.
func (Config) JSONSchema() map[string]any {
	type plain Config
	return block.Schema(plain{})
}

func (c *Config) checkURL(errs *block.Errors) {
	u, err := url.Parse(c.URL.S)
	switch {
	case err != nil || u.Scheme == "" || u.Hostname() == "":
		errs.Add(c.URL.Pos, c.URL.Path, "must be an address such as https://shop.staging.example.com, got %q", c.URL)
	case u.User != nil:
		errs.Add(c.URL.Pos, c.URL.Path, "must not hold a user or password").Hint = "write an entry of credentials, and its name as credentials of the target"
	case u.RawQuery != "" || u.Fragment != "":
		errs.Add(c.URL.Pos, c.URL.Path, "must end with its path, got %q", c.URL).Hint = "queries belong to steps"
	}
}

// checkResources reports resources of the same name, whose metrics would be the same series.
func (c *Config) checkResources(errs *block.Errors) {
	taken := map[string]block.Pos{}
	for _, r := range c.Resources {
		if first, twice := taken[r.Name.S]; twice && r.Name.S != "" {
			errs.Add(r.Name.Pos, r.Name.Path, "a resource named %q exists already, at %s", r.Name, first)
			continue
		}
		taken[r.Name.S] = r.Name.Pos
	}
}

// Validate reports limits that allow nothing.
func (l *Limits) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("request_rate"); n != nil && l.RequestRate.Count <= 0 {
		errs.Add(n.Pos, n.Path, "must be more than 0, got %s", l.RequestRate)
	}
	if n := at.Get("connections"); n != nil && l.Connections < 1 {
		errs.Add(n.Pos, n.Path, "must be at least 1, got %d", l.Connections)
	}
}
