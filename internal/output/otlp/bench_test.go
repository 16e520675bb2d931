package otlp

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
)

// BenchmarkExport is what one exported iteration of one request costs, receiver
// included, by compression.
func BenchmarkExport(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	secrets := strings.NewReplacer("s3cret-of-shop", "…", "token-abcdef", "…", "another-passw0rd", "…").Replace
	for _, c := range []struct {
		name, compression string
		strike            func(string) string
	}{{"gzip", compressionGzip, nil}, {"none", compressionNone, nil}, {"gzip, with secrets", compressionGzip, secrets}} {
		b.Run(c.name, func(b *testing.B) {
			e, err := New(Options{Config: must(b, "{endpoint: '"+server.URL+"', compression: "+c.compression+"}"), Environ: noEnviron, Strike: c.strike})
			if err != nil {
				b.Fatal(err)
			}
			t := e.tracer(output.Run{Scenario: "shop", ID: "20261124T000000Z", Test: "load", Zero: time.Now(), Steps: []output.Step{{Label: "get", Target: "shop"}}})
			trace := &load.Trace{Requests: []load.TraceRequest{{Result: load.Result{Done: 1000, Code: 200}}}}
			trace.Sampled = true
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				t.Trace(trace)
				if n++; n%256 == 0 {
					e.export(true)
				}
			}
			if s := e.Stats(); s.Dropped[QueueFull]+s.Dropped[ExportFailed] > 0 {
				b.Errorf("stats: %+v", s)
			}
			_ = e.Close(b.Context())
		})
	}
}
