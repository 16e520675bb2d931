package pace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// written is the path of a file with some rows.
func written(t testing.TB, rows string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "traffic.csv")
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// All forms of times are the same series, with or without names of columns, comments and further columns.
func TestSeriesAreRead(t *testing.T) {
	for _, rows := range []string{
		"0,1\n60,2.5\n120,\n180,4\n",
		"Time,Value\n0s,1\n1m,2.5\n2m,NaN\n3m,4",
		"\xef\xbb\xbf\"Time\",\"requests/s\",host\r\n0, 1,a\r\n60, 2.5,a\r\n120,null,a\r\n180,4,a\r\n",
		"# exported\n2026-11-02T10:00:00Z,1\n2026-11-02T11:01:00+01:00,2.5\n2026-11-02T10:02:00Z,\n2026-11-02T10:03:00Z,4\n",
		"1793613600,1\n1793613660,2.5\n1793613720,\n1793613780,4\n",
		"1793613600000,1\n1793613660000,2.5\n1793613720000,\n1793613780000,4\n",
	} {
		s, begins, wrong := parseSeries([]byte(rows))
		want := series{{0, 1}, {time.Minute, 2.5}, {2 * time.Minute, math.NaN()}, {3 * time.Minute, 4}}
		same := slices.EqualFunc(s, want, func(a, b sample) bool {
			return a.at == b.at && (a.value == b.value || math.IsNaN(a.value) && math.IsNaN(b.value))
		})
		if wrong != nil || !same || s.step() != time.Minute || s.length() != 4*time.Minute {
			t.Errorf("%q: %v, %v", rows, s, wrong)
		}
		if instant := strings.Contains(rows, "2026") || strings.Contains(rows, "1793"); begins.IsZero() == instant || instant && !begins.Equal(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)) {
			t.Errorf("%q begins %v", rows, begins)
		}
	}
}

// What is wrong with a file is said with its lines, the first five at once.
func TestSeriesWithMistakes(t *testing.T) {
	for _, tt := range []struct{ name, rows, want string }{
		{"nothing", "", "1: there are 0 rows with a time and a value, at least 2 are needed"},
		{"one row", "time,value\n0,1\n", "1: there are 1 rows with a time and a value, at least 2 are needed"},
		{"one column", "0\n60\n", "1: has 1 field, want a time and a value; 2: has 1 field, want a time and a value"},
		{"many", "0,1\nnoon,2\n120,x\n120,-3\n60,Inf\n1,1\n1,2\n", `2: "noon" is no time; 3: "x" is no number; 4: -3 is negative; 5: "Inf" is no number; 7: 1 is not after the time before`},
		{"mixed times", "0,1\n2026-11-02T10:00:00Z,2\n", "2: 2026-11-02T10:00:00Z is an instant, the rows before have offsets"},
		{"nothing to hold", "0,\n60,2\n", "1: the first row has no value"},
		{"a quote", "0,1\n60,\"2\n120,3\n", `3: extraneous or missing " in quoted-field`},
		{"the year 9999", "0,1\n9e12d,2\n", `2: "9e12d" is no time`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, wrong := parseSeries([]byte(tt.rows))
			var got []string
			for _, w := range wrong {
				got = append(got, fmt.Sprintf("%d: %s", w.line, w.text))
			}
			if diff := cmp.Diff(strings.Split(tt.want, "; "), got); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

// The level where nothing was measured, by each rule, at the end of the series too.
func TestMissingSamples(t *testing.T) {
	rows := "0,10\n60,20\n120,\n180,\n240,40\n300,50\n600,80\n660,\n"
	for missing, want := range map[Missing]string{
		Hold:        "1m 10, 1m 20, 2m 20, 1m 40, 1m 50, 4m 50, 1m 80, 1m 80",
		Zero:        "1m 10, 1m 20, 2m 0, 1m 40, 1m 50, 4m 0, 1m 80, 1m 0",
		Interpolate: "1m 10, 1m 20, 2m 20 to 40, 1m 40, 1m 50, 4m 50 to 80, 1m 80, 1m 80 to 10",
	} {
		s, _, wrong := parseSeries([]byte(rows))
		if wrong != nil {
			t.Fatal(wrong)
		}
		var got []string
		for p := range s.parts(missing) {
			text := fmt.Sprintf("%s %v", strings.TrimSuffix(p.length.String(), "0s"), p.from)
			if p.to != p.from {
				text += fmt.Sprintf(" to %v", p.to)
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(strings.Split(want, ", "), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", missing, diff)
		}
	}
}

// A month of a minute's counts is replayed to the arrival, in any split of shards, in later laps, and from the middle on.
func TestAMonthOfAReplay(t *testing.T) {
	const minutes = 30 * 24 * 60
	rng := rand.New(rand.NewPCG(1, 2))
	counts := make([]int, minutes)
	var rows strings.Builder
	rows.WriteString("time,requests\n")
	begin := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	total := 0
	for i := range counts {
		counts[i] = 4 * (20 + int(15*math.Sin(2*math.Pi*float64(i)/1440)) + rng.IntN(5)) / 4 * 4
		total += counts[i] / 4
		fmt.Fprintf(&rows, "%s,%d\n", begin.Add(time.Duration(i)*time.Minute).Format(time.RFC3339), counts[i])
	}
	c := config(t, fmt.Sprintf("{executor: ramping-arrival-rate, max_vus: 1, replay: {file: %q, per: 1m, factor: 0.25}}", written(t, rows.String())))
	if c.Cycle() != minutes*time.Minute || !c.End().Never() {
		t.Fatalf("a lap of %v, ends %v", c.Cycle(), c.End())
	}
	plan, err := New(c, "shop")
	if err != nil {
		t.Fatal(err)
	}
	p := plan.(Open)
	for _, tt := range []struct {
		shards int
		from   time.Duration
	}{{1, 0}, {3, 0}, {1, 7 * minutes * time.Minute}, {2, 3*minutes*time.Minute + 10*24*time.Hour}} {
		got := make([]int, minutes)
		for shard := range tt.shards {
			for due := range p.Arrivals(tt.from, shard, tt.shards) {
				if due >= tt.from+minutes*time.Minute {
					break
				}
				got[int(due/time.Minute)%minutes]++
			}
		}
		sum := 0
		for i := range got {
			if sum += got[i]; got[i] != counts[i]/4 {
				t.Fatalf("%d shards from %v: %d arrivals in minute %d, want %d", tt.shards, tt.from, got[i], i, counts[i]/4)
			}
		}
		if sum != total {
			t.Errorf("%d shards from %v: %d arrivals, want %d", tt.shards, tt.from, sum, total)
		}
	}
}

// Virtual users are replayed in whole numbers, and a repeat ends after its laps.
func TestReplayOfVUs(t *testing.T) {
	file := written(t, "0,1\n10,7.4\n20,3\n")
	c := config(t, fmt.Sprintf("{executor: ramping-vus, start_vus: 5, replay: {file: %q, factor: 2}, repeat: {from: 1, times: 1}}", file))
	p, err := New(c, "shop")
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for at := 5 * time.Second; at < 65*time.Second; at += 10 * time.Second {
		got = append(got, p.At(at).VUs)
	}
	if want := []int{2, 15, 6, 2, 15, 6}; !slices.Equal(got, want) || p.End() != (End{Time: time.Minute}) || c.MostVUs() != 15 {
		t.Errorf("%v VUs, want %v; ends %v, at most %d", got, want, p.End(), c.MostVUs())
	}
}
