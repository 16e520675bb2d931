package fleet

import (
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/validity"
)

// BenchmarkRecorded holds a result against what disturbed perfd and records it, as
// every result is: at most 60 ns, without an allocation.
func BenchmarkRecorded(b *testing.B) {
	for _, c := range []struct {
		name  string
		limit time.Duration // 0: every result is late
	}{{"undisturbed", time.Second}, {"late", 0}} {
		b.Run(c.name, func(b *testing.B) {
			valid := validity.NewScenario(validity.NewTimeline(), c.limit)
			sink, err := record.New(record.Options{}).Open(record.Scenario{
				Name: "soak", Test: "load", Executor: "constant-arrival-rate", Model: "open",
				Steps: []record.Series{{Step: "login", Target: "shop", Protocol: "http", Checks: []string{"has a token"}}},
			})
			if err != nil {
				b.Fatal(err)
			}
			results := make([]load.Result, 1<<12)
			for i := range results {
				d := int64(5*time.Millisecond) + int64(i*7919%len(results))*int64(20*time.Microsecond)
				results[i] = load.Result{
					Sent: 50e3, Done: 50e3 + d, Code: 200, SentBytes: 120, ReceivedBytes: 900,
					Phases: [load.NumPhases]int64{load.PhaseFirstByte: d - 1e5, load.PhaseTransfer: 1e5},
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r := &results[i&(len(results)-1)]
				r.Touched = valid.Touched(r, 0)
				sink.Record(i, r)
				i++
			}
		})
	}
}
