// Package exposition serves /metrics: the families of all scenarios and those
// of the daemon, in the text, OpenMetrics and protobuf formats.
package exposition

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/perfd/perfd/internal/metric"
)

// Options of a handler.
type Options struct {
	// Scenarios gathers families that may change in place after done.
	Scenarios prometheus.TransactionalGatherer
	// Daemon gathers perfd's own families; one with the name of a family of Scenarios is left out.
	Daemon prometheus.Gatherer
	// Drop counts what is left out because it cannot be exposed; nil for nobody.
	Drop func(why metric.Drop, what string)
	// MaxInFlight is how many scrapes may be in progress before further ones are
	// answered with 503; 0 is 4.
	MaxInFlight int
	// Log takes errors of gathering; nil discards them.
	Log *slog.Logger
}

type handler struct {
	Options
	formats  []expfmt.Format
	inFlight chan struct{}
}

// New returns the handler of /metrics. A scrape is encoded and compressed into
// memory first, so that a client that reads slowly holds up no other scrape.
func New(o Options) http.Handler {
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 4
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Drop == nil {
		o.Drop = func(metric.Drop, string) {}
	}
	return &handler{
		Options:  o,
		formats:  expfmt.DefaultOpenMetricsAcceptedFormats(),
		inFlight: make(chan struct{}, o.MaxInFlight),
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	select {
	case h.inFlight <- struct{}{}:
		defer func() { <-h.inFlight }()
	default:
		http.Error(w, fmt.Sprintf("limit of concurrent scrapes reached (%d), try again later", cap(h.inFlight)), http.StatusServiceUnavailable)
		return
	}
	format := expfmt.NegotiateAccept(req.Header, h.formats...)
	compression := negotiate(req.Header.Values("Accept-Encoding"))

	var answer body
	defer answer.free()
	if err := h.scrape(&answer, format, compression); err != nil {
		h.Log.Error("gather metrics", "error", err)
		http.Error(w, "gather metrics: "+err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", string(format))
	header.Set("Vary", "Accept, Accept-Encoding")
	if compression.name != "" {
		header.Set("Content-Encoding", compression.name)
	}
	// An error here is the client's: it went away.
	_, _ = answer.WriteTo(w)
}

// scrape writes one exposition. What cannot be exposed is left out and counted.
func (h *handler) scrape(to io.Writer, format expfmt.Format, c compression) error {
	daemon, err := h.Daemon.Gather()
	if err != nil {
		return err
	}
	scenarios, done, err := h.gatherScenarios()
	defer done()
	if err != nil {
		return err
	}
	families := h.encodable(h.merge(scenarios, daemon))
	out, finish := c.writer(to)
	return errors.Join(encode(out, format, families), finish())
}

// gatherScenarios gathers the families of the scenarios, none where a panic
// keeps them from being gathered.
func (h *handler) gatherScenarios() (families []*dto.MetricFamily, done func(), err error) {
	defer func() {
		if p := recover(); p != nil {
			h.Drop(metric.Panicked, fmt.Sprintf("scenarios: %v", p))
			families, done, err = nil, func() {}, nil
		}
	}()
	return h.Scenarios.Gather()
}

// encodable leaves out the families that an encoder would refuse in the middle
// of an answer, which ends with them.
func (h *handler) encodable(families []*dto.MetricFamily) []*dto.MetricFamily {
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool {
		if problem := problemOf(f); problem != "" {
			h.Drop(metric.Malformed, f.GetName()+": "+problem)
			return true
		}
		return false
	})
}

// problemOf says why a family cannot be encoded, "" where it can.
func problemOf(f *dto.MetricFamily) string {
	if f.GetName() == "" || len(f.Metric) == 0 {
		return "the family has no name or no metric"
	}
	for _, m := range f.Metric {
		has := false
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			has = m.Counter != nil
		case dto.MetricType_GAUGE:
			has = m.Gauge != nil
		case dto.MetricType_SUMMARY:
			has = m.Summary != nil
		case dto.MetricType_UNTYPED:
			has = m.Untyped != nil
		case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
			has = m.Histogram != nil
		}
		if !has {
			return "a metric has no value of the family's type"
		}
	}
	return ""
}

func encode(to io.Writer, format expfmt.Format, families []*dto.MetricFamily) error {
	var encoder expfmt.Encoder
	switch format.FormatType() {
	case expfmt.TypeTextPlain, expfmt.TypeOpenMetrics:
		encoder = newTextEncoder(to, format)
	default:
		encoder = expfmt.NewEncoder(to, format)
	}
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return fmt.Errorf("encode %s: %w", f.GetName(), err)
		}
	}
	return encoder.(expfmt.Closer).Close() // every Encoder of expfmt is one
}

// merge merges the families of scenarios and daemon, both sorted by name. Of two
// with one name the scenarios' is kept.
func (h *handler) merge(a, b []*dto.MetricFamily) []*dto.MetricFamily {
	all := make([]*dto.MetricFamily, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch order := strings.Compare(a[0].GetName(), b[0].GetName()); {
		case order < 0:
			all, a = append(all, a[0]), a[1:]
		case order > 0:
			all, b = append(all, b[0]), b[1:]
		default:
			h.Drop(metric.Duplicate, "the family "+b[0].GetName()+" of the daemon")
			b = b[1:]
		}
	}
	return append(append(all, a...), b...)
}
