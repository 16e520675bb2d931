package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
)

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

// Metrics is one scrape.
type Metrics map[string]*dto.MetricFamily

// Scrape reads metrics the way Prometheus does when it wants native histograms:
// delimited protobuf.
func Scrape(ctx context.Context, url string) (Metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", protobuf)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape %s: status %s", url, res.Status)
	}
	all := Metrics{}
	families := protodelim.UnmarshalOptions{MaxSize: -1} // one of many series has tens of megabytes
	for body := bufio.NewReader(res.Body); ; {
		f := &dto.MetricFamily{}
		switch err := families.UnmarshalFrom(body, f); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("scrape %s: %w", url, err)
		}
		all[f.GetName()] = f
	}
}

// Value is the sum of all series of a counter or gauge that carry the labels,
// each given as name=value; 0 if there is none.
func (m Metrics) Value(name string, labels ...string) float64 {
	total := 0.0
	for _, s := range m.Series(name, labels...) {
		switch {
		case s.Counter != nil:
			total += s.Counter.GetValue()
		case s.Gauge != nil:
			total += s.Gauge.GetValue()
		case s.Untyped != nil:
			total += s.Untyped.GetValue()
		}
	}
	return total
}

// Histogram is the first histogram that carries the labels, nil if there is none.
func (m Metrics) Histogram(name string, labels ...string) *dto.Histogram {
	for _, s := range m.Series(name, labels...) {
		return s.GetHistogram()
	}
	return nil
}

// Series lists the series of a family that carry the labels.
func (m Metrics) Series(name string, labels ...string) []*dto.Metric {
	var found []*dto.Metric
	for _, s := range m[name].GetMetric() {
		if carries(s, labels) {
			found = append(found, s)
		}
	}
	return found
}

func carries(s *dto.Metric, labels []string) bool {
	for _, want := range labels {
		name, value, _ := strings.Cut(want, "=")
		has := false
		for _, l := range s.GetLabel() {
			has = has || l.GetName() == name && l.GetValue() == value
		}
		if !has {
			return false
		}
	}
	return true
}
