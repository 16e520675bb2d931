package report

import (
	"encoding/json"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
)

var kinds = builtin.Kinds().Analyses

var update = flag.Bool("update", false, "write the golden files again")

func TestMain(m *testing.M) {
	time.Local = time.UTC // reports write the time of the machine's zone
	os.Exit(m.Run())
}

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
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-update writes it again):\n%s", file, diff)
	}
}

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shop is a run with everything there can be.
func shop() Run {
	nan := load.Number(math.NaN())
	objective := func(name, step string, v load.Verdict) load.Finding {
		return load.Finding{ID: "objective-" + name, Kind: load.KindObjective, Verdict: v, Scenario: "shop", Step: step, Objective: name, Confidence: 0.95, Sentence: name + " was judged"}
	}
	p99 := objective("search p99", "search", load.Fail)
	p99.Value, p99.Lower, p99.Upper, p99.Limit, p99.Unit = 0.71, 0.652, 0.79, 0.5, "seconds"
	p99.Evidence = []load.Fact{{Name: "requests", Value: 14820}, {Name: "bad", Value: 391}, {Name: "effective", Value: 5210.4}}
	p99.Doubts = []string{"closed model: not corrected for coordinated omission"}
	errors := objective("errors", "", load.Pass)
	errors.Value, errors.Lower, errors.Upper, errors.Limit, errors.Unit = 0.0006, 0, 0.0021, 0.01, "ratio"
	errors.Evidence = []load.Fact{{Name: "requests", Value: 29640}, {Name: "bad", Value: 18}}
	rate := objective("throughput", "", load.Inconclusive)
	rate.Value, rate.Lower, rate.Upper, rate.Limit, rate.Unit, rate.Confidence = 49.2, 46, load.Number(math.Inf(1)), 48, "per_second", 0.99
	size := objective("small orders", "", load.Pass)
	size.Metric, size.Value, size.Lower, size.Upper, size.Limit, size.Unit = "order_size", 12, 11, 14, 20, "items"
	rate.Needed = "1,200 more requests, about 20 minutes"
	return Run{
		Kinds:    kinds,
		Scenario: "shop", Run: "20260301T120000Z", Test: "load", Target: "shop-staging", Release: "v1.3.0", Began: began, Ended: began.Add(5*time.Minute + 2*time.Second),
		Requests: 29640, Failed: 18, Iterations: 14820, Dropped: 180, Drops: []Count{{"no_free_vu", 150}, {"late", 30}}, Touched: []Count{{"pacer_gap", 120}},
		Checks: []Check{{"has a token", 14820, 12}, {"is fresh", 20, 20}}, AskedRate: 50, AchievedRate: 49.4,
		Steps: []Step{
			{Name: "list products", Requests: 14820, Failed: 3, P50: 0.000871, P90: 0.0241, P95: 0.0312, P99: 0.0998},
			{Name: "search", Requests: 14820, Failed: 15, P50: 0.061, P90: 0.312, P95: 0.42, P99: 0.71, Failures: []Count{{"timeout", 14}, {"status", 1}}},
			{Name: "pay"},
			{Name: "live", Requests: 40, P50: 0.002, P90: 0.003, P95: 0.003, P99: 0.004, Messages: &load.MessageCounts{
				Count: [2]uint64{load.Sent: 80, load.Received: 12345}, Bytes: [2]uint64{load.Sent: 2400, load.Received: 3 << 20}, Missing: 3, Reordered: 1,
			}},
			{Name: "login_success", Metric: "rate", Requests: 200, Failed: 3, Failures: []Count{{"check", 3}}},
			{Name: "order_size", Metric: "trend", Unit: "items", Requests: 200, P50: 3, P90: 9, P95: 12, P99: 25},
		},
		Finding: load.Finding{
			ID: "run-1", Kind: load.KindRun, Verdict: load.Fail, State: load.Final, Scenario: "shop", Run: "20260301T120000Z", Release: "v1.3.0", Since: began, Updated: began.Add(5 * time.Minute),
			Sentence: "search p99 fails: its 99th percentile was 710 ms, over the limit of 500 ms, and the other two objectives held or are not decided yet.",
			Value:    nan, Lower: nan, Upper: nan, Limit: nan,
			Doubts: []string{"the run was too short for the leak analysis"}, Needed: "1,200 more requests for throughput",
			Parts: []load.Finding{
				p99, errors, rate, size,
				{Kind: load.KindEfficiency, Verdict: load.Pass, Sentence: "98.8 % of the load asked for was sent."},
				{Kind: load.KindCleanUp, Verdict: load.Inconclusive, Target: "shop-staging", Resource: "heap", Sentence: "heap of shop-staging was read for 40 s after the load had stopped, which is too short to say whether it returns to its level."},
				{Kind: load.KindRegression, Verdict: load.Fail, Step: "search", Statistic: "p95", Sentence: "p95 of search is 18 % slower with v1.3.0 than with v1.2.9."},
			},
		},
		Invalid: []string{"pacer_gap", "lateness"},
	}
}

