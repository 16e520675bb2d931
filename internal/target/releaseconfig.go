package target

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

// The bounds of durations in the configuration.
const (
	shortestEvery = time.Second
	longestEvery  = time.Hour
	longestSettle = 24 * time.Hour
)

// A ReleaseConfig is the block that says how perfd learns the target's release: by
// reading an answer of the target, or by POST /api/v1/releases.
type ReleaseConfig struct {
	URL    block.Text     `yaml:"url" doc:"Where the release is read: a path on the target, such as /version, or an address."`
	JSON   block.Text     `yaml:"json" doc:"Path in the answer's JSON at which the release is, such as git_sha or build.version."`
	Header block.Text     `yaml:"header" doc:"Field of the answer's header that holds the release, such as X-Release."`
	Metric block.Text     `yaml:"metric" doc:"Metric with the release in a label, such as shop_release_info; url is the page of metrics then."`
	Label  block.Text     `yaml:"label" doc:"Label of the metric that holds the release."`
	Push   bool           `yaml:"push" doc:"true: nothing is read, releases are only told, by POST /api/v1/releases. They may be told in any case."`
	Every  block.Duration `yaml:"every" doc:"Time between two reads (default 30s, from 1s to 1h)."`
	Settle block.Duration `yaml:"settle" scale:"time" doc:"How long all reads must agree on a release before its windows count (default 5m)."`

	Headers block.Entries[block.Text] `yaml:"headers" doc:"Header fields of this read; they take the place of those of the target's http, which other hosts do not get."`
}

// releaseFields is ReleaseConfig without its DecodeBlock, which decodes into it.
type releaseFields ReleaseConfig

// DecodeBlock decodes the block over its defaults.
func (c *ReleaseConfig) DecodeBlock(n *block.Node, errs *block.Errors) {
	*c = ReleaseConfig{Every: block.Duration(30 * time.Second), Settle: block.Duration(5 * time.Minute)}
	block.Decode(n, (*releaseFields)(c), errs)
}

// JSONSchema returns the schema of the block.
func (ReleaseConfig) JSONSchema() map[string]any { return block.Schema(releaseFields{}) }

// Validate checks that there is exactly one source and that it is complete.
func (c *releaseFields) Validate(at *block.Node, errs *block.Errors) {
	checkSpan(at, "every", c.Every, shortestEvery, longestEvery, errs)
	checkSpan(at, "settle", c.Settle, 0, longestSettle, errs)
	checkFilled(at, errs, "url", "json", "header", "metric", "label")
	if h := at.Get("header"); h != nil && c.Header.S != "" && !wire.IsToken(c.Header.S) {
		errs.Add(h.Pos, h.Path, "is no name of a header field, got %q", c.Header)
	}
	checkMetric(at, c.Metric, errs)
	checkReference(c.URL, errs)
	checkHeaders(c.Headers, errs)
	c.checkSource(at, errs)
}

func (c *releaseFields) checkSource(at *block.Node, errs *block.Errors) {
	var given []*block.Node
	for _, key := range []string{"json", "header", "metric"} {
		if n := at.Get(key); n != nil {
			given = append(given, n)
		}
	}
	url, label := at.Get("url"), at.Get("label")
	switch {
	case c.Push && (url != nil || len(given) > 0):
		p := at.Get("push")
		errs.Add(p.Pos, p.Path, "means that nothing is read, but there is something to read").Hint = "leave push out: releases may be told in any case"
	case c.Push:
	case len(given) == 0 && url == nil:
		errs.Add(at.Pos, at.Path, "says not where the release comes from").Hint = "write {url: /version, json: git_sha}, or {push: true} where whoever deploys tells it"
	case len(given) == 0:
		errs.Add(url.Pos, at.Path, "says not where in the answer the release is").Hint = "add json: PATH, header: NAME, or metric: NAME and label: NAME"
	case len(given) > 1:
		errs.Add(given[1].Pos, given[1].Path, "is a second place for the release beside %s", lastKey(given[0].Path)).Hint = "choose one of json, header and metric"
	case url == nil:
		errs.Add(at.Pos, block.Join(at.Path, "url"), "is required")
	}
	metric := at.Get("metric")
	switch {
	case label != nil && metric == nil:
		errs.Add(label.Pos, label.Path, "needs the metric that it is a label of").Hint = "add metric: NAME"
	case metric != nil && label == nil:
		errs.Add(metric.Pos, metric.Path, "needs the label that holds the release").Hint = "add label: NAME"
	}
}

