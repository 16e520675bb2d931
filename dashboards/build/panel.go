package build

import (
	"fmt"
	"regexp"
	"slices"
)

// Colours that mean the same on every dashboard.
const (
	good    = "green"
	bad     = "red"
	warning = "orange"
	unknown = "#808080"
	limit   = "#e02f44"
)

// A series is a query and the name that its results get.
type series struct {
	name, expr string
}

func newPanel(kind, title, about string, width int, unit string, queries []series) *Panel {
	p := &Panel{
		Type: kind, Title: title, Description: about, GridPos: GridPos{W: width}, Datasource: &prometheus,
		FieldConfig: &FieldConfig{Defaults: Field{Unit: unit}, Overrides: []Override{}},
		Options:     map[string]any{},
	}
	for i, q := range queries {
		p.Targets = append(p.Targets, Target{
			RefID: string(rune('A' + i)), Datasource: prometheus, Expr: expr(q.expr), LegendFormat: q.name,
			Format: "time_series", Range: true, EditorMode: "code",
		})
	}
	return p
}

// graph draws lines over time. What is measured is drawn solid; a series whose name begins with "limit" is a dashed red
// line, one that begins with "asked" a dashed grey one.
func graph(title, about string, width int, unit string, queries ...series) *Panel {
	p := newPanel("timeseries", title, about, width, unit, queries)
	p.FieldConfig.Defaults.Min = new(0.0)
	p.FieldConfig.Defaults.Color = &Color{Mode: "palette-classic"}
	p.FieldConfig.Defaults.Custom = map[string]any{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": 5, "showPoints": "never", "spanNulls": false,
		"stacking": map[string]any{"mode": "none", "group": "A"},
	}
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, dashed("/^limit/", limit), dashed("/^asked/", unknown))
	p.Options["legend"] = map[string]any{"displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": []string{"lastNotNull", "max"}}
	p.Options["tooltip"] = map[string]any{"mode": "multi", "sort": "desc"}
	return p
}

func dashed(name, colour string) Override {
	return Override{
		Matcher{"byRegexp", name},
		[]Property{
			{"color", Color{Mode: "fixed", FixedColor: colour}},
			{"custom.lineStyle", map[string]any{"fill": "dash", "dash": []int{8, 6}}},
			{"custom.fillOpacity", 0},
			{"custom.lineWidth", 2},
		},
	}
}

// stacked adds the series of a graph up.
func (p *Panel) stacked() *Panel {
	p.FieldConfig.Defaults.Custom["stacking"] = map[string]any{"mode": "normal", "group": "A"}
	p.FieldConfig.Defaults.Custom["fillOpacity"] = 40
	return p
}

// signed lets a graph go below zero.
func (p *Panel) signed() *Panel {
	p.FieldConfig.Defaults.Min = nil
	return p
}

// exemplars shows single requests on a graph of durations.
func (p *Panel) exemplars() *Panel {
	for i := range p.Targets {
		p.Targets[i].Exemplar = true
	}
	return p
}

// line draws a level that is part of what the panel says rather than of the configuration.
func (p *Panel) line(at float64, colour string) *Panel {
	p.FieldConfig.Defaults.Thresholds = steps("transparent", colour, at)
	p.FieldConfig.Defaults.Custom["thresholdsStyle"] = map[string]any{"mode": "line"}
	return p
}

// link adds a link to every value.
func (p *Panel) link(to ...Link) *Panel {
	p.FieldConfig.Defaults.Links = append(p.FieldConfig.Defaults.Links, to...)
	return p
}

// stat shows the last value of a query, coloured by what it means.
func stat(title, about string, width int, unit, query string, t *Thresholds, m ...Mapping) *Panel {
	p := newPanel("stat", title, about, width, unit, []series{{"", query}})
	p.Targets[0].Instant, p.Targets[0].Range = true, false
	p.FieldConfig.Defaults.Thresholds, p.FieldConfig.Defaults.Mappings = t, m
	p.FieldConfig.Defaults.Color = &Color{Mode: "thresholds"}
	p.FieldConfig.Defaults.NoValue = "none"
	p.Options["reduceOptions"] = map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
	p.Options["colorMode"], p.Options["graphMode"], p.Options["textMode"] = "value", "none", "auto"
	return p
}

