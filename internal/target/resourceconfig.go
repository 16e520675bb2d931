package target

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

var kinds = []string{
	load.ResourceMemory, load.ResourceDisk, load.ResourceGoroutines, load.ResourceThreads, load.ResourceDescriptors, load.ResourceConnections,
	load.ResourceCPU, load.ResourceNetwork,
}

var resourceName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// A ResourceConfig is one entry of resources: a level of the target that is read
// from a page of metrics or queried from Prometheus.
type ResourceConfig struct {
	Name       block.Text        `yaml:"name" block:"required" doc:"Name of the resource: letters, digits, _ and -. It is a label of metrics."`
	Kind       string            `yaml:"kind" block:"required" doc:"memory, disk, goroutines, threads, descriptors, connections, cpu or network. Memory and disk are in bytes, cpu in cores, network in bytes per second, the others are counted."`
	Scrape     block.Text        `yaml:"scrape" doc:"Page of metrics: a path on the target, such as /metrics, or an address. Resources with the same page and headers are read at once, as often as the most frequent of them."`
	Metric     block.Text        `yaml:"metric" doc:"Metric on the page that is the level. Of cpu and network a metric whose name ends in _total is a counter, and its rate is the level."`
	Labels     map[string]string `yaml:"labels" doc:"Labels and their values that choose among the metric's series."`
	Prometheus block.Text        `yaml:"prometheus" doc:"Address of a Prometheus, or of what answers like one, such as http://prometheus:9090."`
	Query      block.Text        `yaml:"query" doc:"Its expression for the level: an instant vector or a scalar."`
	Member     block.Text        `yaml:"member" doc:"Label that tells several series apart, such as pod: each is watched by itself. Without it there must be one series."`
	Every      block.Duration    `yaml:"every" doc:"Time between two reads (default 15s, from 1s to 1h)."`
	Of         Level             `yaml:"of" doc:"What there is of the resource, such as 2 (cores) or 512MiB: what a limit in per cent is a share of."`
	Limit      Level             `yaml:"limit" doc:"Level at which the target breaks, or that its SLA forbids: a size such as 2GiB, a number of cores, a whole number of what is counted, or a share of of such as 80%. Findings say when it will be reached."`
	For        block.Duration    `yaml:"for" doc:"For how long the level must be at or over the limit, on average, to be called (default 5m of cpu and network; of others two readings in a row are)."`
	WarnAt     block.Ratio       `yaml:"warn_at" doc:"Share of the limit from which findings and alerts say that the resource is near it (default 85%)."`

	Headers block.Entries[block.Text] `yaml:"headers" doc:"Header fields of this read, such as an Authorization for a Prometheus; they take the place of those of the target's http, which other hosts do not get."`
}

// A Level is a size or a number, depending on the kind of its resource, or a share of another one.
type Level struct {
	Value   float64 // in the unit of the kind; 0 for none
	at      *block.Node
	missing bool
}

// DecodeBlock keeps the node, which is decoded when the kind of resource is known.
func (l *Level) DecodeBlock(n *block.Node, _ *block.Errors) { l.at = n }

// JSONSchema returns the schema of all forms.
func (Level) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{block.Schema(block.Size(0)), block.Schema(0.0), block.Schema(block.Ratio(0))}}
}

// decode decodes the level of a kind, which may be a share of another one where of is not nil.
func (l *Level) decode(kind string, of *Level, errs *block.Errors) {
	n := l.at
	l.at = nil
	if n == nil || !slices.Contains(kinds, kind) {
		return
	}
	before := errs.Len()
	switch unit := load.ResourceUnit(kind); {
	case of != nil && strings.HasSuffix(strings.TrimSpace(n.Scalar), "%"):
		var share block.Ratio
		block.Decode(n, &share, errs)
		if of.Value == 0 && of.missing {
			errs.Add(n.Pos, n.Path, "says not what it is a share of").Hint = "add of: SIZE or NUMBER"
			return
		}
		l.Value = float64(share) * of.Value
		if of.Value == 0 { // it is wrong, and said to be
			return
		}
	case unit == load.UnitBytes, unit == load.UnitBytesPerSecond:
		var size block.Size
		block.Decode(n, &size, errs)
		l.Value = float64(size)
	case unit == load.UnitCores:
		block.Decode(n, &l.Value, errs)
	default:
		var count int
		block.Decode(n, &count, errs)
		l.Value = float64(count)
	}
	if errs.Len() == before && l.Value <= 0 {
		errs.Add(n.Pos, n.Path, "must be more than 0, got %s", n.Found())
	}
}