// lastKey returns the last key of a path.
func lastKey(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// checkSpan reports a duration outside of its bounds, if the document has the key.
func checkSpan(at *block.Node, key string, d block.Duration, least, most time.Duration, errs *block.Errors) {
	if n := at.Get(key); n != nil && (d.D() < least || d.D() > most) {
		errs.Add(n.Pos, n.Path, "must be from %s to %s, got %s", block.Duration(least), block.Duration(most), d)
	}
}

// checkFilled reports keys of the document with empty text.
func checkFilled(at *block.Node, errs *block.Errors, keys ...string) {
	for _, key := range keys {
		if n := at.Get(key); n != nil && n.Kind == block.String && n.Scalar == "" {
			errs.Add(n.Pos, n.Path, "must not be empty")
		}
	}
}

// checkMetric reports text that is not the name of a metric.
func checkMetric(at *block.Node, name block.Text, errs *block.Errors) {
	n := at.Get("metric")
	switch {
	case n == nil || name.S == "":
	case strings.ContainsAny(name.S, "{}"):
		errs.Add(n.Pos, n.Path, "must be a metric's name alone, got %q", name).Hint = "labels choose among its series: labels: {NAME: VALUE}"
	case !model.UTF8Validation.IsValidMetricName(name.S):
		errs.Add(n.Pos, n.Path, "is no name of a metric, got %q", name)
	}
}

// ownFields are the header fields that perfd writes itself.
var ownFields = []string{"Accept", "Accept-Encoding", "Connection", "Content-Length", "Transfer-Encoding", "X-Perfd"}

// checkHeaders reports header fields that cannot be sent, or that perfd writes itself.
func checkHeaders(list block.Entries[block.Text], errs *block.Errors) {
	for _, e := range list {
		switch {
		case !wire.IsToken(e.Name.S):
			errs.Add(e.Name.Pos, e.Name.Path, "%q is not a header's name", e.Name.S)
		case slices.ContainsFunc(ownFields, func(own string) bool { return strings.EqualFold(own, e.Name.S) }):
			errs.Add(e.Name.Pos, e.Name.Path, "%s is written by perfd itself", e.Name.S)
		case strings.ContainsAny(e.Value.S, "\r\n\x00"):
			errs.Add(e.Value.Pos, e.Value.Path, "must not hold line ends")
		}
	}
}

// checkReference reports text that is neither a path on the target nor an address.
func checkReference(ref block.Text, errs *block.Errors) {
	if ref.S == "" || strings.Contains(ref.S, "://") {
		checkAddress(ref, "https://shop.staging.example.com/version", errs)
		return
	}
	u, err := url.Parse(ref.S)
	if err != nil || ref.S[0] != '/' || u.Host != "" {
		errs.Add(ref.Pos, ref.Path, "must be a path such as /version or an address such as https://shop.staging.example.com/version, got %q", ref)
		return
	}
	checkPlain(u, ref, errs)
}

// checkAddress reports text that is not an address such as the example.
func checkAddress(ref block.Text, example string, errs *block.Errors) {
	if ref.S == "" {
		return
	}
	u, err := url.Parse(ref.S)
	if err != nil || u.Hostname() == "" || !webScheme(u.Scheme) {
		errs.Add(ref.Pos, ref.Path, "must be an address such as %s, got %q", example, ref)
		return
	}
	checkPlain(u, ref, errs)
}

func checkPlain(u *url.URL, ref block.Text, errs *block.Errors) {
	switch {
	case u.User != nil:
		errs.Add(ref.Pos, ref.Path, "must not hold a user or password")
	case u.Fragment != "":
		errs.Add(ref.Pos, ref.Path, "must not hold a fragment, got %q", ref)
	}
}

func webScheme(scheme string) bool { return scheme == "http" || scheme == "https" }

// resolve returns the address of a reference, which is an address or a path below
// the target's address.
func resolve(target, ref string) string {
	if strings.Contains(ref, "://") {
		return ref
	}
	return strings.TrimSuffix(target, "/") + ref
}
