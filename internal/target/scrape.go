package target

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	protobufType = "application/vnd.google.protobuf"
	// accepted is the Accept header of a page of metrics. OpenMetrics is preferred, as
	// in Prometheus, so that metrics have the same names as there.
	accepted = "application/openmetrics-text;version=1.0.0;q=0.9," +
		"text/plain;version=0.0.4;q=0.7," +
		protobufType + ";proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.5,*/*;q=0.1"
)

// A series is one series of a page of metrics. It is valid until the next one is read.
type series struct {
	name  string
	value float64
	label func(name string) string // returns "" for a label that is not there
}

// readPage calls each with the series of the wanted names on a page of metrics in
// any of the accepted formats. A page without Content-Type is read as text. An error of
// each ends readPage.
func readPage(page []byte, contentType string, wanted []string, each func(series) error) error {
	if contentType == "" {
		contentType = "text/plain"
	}
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("read Content-Type %q: %w", contentType, err)
	}
	if kind != protobufType {
		return readText(page, contentType, wanted, each)
	}
	if e := params["encoding"]; e != "" && e != "delimited" {
		return fmt.Errorf("metrics in protobuf's encoding %q, want delimited", e)
	}
	return readProtobuf(page, wanted, each)
}

// readText reads Prometheus text 0.0.4 and OpenMetrics 1.0.
func readText(page []byte, contentType string, wanted []string, each func(series) error) error {
	p, err := textparse.New(page, contentType, nil, textparse.ParserOptions{})
	if err != nil {
		return fmt.Errorf("no page of metrics: Content-Type %q", contentType)
	}
	var found labels.Labels
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read metrics: %w", err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		line, _, value := p.Series()
		if !maybeWanted(line, wanted) {
			continue
		}
		p.Labels(&found)
		name := found.Get(model.MetricNameLabel)
		if !slices.Contains(wanted, name) {
			continue
		}
		if err := each(series{name, value, found.Get}); err != nil {
			return err
		}
	}
}

// maybeWanted reports whether a series may have a wanted name. It excludes most
// others without parsing their labels.
func maybeWanted(line []byte, wanted []string) bool {
	if len(line) > 0 && line[0] == '{' { // the name is in quotes, anywhere among the labels
		return true
	}
	return slices.ContainsFunc(wanted, func(name string) bool { return bytes.HasPrefix(line, []byte(name)) })
}

// The fields of io.prometheus.client.MetricFamily that are read here
// (client_model, io/prometheus/client/metrics.proto).
const (
	familyName   protowire.Number = 1
	familyMetric protowire.Number = 4
)

const (
	// longestMetric bounds one series in protobuf, in bytes, because it takes many times more when it is decoded.
	longestMetric = 64 << 10
	// mostSeries bounds the series of one metric, which may take two bytes each.
	mostSeries = 100_000
)

var errProtobuf = errors.New("read metrics: broken protobuf")

// readProtobuf reads length-delimited metric families. It decodes wanted metrics
// only, one at a time, because decoders of whole pages allocate as much memory or
// stack as a page claims to need. It skips metrics other than counters, gauges and
// untyped ones, which have no single value.
func readProtobuf(page []byte, wanted []string, each func(series) error) error {
	for len(page) > 0 {
		family, n := protowire.ConsumeBytes(page)
		if n < 0 {
			return errProtobuf
		}
		page = page[n:]
		name, err := nameOf(family)
		if err != nil {
			return err
		}
		if !slices.Contains(wanted, name) {
			continue
		}
		if err := readFamily(family, name, each); err != nil {
			return err
		}
	}
	return nil
}

func nameOf(family []byte) (name string, err error) {
	err = eachField(family, func(field protowire.Number, value []byte) error {
		if field == familyName {
			name = string(value)
		}
		return nil
	})
	return name, err
}

func readFamily(family []byte, name string, each func(series) error) error {
	count := 0
	return eachField(family, func(field protowire.Number, value []byte) error {
		if field != familyMetric {
			return nil
		}
		count++
		switch {
		case count > mostSeries:
			return fmt.Errorf("read metrics: %s has more than %d series", name, mostSeries)
		case len(value) > longestMetric:
			return fmt.Errorf("read metrics: a series of %s takes %d bytes, more than %d", name, len(value), longestMetric)
		}
		var m dto.Metric
		if err := proto.Unmarshal(value, &m); err != nil {
			return fmt.Errorf("read metrics: %w", err)
		}
		s := series{name: name, label: func(label string) string {
			for _, l := range m.GetLabel() {
				if l.GetName() == label {
					return l.GetValue()
				}
			}
			return ""
		}}
		switch {
		case m.Gauge != nil:
			s.value = m.Gauge.GetValue()
		case m.Counter != nil:
			s.value = m.Counter.GetValue()
		case m.Untyped != nil:
			s.value = m.Untyped.GetValue()
		default:
			return nil
		}
		return each(s)
	})
}

// eachField calls do with the fields of a message that have a length.
func eachField(message []byte, do func(field protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errProtobuf
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(field, kind, message)
		if size < 0 {
			return errProtobuf
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			if err := do(field, value); err != nil {
				return err
			}
		}
		message = message[size:]
	}
	return nil
}

// excerpt returns text of an answer in a length that fits a log line.
func excerpt(s string) string { return shortened(s, 200) }

// shortened returns at most so many bytes of a text.
func shortened(s string, most int) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "\uFFFD")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
