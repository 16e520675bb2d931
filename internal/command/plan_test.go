package command

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/kind/builtin"
)

// planOf draws a scenario of testdata/plan from a Saturday morning on.
func planOf(t *testing.T, o PlanOptions) string {
	t.Helper()
	if o.From.IsZero() {
		o.From = time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	}
	var out bytes.Buffer
	if err := Plan(app.Options{ConfigFile: "testdata/plan/perfd.yaml"}, o, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Each executor and each shape is drawn, in lines that fit into a terminal.
func TestPlanOfEachExecutorAndShape(t *testing.T) {
	var names []string
	for _, e := range builtin.Kinds().Executors {
		names = append(names, e.Name)
	}
	for _, s := range builtin.Kinds().Shapes {
		if s.Name != "stages" { // which the executors have
			names = append(names, s.Name)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			for _, width := range []int{80, 40, 200} {
				text := planOf(t, PlanOptions{Scenario: name, Latency: 200 * time.Millisecond, Width: width})
				for line := range strings.Lines(text) {
					if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
						t.Errorf("%d columns in a terminal of %d: %s", n, width, line)
					}
				}
				if width == 80 {
					golden(t, "plan/"+name+".txt", text)
				}
			}
		})
	}
}

// What is not due is not drawn, and a week has its weekends.
func TestPlanOfAWeek(t *testing.T) {
	golden(t, "plan/a-day-off.txt", planOf(t, PlanOptions{Scenario: "ramping-vus", Width: 80}))
	golden(t, "plan/a-week.txt", planOf(t, PlanOptions{Scenario: "ramping-vus", For: 7 * 24 * time.Hour, Width: 80}))
}

// The JSON says what the text does: its points add up to the total.
func TestPlanAsJSON(t *testing.T) {
	var p struct {
		Points []struct {
			Time       time.Time
			Mean, Peak float64
		}
		Runs       []struct{ Begin, End time.Time }
		WarmUps    []struct{ Begin, End time.Time } `json:"warm_ups"`
		Blackouts  []struct{ Name string }
		Iterations float64
		Requests   float64
		Peak       float64
		BusyVUs    float64 `json:"busy_vus"`
		MaxVUs     int     `json:"max_vus"`
	}
	text := planOf(t, PlanOptions{Scenario: "constant-arrival-rate", Format: "json", For: 48 * time.Hour, Latency: 250 * time.Millisecond})
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	// Two days less two backups of 90 minutes and two hours on Sunday, at 12/s.
	want := 12. * 3600 * (48 - 2*1.5 - 2)
	sum, peak := 0., 0.
	for _, pt := range p.Points {
		sum += pt.Mean * 48 * 3600 / float64(len(p.Points))
		peak = max(peak, pt.Peak)
	}
	if p.Iterations != want || p.Requests != 2*want || math.Abs(sum-want) > 1e-6*want || peak != 12 || p.Peak != 12 {
		t.Errorf("%v iterations, %v requests, %v in the points, peak %v and %v; want %v", p.Iterations, p.Requests, sum, peak, p.Peak, want)
	}
	// An iteration lasts 2 × 250 ms + 5 s: at 12/s 66 are under way.
	if p.BusyVUs != 66 || p.MaxVUs != 50 || len(p.Runs) != 4 || len(p.Blackouts) != 3 || len(p.WarmUps) != 3 {
		t.Errorf("%v VUs of %d, %d runs, %d blackouts, %d warm-ups; want 66 of 50, 4, 3 and 3", p.BusyVUs, p.MaxVUs, len(p.Runs), len(p.Blackouts), len(p.WarmUps))
	}
	if unknown := planOf(t, PlanOptions{Scenario: "constant-vus", Format: "json"}); strings.Contains(unknown, "iterations\":") || !strings.Contains(unknown, `"vu_seconds": 288000`) {
		t.Errorf("without a latency: %s", unknown)
	}
}

// The picture is well-formed and holds no name unescaped.
func TestPlanAsSVG(t *testing.T) {
	text := planOf(t, PlanOptions{Scenario: "stairs", Format: "svg"})
	d := xml.NewDecoder(strings.NewReader(text))
	count := map[string]int{}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if e, ok := tok.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
	if count["svg"] != 1 || count["path"] != 2 || count["rect"] != 1 || count["line"] < 10 {
		t.Errorf("elements %v", count)
	}
	golden(t, "plan/stairs.svg", text)
}

func TestPlanOfNothing(t *testing.T) {
	err := Plan(app.Options{ConfigFile: "testdata/plan/perfd.yaml"}, PlanOptions{Scenario: "stares", From: time.Now(), Width: 80}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), `did you mean "stairs"?`) {
		t.Errorf("a scenario that is not there: %v", err)
	}
}
