package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/demo"
)

// A spanSink is a collector that remembers which service sent which spans.
type spanSink struct {
	mu    sync.Mutex
	spans map[string]int // by service and name
}

func (s *spanSink) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	var got collector.ExportTraceServiceRequest
	if proto.Unmarshal(text, &got) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range got.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, span := range scope.Spans {
				s.spans[of.Resource.Attributes[0].Value.GetStringValue()+": "+span.Name]++
			}
		}
	}
}

func TestServicesOfTheDemo(t *testing.T) {
	sink := &spanSink{spans: map[string]int{}}
	to := httptest.NewServer(sink)
	defer to.Close()
	for _, c := range []struct {
		name, endpoint string
		want           map[string]int
	}{
		{"without a collector", "", map[string]int{}},
		{"with a collector", to.URL, map[string]int{
			"order: POST /api/orders": 1, "order: POST /api/inventory/reservations": 1, "inventory: POST /api/inventory/reservations": 1,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.endpoint)
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
			var log bytes.Buffer
			end, err := startServices(t.Context(), "127.0.0.1:0", slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			urls := map[string]string{}
			for _, m := range regexp.MustCompile(`service=(\w+) url=(\S+)`).FindAllStringSubmatch(log.String(), -1) {
				urls[m[1]] = m[2]
			}
			if len(urls) != len(demo.ServiceNames) {
				t.Fatalf("the log names %v, want each service with its URL", urls)
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, urls["order"]+"/api/orders", strings.NewReader(`{"customerId":"c","items":[{"productId":1,"quantity":1,"price":1}]}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				t.Errorf("an order is answered with %d, want 201", resp.StatusCode)
			}
			if err := end(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(c.want, sink.spans); diff != "" {
				t.Errorf("spans (-want +got):\n%s", diff)
			}
			if _, err := client.Get(urls["user"] + "/healthz"); err == nil {
				t.Error("services answer after their end")
			}
		})
	}
}

func TestDemoSaysWhichAddressIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		o    DemoOptions
		says string
	}{
		{DemoOptions{Address: taken.Addr().String()}, "--demo.listen-address"},
		{DemoOptions{Address: "127.0.0.1:0", Services: true, ServicesAddress: taken.Addr().String()}, "--services.listen-address"},
		{DemoOptions{Address: "127.0.0.1:0", Services: true, ServicesAddress: "127.0.0.1"}, "--services.listen-address"},
	} {
		var usage *app.UsageError
		err := Demo(context.Background(), app.Options{Log: slog.New(slog.DiscardHandler)}, c.o)
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Demo with %+v = %v, want a wrong usage of %s", c.o, err, c.says)
		}
	}
}
