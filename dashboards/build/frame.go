package build

import (
	"bytes"
	"encoding/json"
	"strings"
)

// tag is on every dashboard of perfd, and what the links between them look for.
const tag = "perfd"

var prometheus = Datasource{"prometheus", "${datasource}"}

// All returns perfd's dashboards.
func All() []*Dashboard {
	return []*Dashboard{overview(), scenario(), endurance(), releases(), sla(), self()}
}

// File is the name of the dashboard's file.
func (d *Dashboard) File() string { return strings.TrimPrefix(d.UID, "perfd-") + ".json" }

// JSON is the text of the dashboard's file.
func (d *Dashboard) JSON() ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // PromQL compares a lot
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return text.Bytes(), err
}

// A question is what a dashboard answers, and what stands on it.
type question struct {
	uid, title, asks string
	from             string // how far back it looks when it is opened
	variables        []Variable
	rows             []row
}

// A row is a title and the panels below it, which share a height and together are 24 columns wide.
type row struct {
	title  string
	height int
	panels []*Panel
}

func newDashboard(q question) *Dashboard {
	d := &Dashboard{
		UID: q.uid, Title: q.title, Description: q.asks, Tags: []string{tag},
		GraphTooltip: 1, SchemaVersion: SchemaVersion, Version: 1, Refresh: "30s", Timezone: "browser",
		Time: TimeRange{From: q.from, To: "now"},
		Links: []Link{{
			Title: "perfd", Type: "dashboards", Tags: []string{tag}, IncludeVars: true, KeepTime: true,
		}},
	}
	d.Templating.List = append(identity(), q.variables...)
	d.Annotations.List = annotations(q.variables)
	y, id := 0, 0
	place := func(p *Panel, x, h int) {
		id++
		p.ID, p.GridPos.X, p.GridPos.Y, p.GridPos.H = id, x, y, h
		d.Panels = append(d.Panels, p)
	}
	for _, r := range q.rows {
		if r.title != "" {
			place(&Panel{Type: "row", Title: r.title, GridPos: GridPos{W: 24}}, 0, 1)
			y++
		}
		x := 0
		for _, p := range r.panels {
			if x+p.GridPos.W > 24 {
				x, y = 0, y+r.height
			}
			place(p, x, r.height)
			x += p.GridPos.W
		}
		y += r.height
	}
	return d
}

// selectors are the matchers that queries begin with, so that every query obeys
// every variable that applies to it.
var selectors = strings.NewReplacer(
	"{@objective", `{job=~"$job", instance=~"$instance", scenario=~"$scenario", objective=~"$objective"`,
	"{@step", `{job=~"$job", instance=~"$instance", scenario=~"$scenario", step=~"$step"`,
	"{@scenario", `{job=~"$job", instance=~"$instance", scenario=~"$scenario"`,
	"{@target", `{job=~"$job", instance=~"$instance", target=~"$target"`,
	"{@all", `{job=~"$job", instance=~"$instance"`,
	"[@]", "[$__rate_interval]",
	"\n", " ", "\t", "",
)

func expr(text string) string { return strings.TrimSpace(selectors.Replace(text)) }
