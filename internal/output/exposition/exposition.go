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

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"github.com/perfd/perfd/internal/metric"
)

// Options of a handler.
type Options struct {
	// Scenarios gathers counters without exemplars, gauges and integer histograms whose names
	// and labels' names are letters, digits and _.
	Scenarios metric.Source
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

// New returns the handler of /metrics. A scrape is encoded and compressed as fast as it
// can be, and what its client has not taken waits in memory, so that a client that reads
// slowly holds up no other scrape.
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

	daemon, err := h.Daemon.Gather()
	if err != nil {
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
	if err := h.answer(w, format, compression, daemon); err != nil {
		h.Log.Error("encode metrics", "error", err)
		panic(http.ErrAbortHandler) // what was sent is no answer
	}
}

// answer writes one exposition. What cannot be exposed is left out and counted.
func (h *handler) answer(to io.Writer, format expfmt.Format, c compression, daemon []*dto.MetricFamily) error {
	a := newAnswer()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		a.sendTo(to)
	}()
	defer func() {
		a.end()
		<-sent
	}()
	out, finish := c.writer(a)
	return errors.Join(h.encode(newEncoder(out, format), h.encodable(daemon)), finish())
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
		if !hasValue(f, m) {
			return noValue
		}
	}
	return ""
}

const noValue = "a metric has no value of the family's type"

func hasValue(f *dto.MetricFamily, m *dto.Metric) bool {
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		return m.Counter != nil
	case dto.MetricType_GAUGE:
		return m.Gauge != nil
	case dto.MetricType_SUMMARY:
		return m.Summary != nil
	case dto.MetricType_UNTYPED:
		return m.Untyped != nil
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return m.Histogram != nil
	}
	return false
}

// An encoder writes one exposition.
type encoder interface {
	// Encode writes a family as a whole.
	Encode(*dto.MetricFamily) error
	// metric writes one metric of a family, whose others come right before and after it.
	metric(*dto.MetricFamily, *dto.Metric) error
	// Close writes what the format ends with.
	Close() error
}

func newEncoder(to io.Writer, format expfmt.Format) encoder {
	switch format.FormatType() {
	case expfmt.TypeTextPlain, expfmt.TypeOpenMetrics:
		return newTextEncoder(to, format)
	case expfmt.TypeProtoDelim:
		return newProtoEncoder(to, format)
	default:
		return &wholeEncoder{Encoder: expfmt.NewEncoder(to, format)}
	}
}

// encode writes the series of scenarios and the families of the daemon, both sorted by
// name, as one. Of two families with one name the scenarios' is kept.
func (h *handler) encode(e encoder, daemon []*dto.MetricFamily) error {
	daemon, err := h.encodeScenarios(e, daemon)
	if err != nil {
		return err
	}
	for _, f := range daemon {
		if err := e.Encode(f); err != nil {
			return fmt.Errorf("encode %s: %w", f.GetName(), err)
		}
	}
	return e.Close()
}

// encodeScenarios writes the series of scenarios and the daemon's families up to the last of
// them, and returns the families that are left. A panic ends what the scenarios have.
func (h *handler) encodeScenarios(e encoder, daemon []*dto.MetricFamily) (left []*dto.MetricFamily, err error) {
	left = daemon
	defer func() {
		if p := recover(); p != nil {
			h.Drop(metric.Panicked, fmt.Sprintf("scenarios: %v", p))
			err = nil
		}
	}()
	var family *dto.MetricFamily
	for f, m := range h.Scenarios.Gather() {
		if f != family {
			family = f
			for len(left) > 0 && left[0].GetName() <= f.GetName() {
				next := left[0]
				left = left[1:]
				if next.GetName() == f.GetName() {
					h.Drop(metric.Duplicate, "the family "+next.GetName()+" of the daemon")
				} else if err := e.Encode(next); err != nil {
					return left, fmt.Errorf("encode %s: %w", next.GetName(), err)
				}
			}
		}
		if !hasValue(f, m) {
			h.Drop(metric.Malformed, f.GetName()+": "+noValue)
			continue
		}
		if err := e.metric(f, m); err != nil {
			return left, fmt.Errorf("encode %s: %w", f.GetName(), err)
		}
	}
	return left, nil
}

// A wholeEncoder gathers the metrics of a family before it is written, for the formats that
// only people read.
type wholeEncoder struct {
	expfmt.Encoder
	family *dto.MetricFamily // of metric; nil for none
	copied *dto.MetricFamily // with all metrics so far
}

func (e *wholeEncoder) Encode(f *dto.MetricFamily) error {
	return errors.Join(e.end(), e.Encoder.Encode(f))
}

func (e *wholeEncoder) metric(f *dto.MetricFamily, m *dto.Metric) (err error) {
	if f != e.family {
		err = e.end()
		e.family = f
		e.copied = &dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type}
	}
	e.copied.Metric = append(e.copied.Metric, proto.CloneOf(m))
	return err
}

func (e *wholeEncoder) end() error {
	if e.family == nil {
		return nil
	}
	e.family = nil
	return e.Encoder.Encode(e.copied)
}

// Close writes the last family.
func (e *wholeEncoder) Close() error { return e.end() }
