// Package build writes perfd's Grafana dashboards: one file of Go for each
// question, in one style, so that a panel is a line of PromQL and a sentence.
//
// The JSON that it writes is committed one folder up and is what users install;
// a test holds that both are the same. It must not be imported by the daemon.
package build

// SchemaVersion is the last one of Grafana's classic model, which every Grafana
// since then reads and migrates.
const SchemaVersion = 42

// A Dashboard is a document of Grafana's classic model, as far as perfd uses it.
type Dashboard struct {
	UID           string     `json:"uid"`
	Title         string     `json:"title"`
	Description   string     `json:"description"`
	Tags          []string   `json:"tags"`
	Editable      bool       `json:"editable"`
	GraphTooltip  int        `json:"graphTooltip"` // 1 shares the crosshair among panels
	ID            *int       `json:"id"`
	SchemaVersion int        `json:"schemaVersion"`
	Version       int        `json:"version"`
	Refresh       string     `json:"refresh"`
	Timezone      string     `json:"timezone"`
	Time          TimeRange  `json:"time"`
	Annotations   List       `json:"annotations"`
	Templating    Templating `json:"templating"`
	Links         []Link     `json:"links"`
	Panels        []*Panel   `json:"panels"`
}

// A TimeRange is what a dashboard shows when it is opened.
type TimeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// A List holds annotations.
type List struct {
	List []Annotation `json:"list"`
}

// A Templating holds variables.
type Templating struct {
	List []Variable `json:"list"`
}

// A Datasource names a data source, here always by a variable.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// An Annotation marks instants on all graphs.
type Annotation struct {
	Name            string     `json:"name"`
	Datasource      Datasource `json:"datasource"`
	Enable          bool       `json:"enable"`
	IconColor       string     `json:"iconColor"`
	Expr            string     `json:"expr"`
	Step            string     `json:"step,omitempty"`
	TitleFormat     string     `json:"titleFormat"`
	TextFormat      string     `json:"textFormat"`
	TagKeys         string     `json:"tagKeys"`
	UseValueForTime bool       `json:"useValueForTime"` // the value is the instant, in milliseconds of Unix time
}

// A Variable is a choice at the top of a dashboard.
type Variable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"` // datasource, query or custom
	Hide       int         `json:"hide"`
	Datasource *Datasource `json:"datasource,omitempty"`
	Query      any         `json:"query"` // text, or a Query of a variable of type query
	Definition string      `json:"definition,omitempty"`
	Regex      string      `json:"regex,omitempty"`
	Refresh    int         `json:"refresh,omitempty"` // 2 asks again when the time range changes
	Sort       int         `json:"sort,omitempty"`
	Multi      bool        `json:"multi"`
	IncludeAll bool        `json:"includeAll"`
	AllValue   string      `json:"allValue,omitempty"`
	Current    *Choice     `json:"current,omitempty"`
	Options    []Choice    `json:"options,omitempty"`
}

// A Query asks Prometheus for the values of a variable.
type Query struct {
	Query string `json:"query"`
	RefID string `json:"refId"`
}

// A Choice is a value of a variable.
type Choice struct {
	Text     string `json:"text"`
	Value    string `json:"value"`
	Selected bool   `json:"selected"`
}

// A Link leads away from a dashboard, a panel or a value.
type Link struct {
	Title       string   `json:"title"`
	Type        string   `json:"type,omitempty"` // dashboards: all that carry the tags
	Tags        []string `json:"tags,omitempty"`
	AsDropdown  bool     `json:"asDropdown,omitempty"`
	IncludeVars bool     `json:"includeVars,omitempty"`
	KeepTime    bool     `json:"keepTime,omitempty"`
	URL         string   `json:"url,omitempty"`
	TargetBlank bool     `json:"targetBlank,omitempty"`
}

// A Panel is one rectangle of a dashboard: a row's title or a picture of queries.
type Panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"`
	Title           string           `json:"title"`
	Description     string           `json:"description,omitempty"`
	GridPos         GridPos          `json:"gridPos"`
	Datasource      *Datasource      `json:"datasource,omitempty"`
	Targets         []Target         `json:"targets,omitempty"`
	FieldConfig     *FieldConfig     `json:"fieldConfig,omitempty"`
	Options         map[string]any   `json:"options,omitempty"`
	Transformations []Transformation `json:"transformations,omitempty"`
	Links           []Link           `json:"links,omitempty"`
	Collapsed       bool             `json:"collapsed,omitempty"`
}

// A GridPos is a place on the grid, 24 columns wide.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// A Target is one query of a panel.
type Target struct {
	RefID        string     `json:"refId"`
	Datasource   Datasource `json:"datasource"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat,omitempty"`
	Format       string     `json:"format"` // time_series, table or heatmap
	Instant      bool       `json:"instant"`
	Range        bool       `json:"range"`
	Exemplar     bool       `json:"exemplar"`
	EditorMode   string     `json:"editorMode"`
}

// A FieldConfig says how values look.
type FieldConfig struct {
	Defaults  Field      `json:"defaults"`
	Overrides []Override `json:"overrides"`
}

// A Field is the look of one column or series.
type Field struct {
	Unit       string         `json:"unit,omitempty"`
	Min        *float64       `json:"min,omitempty"`
	Max        *float64       `json:"max,omitempty"`
	Decimals   *int           `json:"decimals,omitempty"`
	NoValue    string         `json:"noValue,omitempty"`
	Color      *Color         `json:"color,omitempty"`
	Thresholds *Thresholds    `json:"thresholds,omitempty"`
	Mappings   []Mapping      `json:"mappings,omitempty"`
	Links      []Link         `json:"links,omitempty"`
	Custom     map[string]any `json:"custom,omitempty"`
}

// A Color is how a colour is chosen.
type Color struct {
	Mode       string `json:"mode"`
	FixedColor string `json:"fixedColor,omitempty"`
}

// Thresholds colour values from a level on.
type Thresholds struct {
	Mode  string      `json:"mode"`
	Steps []Threshold `json:"steps"`
}

// A Threshold is the colour of values from Value on; nil is everything below the next one.
type Threshold struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// A Mapping writes words instead of values.
type Mapping struct {
	Type    string         `json:"type"`
	Options map[string]any `json:"options"`
}

// An Override changes the look of some fields.
type Override struct {
	Matcher    Matcher    `json:"matcher"`
	Properties []Property `json:"properties"`
}

// A Matcher says which fields: byName, byRegexp or byFrameRefID.
type Matcher struct {
	ID      string `json:"id"`
	Options string `json:"options"`
}

// A Property is one thing that an override changes.
type Property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

// A Transformation is a step between a panel's queries and its picture.
type Transformation struct {
	ID      string         `json:"id"`
	Options map[string]any `json:"options"`
}