func bare() Run {
	return Run{
		Kinds:    kinds,
		Scenario: "search", Run: "r", Test: "stress", Target: "shop", Began: began, Ended: began.Add(49 * time.Hour), Valid: true,
		Finding: load.Finding{Kind: load.KindRun, Sentence: "Nothing was sent."},
	}
}

func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSummariesAreGolden(t *testing.T) {
	for name, r := range map[string]Run{"shop": shop(), "bare": bare()} {
		golden(t, name+".txt", written(t, func(w io.Writer) error { return Text(w, r) }))
		golden(t, name+".json", written(t, func(w io.Writer) error { return JSON(w, r) }))
	}
}

func TestJSONCarriesTheFindingUnchanged(t *testing.T) {
	var got struct {
		Finding load.Finding `json:"finding"`
	}
	text := written(t, func(w io.Writer) error { return JSON(w, shop()) })
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b load.Number) bool { return a == b || a != a && b != b })
	if diff := cmp.Diff(shop().Finding, got.Finding, same); diff != "" {
		t.Errorf("the finding differs:\n%s", diff)
	}
}

func TestFindingsAreGolden(t *testing.T) {
	leak := load.Finding{
		ID: "leak-1", Kind: load.KindLeak, Verdict: load.Fail, State: load.Recovered, Target: "shop", Resource: "heap", Member: "shop-6f5d", Since: began, Updated: began.Add(time.Hour), Ended: began.Add(2 * time.Hour),
		Sentence: "heap of shop-6f5d grew by 4.2 MiB an hour.", Value: 1223, Lower: 980, Upper: 1500, Limit: load.Number(math.NaN()), Confidence: 0.95, Unit: "bytes_per_second",
		Evidence: []load.Fact{{Name: "collections", Value: 212}, {Name: "time to the limit", Value: 432000, Unit: "seconds"}}, Doubts: []string{"load grew too", "one restart"}, Needed: "nothing",
	}
	regression := load.Finding{
		Kind: load.KindRegression, Scenario: "shop", Step: "search", Statistic: "p95", Release: "v1.3.0", Baseline: "v1.2.9", Since: began, Updated: began,
		Sentence: "Too few runs.", Value: 0.02, Lower: -0.03, Upper: 0.07, Limit: 0.05, Confidence: 0.9, Unit: "ratio",
	}
	for name, f := range map[string]load.Finding{"leak": leak, "regression": regression, "run": shop().Finding} {
		golden(t, "finding-"+name+".txt", written(t, func(w io.Writer) error { return Finding(w, kinds, f) }))
	}
}

func TestAFullDiskIsAnError(t *testing.T) {
	r, w := io.Pipe()
	r.CloseWithError(io.ErrShortWrite)
	for name, err := range map[string]error{"Text": Text(w, bare()), "JSON": JSON(w, bare()), "Finding": Finding(w, kinds, load.Finding{})} {
		if err == nil {
			t.Errorf("%s to a full disk = no error", name)
		}
	}
}

