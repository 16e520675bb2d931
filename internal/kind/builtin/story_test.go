package builtin

import (
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

var update = flag.Bool("update", false, "rewrite testdata")

// A shop leaks with each request from 50 MB on, crosses the limit of its heap, is killed there and comes back. The
// golden file is what a person reads on the way, of all analyses of resources together.
func TestStoryALimitThatIsCrossed(t *testing.T) {
	const limit = 2 << 30
	kinds := Kinds().Analyses
	group := analysis.NewGroup(kinds)
	group.Configure(&analysis.Description{Targets: []analysis.Target{{Name: "shop", Resources: []analysis.Resource{
		{Name: "heap", Kind: load.ResourceMemory, Limit: limit, WarnAt: 0.85, Every: 15 * time.Second},
	}}}})
	board := analysis.NewBoard(analysis.BoardOptions{Kinds: kinds, Log: slog.New(slog.DiscardHandler)}, nil)
	rng := rand.New(rand.NewPCG(1, 1))
	began := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	held, garbage, killed := 50e6, 0.0, false
	states := map[string]string{}
	var said strings.Builder
	for now := began; now.Before(began.Add(6 * time.Hour)); now = now.Add(15 * time.Second) {
		requests := uint64(math.Round(450 + 20*rng.NormFloat64()))
		held += 4000 * float64(requests)
		if garbage += 6e6; garbage > 0.2*held {
			garbage = 0
		}
		if held+garbage > 1.02*limit && !killed {
			held, garbage, killed = 50e6, 0, true
			fmt.Fprintf(&said, "%s the shop is killed and begins anew\n", now.Format("15:04"))
		}
		group.Window(&load.Window{Scenario: "shop-soak", Step: "home", Target: "shop", Start: now.Add(-15 * time.Second), End: now, Requests: requests})
		v := held + garbage
		group.Sample(load.Sample{Target: "shop", Resource: "heap", Kind: load.ResourceMemory, Start: now, End: now, Count: 1, Min: v, Mean: v, Max: v, Last: v})
		group.Judge(now, func(k *analysis.Kind, found []load.Finding) {
			var of []load.Kind
			for _, f := range k.Findings {
				of = append(of, f.Kind)
			}
			board.Report(of, now, found)
		})
		for _, f := range board.Findings() {
			// That a level near its limit is over it changes the sentence, not the state.
			state := string(f.State) + strings.Join(strings.Fields(f.Sentence)[:6], " ")
			if f.State == "" || states[f.ID] == state || f.Kind == load.KindLeak && strings.HasPrefix(states[f.ID], string(f.State)) {
				continue
			}
			states[f.ID] = state
			fmt.Fprintf(&said, "%s %s %s: %s\n", now.Format("15:04"), f.Kind, f.State, f.Sentence)
		}
	}
	golden(t, "limit-crossed.txt", said.String())
}

// golden compares what a person reads with a file below testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("what a person reads (-want +got; -args -update accepts it):\n%s", d)
	}
}
