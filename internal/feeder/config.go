// Package feeder deals the rows of a file to virtual users: CSV, TSV and plain
// text, lists of JSON objects and NDJSON, in several orders.
//
// What a small file holds is kept in memory. Of a larger one an index of row
// offsets is kept, whose size has a bound, and each row is read when it is dealt.
// Everything is checked when the file is opened, so that a mistake in any row is
// known, with its line, before load begins.
//
// No order keeps anything per row: which row the n-th turn gets is a function of
// the seed and n. Shards take every n-th turn each, so that together they deal
// what one would.
package feeder

import (
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/perfd/perfd/internal/block"
)

// The orders in which rows are dealt.
const (
	Sequential = "sequential" // one row after another over all VUs
	Random     = "random"     // each turn draws a row, by weight where one is given
	Shuffled   = "shuffled"   // as Sequential, in another random order in each pass
	Unique     = "unique"     // as Sequential, and by default each row once
	PerVU      = "per_vu"     // each VU keeps one row
	Zipf       = "zipf"       // each turn draws a row, the first ones more often
)

var orders = []string{Sequential, Random, Shuffled, Unique, PerVU, Zipf}

// What happens after the last row.
const (
	Stop = "stop" // nothing is left to do
	Wrap = "wrap" // the rows are dealt again
)

// A Config is one entry of the data block.
type Config struct {
	File      block.Text   `yaml:"file" block:"required" doc:"The file: .csv, .tsv or .txt, .json (a list of objects), .jsonl or .ndjson (an object a line); the path starts from the configuration file."`
	Delimiter string       `yaml:"delimiter" doc:"The character between the fields of a .csv (default \",\"), .tsv (default tab) or .txt file (default none: a line is one value)."`
	Columns   []block.Text `yaml:"columns" doc:"Names of the columns of a file without a header row; of a .txt file without delimiter, the name of its values (default value)."`
	Order     string       `yaml:"order" doc:"Which row is dealt next: sequential (default), random, shuffled, unique, per_vu or zipf."`
	AtEnd     string       `yaml:"at_end" doc:"What follows the last row in the orders sequential, shuffled and unique: wrap (default) deals them again, stop (default of unique) ends the run."`
	Weight    block.Text   `yaml:"weight" doc:"Column with the weight of each row, a number of 0 or more; in the order random, which it is the default for."`
	Exponent  *float64     `yaml:"exponent" doc:"Exponent of the order zipf (default 1): row k is drawn in proportion to 1/k^exponent."`
}

// mostExponent bounds the exponent of zipf: beyond it all but the first rows are as good as never drawn.
const mostExponent = 20

// words are what other tools call an order.
var words = map[string]string{
	"circular": "write order: sequential, which begins again after the last row",
	"queue":    "write order: sequential, at_end: stop",
	"shuffle":  "write order: shuffled",
	"weighted": "name the column of the weights: weight: …",
}

// Validate checks what can be checked without the file.
func (c *Config) Validate(n *block.Node, errs *block.Errors) {
	complain := func(key, hint, format string, args ...any) {
		at := n.Get(key)
		errs.Add(at.Pos, at.Path, format, args...).Hint = hint
	}
	switch c.Order {
	case "", Sequential, Random, Shuffled, Unique, PerVU, Zipf:
	default:
		hint := words[c.Order]
		if hint == "" {
			hint = block.Nearest(c.Order, orders)
		}
		last := len(orders) - 1
		complain("order", hint, "must be %s or %s, got %q", strings.Join(orders[:last], ", "), orders[last], c.Order)
		return
	}
	switch order := c.order(); {
	case c.AtEnd != "" && c.AtEnd != Stop && c.AtEnd != Wrap:
		complain("at_end", block.Nearest(c.AtEnd, []string{Stop, Wrap}), "must be stop or wrap, got %q", c.AtEnd)
	case c.AtEnd != "" && order != Sequential && order != Shuffled && order != Unique:
		complain("at_end", "only sequential, shuffled and unique have one", "the order %s has no end", order)
	}
	if n.Get("weight") != nil && c.order() != Random {
		complain("weight", "", "rows have weights in the order random only, not in %s", c.order())
	}
	if c.Exponent != nil {
		switch {
		case c.order() != Zipf:
			complain("exponent", "", "only the order zipf has an exponent, not %s", c.order())
		case *c.Exponent <= 0 || *c.Exponent > mostExponent:
			complain("exponent", "", "must be more than 0 and at most %d, got %v", mostExponent, *c.Exponent)
		}
	}
	c.validateFields(n, complain)
}

func (c *Config) validateFields(n *block.Node, complain func(key, hint, format string, args ...any)) {
	delimited := true
	switch strings.ToLower(filepath.Ext(c.File.S)) {
	case ".json", ".jsonl", ".ndjson":
		delimited = false
	}
	if at := n.Get("delimiter"); at != nil {
		d := c.Delimiter
		if d == asTab {
			d = "\t"
		}
		switch r, size := utf8.DecodeRuneInString(d); {
		case !delimited:
			complain("delimiter", "", "a file of JSON has no delimiter")
		case size == 0 || size != len(d) || r == utf8.RuneError:
			complain("delimiter", `write ";", "|" or "\t"`, "must be one character, got %q", c.Delimiter)
		case r == '"' || r == '\n' || r == '\r':
			complain("delimiter", "", "cannot be %q", c.Delimiter)
		}
	}
	if at := n.Get("columns"); at != nil {
		switch {
		case !delimited:
			complain("columns", "", "the rows of a file of JSON name their members themselves")
		case len(c.Columns) == 0:
			complain("columns", "", "must name at least one column")
		}
	}
}

// asTab is a tab as YAML reads it where it is not in double quotes.
const asTab = `\t`

// order is the order with its default.
func (c *Config) order() string {
	switch {
	case c.Order != "":
		return c.Order
	case c.Weight.S != "":
		return Random
	}
	return Sequential
}

// stops reports whether the rows are dealt only once.
func (c *Config) stops() bool {
	switch c.order() {
	case Unique:
		return c.AtEnd != Wrap
	case Sequential, Shuffled:
		return c.AtEnd == Stop
	}
	return false
}

func (c *Config) exponent() float64 {
	if c.Exponent == nil {
		return 1
	}
	return *c.Exponent
}

// delimiter is the text between two fields, with the default of the file's extension.
func (c *Config) delimiter() string {
	switch {
	case c.Delimiter == asTab:
		return "\t"
	case c.Delimiter != "":
		return c.Delimiter
	}
	switch strings.ToLower(filepath.Ext(c.File.S)) {
	case ".csv":
		return ","
	case ".tsv":
		return "\t"
	}
	return ""
}