// TestTextIsSafeAndNarrow writes runs and findings with hostile texts everywhere.
func TestTextIsSafeAndNarrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Words are short, so that every line can be broken; names are long.
		word := rapid.StringN(1, 15, -1).Filter(func(s string) bool { return !strings.HasPrefix(s, "%") })
		sentence := rapid.Map(rapid.SliceOfN(word, 0, 30), func(w []string) string { return strings.Join(w, " ") })
		name := rapid.OneOf(rapid.StringN(0, 200, -1), rapid.Just("\x1b[31mred\x1b[0m\r\n\u202e\u009b2J"))
		verdict := rapid.SampledFrom([]load.Verdict{load.Pass, load.Fail, load.Inconclusive})
		kind := rapid.SampledFrom([]load.Kind{load.KindObjective, load.KindLeak, load.KindCleanUp})
		number := rapid.Float64Range(0, 1e6)
		part := rapid.Custom(func(t *rapid.T) load.Finding {
			return load.Finding{
				Kind: kind.Draw(t, "kind"), Verdict: verdict.Draw(t, "verdict"), Objective: name.Draw(t, "objective"), Step: name.Draw(t, "step"),
				Sentence: sentence.Draw(t, "sentence"), Needed: sentence.Draw(t, "needed"), Doubts: []string{sentence.Draw(t, "doubt")},
				Evidence: []load.Fact{{Name: sentence.Draw(t, "fact"), Value: 3}},
				Value:    load.Number(number.Draw(t, "value")), Lower: load.Number(number.Draw(t, "lower")), Upper: load.Number(number.Draw(t, "upper")),
				Limit: load.Number(number.Draw(t, "limit")), Confidence: 0.99, Unit: rapid.SampledFrom([]string{"", "seconds", "ratio", "bytes"}).Draw(t, "unit"),
			}
		})
		run := shop()
		run.Finding.Parts = rapid.SliceOfN(part, 0, 5).Draw(t, "parts")
		run.Finding.Sentence = sentence.Draw(t, "sentence")
		run.Finding.Needed = sentence.Draw(t, "needed")
		run.Steps[0].Name, run.Release = name.Draw(t, "name"), "\x1b]0;title\x07"
		var b strings.Builder
		if err := Text(&b, run); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if strings.TrimRight(line, " ") != line {
				t.Errorf("a line ends in spaces: %q", line)
			}
			if n := utf8.RuneCountInString(line); n > columns {
				t.Errorf("a line of %d columns: %q", n, line)
			}
		}
		for _, f := range run.Finding.Parts {
			if err := Finding(&b, kinds, f); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range b.String() {
			if !unicode.IsPrint(r) && r != '\n' {
				t.Fatalf("%q is in %q", r, b.String())
			}
		}
	})
}

func TestAPercentSignStaysWithItsNumber(t *testing.T) {
	var b strings.Builder
	paragraph(&b, "- ", strings.Repeat("x", columns-7)+" 0.5 %, and more")
	if got, want := b.String(), "- "+strings.Repeat("x", columns-7)+"\n  0.5 %, and more\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamesAreCutInTheirMiddle(t *testing.T) {
	for _, c := range []struct {
		name  string
		width int
		want  string
	}{
		{"search", 6, "search"},
		{"search products", 9, "sear…ucts"},
		{"ääääßßßß", 4, "ä…ßß"},
	} {
		if got := fit(c.name, c.width); got != c.want {
			t.Errorf("fit(%q, %d) = %q, want %q", c.name, c.width, got, c.want)
		}
	}
}

func TestProgress(t *testing.T) {
	for _, c := range []struct {
		line ProgressLine
		want string
	}{
		{
			ProgressLine{Elapsed: 90 * time.Second, Total: 5 * time.Minute, AskedRate: 100, AchievedRate: 98.84, Failed: 0.0012, P95: 0.0603, Dropped: 3, Objectives: 2, Verdict: load.Pass},
			"1m 30s of 5m       98.8/s of 100/s      0.12 % failed  p95 60.3 ms  3 dropped  SLA pass",
		},
		{
			ProgressLine{Elapsed: time.Second, Failed: math.NaN(), Objectives: 1},
			"1s                 0/s                       – failed  p95       –  0 dropped  SLA inconclusive",
		},
		{
			ProgressLine{Elapsed: 49 * time.Hour, AchievedRate: 12345.6, Failed: 1, P95: 30, Verdict: load.Fail},
			"2d 1h              12,346/s              100 % failed  p95    30 s  0 dropped",
		},
		{
			ProgressLine{Elapsed: time.Hour, Total: 2 * time.Hour, AskedRate: 10000, AchievedRate: 9876.5, P95: 0.0000421, Dropped: 120345, Objectives: 3, Verdict: load.Fail},
			"1h of 2h           9,876/s of 10,000/s      0 % failed  p95 42.1 µs  120345 dropped  SLA FAIL",
		},
	} {
		got := Progress(c.line)
		if got != c.want {
			t.Errorf("Progress(%+v)\n got %q\nwant %q", c.line, got, c.want)
		}
		if n := utf8.RuneCountInString(got); n > columns {
			t.Errorf("%q has %d columns", got, n)
		}
	}
}
