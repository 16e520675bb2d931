package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A deafJudge takes everything and keeps nothing.
type deafJudge struct{}

func (deafJudge) Sample(load.Sample)                {}
func (deafJudge) Event(load.Event)                  {}
func (deafJudge) Ended(judge.Run)                   {}
func (deafJudge) CollectRuns(analysis.Send, string) {}
func (deafJudge) Forget(string)                     {}

// watching starts a fleet of a document that has targets only; change, which may
// be nil, changes the document after its check.
func watching(t *testing.T, text string, change func(*config.Document)) *Fleet {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := config.Load(config.Options{File: file, Environ: []string{}, Kinds: builtin.Kinds()})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(doc)
	}
	f, err := New(doc, Options{Shards: 1, State: openState(t, memoryDisk{}), Judge: deafJudge{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	f.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// reads lists what the watches have read, and the faults of their reads.
func reads(f *Fleet) (values, faults []string) {
	f.Collect(func(d *metric.Desc, v float64, labels ...string) {
		switch d {
		case metric.TargetRelease, metric.TargetResourceBytes:
			values = append(values, labels[1])
		case metric.TargetReadFailures:
			if v > 0 {
				faults = append(faults, labels[1]+" "+labels[2])
			}
		}
	})
	return values, faults
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s until %s", what)
		}
	}
}

// watched answers everything that a watch reads.
func watched(t *testing.T) (address, port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/version":
			fmt.Fprint(w, `{"v":"v1"}`)
		case "/metrics":
			fmt.Fprint(w, "m 5\n")
		case "/api/v1/query":
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"7"]}}`)
		}
	}))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return s.URL, port
}

const allReads = `
targets:
  - name: shop
    url: %[1]s
    limits: {connections: 1}
    release: {url: %[1]s/version, json: v, every: 1s, settle: 1s}
    resources:
      - {name: page, kind: memory, scrape: %[1]s/metrics, metric: m, every: 1s}
      - {name: query, kind: memory, prometheus: %[1]s, query: m, every: 1s}
`

// TestWatchesDialUnderTheGuard reads each thing from an address that only the
// dialer can refuse, because the document's check did not see it.
func TestWatchesDialUnderTheGuard(t *testing.T) {
	address, port := watched(t)
	elsewhere := func(s *string) { *s = strings.Replace(*s, "127.0.0.1:"+port, "0.0.0.0:"+port, 1) }
	for _, c := range []struct {
		what   string
		change func(*config.Document)
	}{
		{"release", func(d *config.Document) { elsewhere(&d.Targets[0].Release.URL.S) }},
		{"page", func(d *config.Document) { elsewhere(&d.Targets[0].Resources[0].Scrape.S) }},
		{"query", func(d *config.Document) { elsewhere(&d.Targets[0].Resources[1].Prometheus.S) }},
	} {
		f := watching(t, fmt.Sprintf(allReads, address), c.change)
		await(t, "the guard refuses "+c.what+" and the others are read", func() bool {
			values, faults := reads(f)
			return len(values) == 2 && len(faults) == 1 && strings.HasSuffix(faults[0], " guard")
		})
	}
}

// TestWatchesShareNoConnectionsWithLoad has load use all of limits.connections:
// the watch reads all the same, and uses none of them.
func TestWatchesShareNoConnectionsWithLoad(t *testing.T) {
	address, port := watched(t)
	f := watching(t, fmt.Sprintf(allReads, address), nil)
	dialer := f.Target("shop").dialer
	held, err := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatalf("a watch has taken the connection of load: %v", err)
	}
	defer held.Close()
	await(t, "everything is read", func() bool { values, _ := reads(f); return len(values) == 3 })
	if _, faults := reads(f); len(faults) > 0 || dialer.Open() != 1 {
		t.Errorf("faults %q, %d connections of load are open; want none and 1", faults, dialer.Open())
	}
}
