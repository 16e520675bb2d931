package target

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"
)

const (
	text004      = "text/plain; version=0.0.4; charset=utf-8"
	openMetrics1 = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	delimited    = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

// found reads a page's series as "name member value", the member out of the label pod.
func found(page, contentType string, wanted ...string) ([]string, error) {
	var list []string
	err := readPage([]byte(page), contentType, wanted, func(s series) error {
		list = append(list, fmt.Sprintf("%s %q %v", s.name, s.label("pod"), s.value))
		return nil
	})
	return list, err
}

// exposed encodes a registry with every kind of metric.
func exposed(t *testing.T, format expfmt.Format) string {
	t.Helper()
	r := prometheus.NewRegistry()
	heap := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "heap_bytes"}, []string{"pod", "area"})
	orders := prometheus.NewCounter(prometheus.CounterOpts{Name: "orders_total", Help: "Orders\nof \"all\" kinds."})
	odd := prometheus.NewUntypedFunc(prometheus.UntypedOpts{Name: "odd"}, func() float64 { return math.NaN() })
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "took_seconds", Buckets: []float64{1}, NativeHistogramBucketFactor: 1.1})
	asked := prometheus.NewSummary(prometheus.SummaryOpts{Name: "asked_seconds", Objectives: map[float64]float64{0.5: 0.1}})
	r.MustRegister(heap, orders, odd, took, asked)
	heap.WithLabelValues("a\\\"b\n", "x").Set(1.5e9)
	heap.WithLabelValues("c", "y").Set(-3)
	orders.Add(7)
	took.Observe(0.5)
	asked.Observe(0.5)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	e := expfmt.NewEncoder(&page, format)
	for _, f := range families {
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if c, ok := e.(expfmt.Closer); ok {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return page.String()
}

func TestThreeFormatsSayTheSame(t *testing.T) {
	want := []string{`heap_bytes "a\\\"b\n" 1.5e+09`, `heap_bytes "c" -3`, `odd "" NaN`, `orders_total "" 7`}
	for contentType, format := range map[string]expfmt.Format{
		text004:                           expfmt.FmtText,
		openMetrics1:                      expfmt.FmtOpenMetrics_1_0_0,
		delimited:                         expfmt.FmtProtoDelim,
		"":                                expfmt.FmtText,
		"application/vnd.google.protobuf": expfmt.FmtProtoDelim,
	} {
		got, err := found(exposed(t, format), contentType, "heap_bytes", "orders_total", "odd", "heap")
		if err != nil {
			t.Errorf("%s: %v", contentType, err)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", contentType, diff)
		}
	}
}

func TestPages(t *testing.T) {
	for _, c := range []struct {
		name, contentType, page string
		want                    []string
	}{
		{"info", openMetrics1, "# TYPE a info\na_info{pod=\"x\"} 1\n# EOF\n", []string{`a_info "x" 1`}},
		{"unknown", openMetrics1, "# TYPE a unknown\na{pod=\"x\"} 1.5 1700000000.5\n# EOF\n", []string{`a "x" 1.5`}},
		{"an exemplar", openMetrics1, "# TYPE c counter\nc_total 9 # {trace_id=\"x\"} 1 2\n# EOF\n", []string{`c_total "" 9`}},
		{"a stateset", openMetrics1, "# TYPE a stateset\na{a=\"on\"} 1\na{a=\"off\"} 0\n# EOF\n", []string{`a "" 1`, `a "" 0`}},
		{"no types at all", text004, "a 1\na_info{pod=\"x\"} 2 1700000000000\n", []string{`a "" 1`, `a_info "x" 2`}},
		{"a quoted name", text004, "{\"a.b\",pod=\"x\"} 3\n", []string{`a.b "x" 3`}},
		{"other names that begin alike", text004, "ab 1\na{pod=\"x\"} 2\na_ 3\n", []string{`a "x" 2`}},
		{"infinities", text004, "a +Inf\n", []string{`a "" +Inf`}},
		{"lines that say nothing", text004, "\n\n# a comment\n#\na 1\n", []string{`a "" 1`}},
		{"an empty page of text", text004, "", nil},
		{"an empty page of OpenMetrics", openMetrics1, "# EOF\n", nil},
		{"an empty page of protobuf", delimited, "", nil},
		{"empty families", delimited, strings.Repeat("\x00", 100), nil},
	} {
		got, err := found(c.page, c.contentType, "a", "a_info", "c_total", "a.b")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestPagesThatCannotBeRead(t *testing.T) {
	long := &dto.Metric{Gauge: &dto.Gauge{Value: new(1.)}, Label: []*dto.LabelPair{{Name: new("x"), Value: new(strings.Repeat("x", longestMetric))}}}
	for _, c := range []struct{ name, contentType, page, want string }{
		{"a page for people", "text/html; charset=utf-8", "<html>", `no page of metrics: Content-Type "text/html; charset=utf-8"`},
		{"a type that is none", "text/", "a 1\n", `read Content-Type "text/": mime: expected token after slash`},
		{"another protobuf", "application/vnd.google.protobuf; encoding=text", "", `metrics in protobuf's encoding "text", want delimited`},
		{"OpenMetrics that was cut off", openMetrics1, "a 1\n", "read metrics: data does not end with # EOF"},
		{"text with a broken value", text004, "a x\n", "read metrics: strconv.ParseFloat: parsing"},
		{"protobuf that was cut off", delimited, "\x7fa", "read metrics: broken protobuf"},
		{"a length beyond all bounds", delimited, "\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "read metrics: broken protobuf"},
		{"a field of no kind", delimited, "\x01\x0f", "read metrics: broken protobuf"},
		{"a broken metric", delimited, "\x06\x0a\x01a\x22\x01\xff", "read metrics: proto:"},
		{"a metric that is too long", delimited, encoded(t, &dto.MetricFamily{Name: new("a"), Metric: []*dto.Metric{long}}), "read metrics: a series of a takes 65558 bytes, more than 65536"},
	} {
		_, err := found(c.page, c.contentType, "a")
		if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), c.want) {
			t.Errorf("%s: error %v, want %s…", c.name, err, c.want)
		}
	}
}

func encoded(t *testing.T, f *dto.MetricFamily) string {
	t.Helper()
	var page bytes.Buffer
	if _, err := protodelim.MarshalTo(&page, f); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// TestHostilePages reads pages of the greatest length that cost a careless
// reader its stack or its memory: a fatal error, which nothing can recover.
func TestHostilePages(t *testing.T) {
	if testing.Short() {
		t.Skip("each page is 16 MiB")
	}
	t.Parallel()
	family := func(body string) string { return string(protowireLength(len(body))) + body }
	name := "\x0a\x01a"
	for _, c := range []struct{ name, contentType, page string }{
		{"families without a name", delimited, strings.Repeat("\x00", longestAnswer)},
		{"families without metrics", delimited, strings.Repeat(family(name), longestAnswer/4)},
		{"a family of empty metrics", delimited, family(name + strings.Repeat("\x22\x00", longestAnswer/2-8))},
		{"lines without an end", text004, strings.Repeat("\n", longestAnswer)},
	} {
		found, err := found(c.page, c.contentType, "a")
		if len(found) > 0 {
			t.Errorf("%s: found %d series, error %v", c.name, len(found), err)
		}
	}
	deep := answer{body: bytes.Repeat([]byte("["), longestAnswer)}
	if _, err := (&ReleaseConfig{}).find(&deep); err == nil || !strings.HasPrefix(err.Error(), "the answer is no JSON: [[[") {
		t.Errorf("JSON without a ground: %v", err)
	}
}

// protowireLength is a length as protobuf writes it.
func protowireLength(n int) []byte {
	var out []byte
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

func TestAnErrorEndsThePage(t *testing.T) {
	enough := errors.New("enough")
	for contentType, format := range map[string]expfmt.Format{text004: expfmt.FmtText, delimited: expfmt.FmtProtoDelim} {
		n := 0
		err := readPage([]byte(exposed(t, format)), contentType, []string{"heap_bytes"}, func(series) error { n++; return enough })
		if !errors.Is(err, enough) || n != 1 {
			t.Errorf("%s: error %v after %d series, want %v after 1", contentType, err, n, enough)
		}
	}
}

// FuzzReadProtobuf holds our reader to protobuf's own.
func FuzzReadProtobuf(f *testing.F) {
	f.Add([]byte(encodedFamilies()))
	f.Add([]byte("\x06\x0a\x01a\x22\x01\xff"))
	f.Add([]byte("\x00\x00\x03\x0a\x01a"))
	f.Fuzz(func(t *testing.T, page []byte) {
		var got []string
		err := readPage(page, delimited, []string{"a"}, func(s series) error {
			got = append(got, fmt.Sprintf("%q %v", s.label("pod"), s.value))
			return nil
		})
		if err != nil {
			return
		}
		r := bufio.NewReader(bytes.NewReader(page))
		var want []string
		for {
			var f dto.MetricFamily
			err := protodelim.UnmarshalOptions{MaxSize: int64(len(page))}.UnmarshalFrom(r, &f)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil { // in what we pass over
				return
			}
			if f.GetName() == "a" {
				want = append(want, numbers(&f)...)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("page %q (-want +got):\n%s", page, diff)
		}
	})
}

// numbers lists the series of a family that have one value.
func numbers(f *dto.MetricFamily) (list []string) {
	for _, m := range f.Metric {
		var v float64
		switch {
		case m.Gauge != nil:
			v = m.Gauge.GetValue()
		case m.Counter != nil:
			v = m.Counter.GetValue()
		case m.Untyped != nil:
			v = m.Untyped.GetValue()
		default:
			continue
		}
		i := slices.IndexFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "pod" })
		pod := ""
		if i >= 0 {
			pod = m.Label[i].GetValue()
		}
		list = append(list, fmt.Sprintf("%q %v", pod, v))
	}
	return list
}

func encodedFamilies() string {
	var page bytes.Buffer
	for _, f := range []*dto.MetricFamily{
		{Name: new("b"), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: new(1.)}}}},
		{Name: new("a"), Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{
			{Gauge: &dto.Gauge{Value: new(2.)}, Label: []*dto.LabelPair{{Name: new("pod"), Value: new("x")}}, TimestampMs: new(int64(5))},
			{Counter: &dto.Counter{Value: new(3.)}},
			{Untyped: &dto.Untyped{Value: new(4.)}},
			{Summary: &dto.Summary{}},
		}},
	} {
		_, _ = protodelim.MarshalTo(&page, f) // to memory
	}
	return page.String()
}

// FuzzReadText checks that no page makes the reader panic or return a series that is not wanted.
func FuzzReadText(f *testing.F) {
	f.Add([]byte("# TYPE a gauge\na{pod=\"x\"} 1\n# EOF\n"), true)
	f.Add([]byte("{\"a\",pod=\"x\"} NaN 17\n"), false)
	f.Fuzz(func(t *testing.T, page []byte, open bool) {
		contentType := text004
		if open {
			contentType = openMetrics1
		}
		_ = readPage(page, contentType, []string{"a"}, func(s series) error {
			if s.name != "a" || !bytes.Contains(page, []byte("a")) {
				t.Errorf("found %q on %q", s.name, page)
			}
			return nil
		})
	})
}