// longestFor bounds how many readings of a resource are averaged.
const longestFor = 24 * time.Hour

// resourceFields is ResourceConfig without its DecodeBlock, which decodes into it.
type resourceFields ResourceConfig

// DecodeBlock decodes the block over its defaults.
func (c *ResourceConfig) DecodeBlock(n *block.Node, errs *block.Errors) {
	*c = ResourceConfig{Every: block.Duration(15 * time.Second), WarnAt: 0.85}
	block.Decode(n, (*resourceFields)(c), errs)
	c.Of.missing = c.Of.at == nil
	c.Of.decode(c.Kind, nil, errs)
	c.Limit.decode(c.Kind, &c.Of, errs)
	if load.ResourceRate(c.Kind) && n.Get("for") == nil {
		c.For = block.Duration(sustained)
	}
}

// sustained is for how long a rate must be over its limit by default: it has peaks that say nothing.
const sustained = 5 * time.Minute

// JSONSchema returns the schema of the block.
func (ResourceConfig) JSONSchema() map[string]any { return block.Schema(resourceFields{}) }

// Validate checks that there is exactly one source and that it is complete.
func (c *resourceFields) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("name"); n != nil && !resourceName.MatchString(c.Name.S) {
		errs.Add(n.Pos, n.Path, "a name is made of up to 100 letters, digits, _ and -, got %q", c.Name)
	}
	if n := at.Get("kind"); n != nil && !slices.Contains(kinds, c.Kind) {
		errs.Add(n.Pos, n.Path, "must be one of %s, got %s", strings.Join(kinds, ", "), n.Found()).Hint = block.Nearest(c.Kind, kinds)
	}
	checkSpan(at, "every", c.Every, shortestEvery, longestEvery, errs)
	if n := at.Get("warn_at"); n != nil {
		if c.WarnAt <= 0 || c.WarnAt > 1 {
			errs.Add(n.Pos, n.Path, "must be more than 0%% and at most 100%%, got %s", n.Found())
		}
		if at.Get("limit") == nil {
			errs.Add(n.Pos, n.Path, "needs the limit that it is a share of").Hint = "add limit: SIZE or NUMBER"
		}
	}
	if n := at.Get("for"); n != nil {
		if d := c.For.D(); d != 0 && d < 2*c.Every.D() || d < 0 || d > longestFor {
			errs.Add(n.Pos, n.Path, "must be 0s, or from two reads (%v) to %v, got %s", block.Duration(2*c.Every.D()), block.Duration(longestFor), n.Found())
		}
		if at.Get("limit") == nil {
			errs.Add(n.Pos, n.Path, "needs the limit that it is about").Hint = "add limit: SIZE or NUMBER"
		}
	}
	checkFilled(at, errs, "scrape", "metric", "prometheus", "query", "member")
	checkMetric(at, c.Metric, errs)
	checkReference(c.Scrape, errs)
	checkAddress(c.Prometheus, "http://prometheus:9090", errs)
	checkHeaders(c.Headers, errs)
	if labels := at.Get("labels"); labels != nil {
		for _, k := range labels.Keys {
			if !model.UTF8Validation.IsValidLabelName(k.Name) {
				errs.Add(k.Pos, k.Value.Path, "is no name of a label, got %q", k.Name)
			}
		}
	}
	c.checkSource(at, errs)
}

func (c *resourceFields) checkSource(at *block.Node, errs *block.Errors) {
	scrape, prometheus := at.Get("scrape"), at.Get("prometheus")
	switch {
	case scrape == nil && prometheus == nil:
		errs.Add(at.Pos, at.Path, "says not where the level is read").Hint = "write scrape: URL and metric: NAME, or prometheus: URL and query: EXPRESSION"
		return
	case scrape != nil && prometheus != nil:
		errs.Add(prometheus.Pos, prometheus.Path, "is a second source beside scrape").Hint = "choose one of scrape and prometheus"
		return
	}
	source, needs, other := "scrape", "metric", []string{"query"}
	if prometheus != nil {
		source, needs, other = "prometheus", "query", []string{"metric", "labels"}
	}
	if at.Get(needs) == nil {
		errs.Add(at.Pos, block.Join(at.Path, needs), "is required with %s", source)
	}
	for _, key := range other {
		if n := at.Get(key); n != nil {
			errs.Add(n.Pos, n.Path, "does not go with %s", source)
		}
	}
}