// named shows the name of a stat's series instead of its value.
func (p *Panel) named(format string) *Panel {
	p.Targets[0].LegendFormat, p.Options["textMode"] = format, "name"
	return p
}

// timeline shows which state each series was in over time.
func timeline(title, about string, width int, name, query string, m Mapping) *Panel {
	p := newPanel("state-timeline", title, about, width, "none", []series{{name, query}})
	p.FieldConfig.Defaults.Mappings = []Mapping{m}
	p.FieldConfig.Defaults.Color = &Color{Mode: "thresholds"}
	p.FieldConfig.Defaults.Thresholds = plain
	p.FieldConfig.Defaults.Custom = map[string]any{"lineWidth": 0, "fillOpacity": 80}
	p.Options["mergeValues"], p.Options["showValue"], p.Options["rowHeight"] = true, "never", 0.85
	p.Options["legend"] = map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true}
	return p
}

// heat shows how many requests took how long, over time.
func heat(title, about string, width int, query string) *Panel {
	p := newPanel("heatmap", title, about, width, "reqps", []series{{"{{le}}", query}})
	p.Targets[0].Format, p.Targets[0].Exemplar = "heatmap", true
	p.Options["calculate"] = false
	p.Options["yAxis"] = map[string]any{"unit": "s", "axisPlacement": "left"}
	p.Options["color"] = map[string]any{"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "reverse": false}
	p.Options["cellGap"] = 0
	p.Options["tooltip"] = map[string]any{"mode": "single", "yHistogram": true}
	p.Options["exemplars"] = map[string]any{"color": "rgba(87, 148, 242, 0.7)"}
	return p
}

// A column of a table: its title and unit, and its query. A column without a
// query shows the label that it names; one without a title is not shown, its
// query brings labels.
type column struct {
	title, unit, expr string
	label             string
	look              []Property
}

// table shows one line for each combination of the labels that all queries share.
func table(title, about string, width int, columns ...column) *Panel {
	var queries []series
	for _, c := range columns {
		if c.expr != "" {
			queries = append(queries, series{"", c.expr})
		}
	}
	p := newPanel("table", title, about, width, "none", queries)
	p.FieldConfig.Defaults.Custom = map[string]any{"align": "auto", "cellOptions": map[string]any{"type": "auto"}}
	p.FieldConfig.Defaults.NoValue = "–"
	p.FieldConfig.Defaults.Thresholds = plain
	order, titles, n := map[string]any{}, map[string]any{}, 0
	for i, c := range columns {
		field := c.label
		if c.expr != "" {
			t := &p.Targets[n]
			t.Instant, t.Range, t.Format = true, false, "table"
			field = "Value #" + t.RefID
			if len(queries) == 1 {
				field = "Value"
			}
			n++
		}
		if c.title == "" {
			continue
		}
		order[field], titles[field] = i, c.title
		look := slices.Clone(c.look)
		if c.unit != "" {
			look = append([]Property{{"unit", c.unit}}, look...)
		}
		if len(look) > 0 {
			p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Matcher{"byName", c.title}, look})
		}
	}
	shown := []string{}
	for field := range order {
		shown = append(shown, regexp.QuoteMeta(field))
	}
	slices.Sort(shown)
	p.Transformations = []Transformation{
		{"merge", map[string]any{}},
		{"filterFieldsByName", map[string]any{"include": map[string]any{"pattern": fmt.Sprintf("^(%s)$", join(shown))}}},
		{"organize", map[string]any{"indexByName": order, "renameByName": titles, "excludeByName": map[string]any{}}},
	}
	p.Options["showHeader"], p.Options["cellHeight"] = true, "sm"
	return p
}

// sorted sorts a table by a column, the greatest first.
func (p *Panel) sorted(by string) *Panel {
	p.Options["sortBy"] = []map[string]any{{"displayName": by, "desc": true}}
	return p
}

// empty says what it means that there is nothing to show.
func (p *Panel) empty(meaning string) *Panel {
	p.FieldConfig.Defaults.NoValue = meaning
	return p
}
