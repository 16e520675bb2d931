package flow

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
)

// The orders in which a feeder deals its rows to iterations.
const (
	Sequential = "sequential" // one row after another over all VUs, and again from the first
	Random     = "random"     // each iteration draws a row
	PerVU      = "per_vu"     // each VU keeps one row
)

// A DataConfig is one entry of the data block.
type DataConfig struct {
	File  block.Text `yaml:"file" block:"required" doc:"CSV file with a header row, or JSON file with a list of objects; the path starts from the configuration file."`
	Order string     `yaml:"order" doc:"sequential (default), random or per_vu: which row an iteration gets."`
}

// Validate checks the order.
func (d *DataConfig) Validate(n *block.Node, errs *block.Errors) {
	switch d.Order {
	case "", Sequential, Random, PerVU:
	default:
		at := n.Get("order")
		errs.Add(at.Pos, at.Path, "must be sequential, random or per_vu, got %q", d.Order).Hint = block.Nearest(d.Order, []string{Sequential, Random, PerVU})
	}
}

// A Feeder deals the rows of a file to iterations. All VUs share it.
type Feeder struct {
	Hash    string   // SHA-256 of the file's content, in hexadecimal
	columns []string // that any row has, in order
	rows    []expr.Value
	order   string
	next    atomic.Uint64
}

// maxDataSize bounds a feeder's file, in bytes: all rows are in memory.
const maxDataSize = 256 << 20

// OpenFeeder reads a feeder's file; a relative path starts from dir.
func OpenFeeder(d DataConfig, dir string) (*Feeder, error) {
	path := d.File.S
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxDataSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxDataSize {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxDataSize>>20)
	}
	sum := sha256.Sum256(text)
	feeder := &Feeder{Hash: hex.EncodeToString(sum[:]), order: d.Order}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		feeder.rows, err = csvRows(text)
	case ".json":
		feeder.rows, err = jsonRows(text)
	default:
		return nil, fmt.Errorf("%s is neither .csv nor .json", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(feeder.rows) == 0 {
		return nil, fmt.Errorf("%s has no rows", path)
	}
	feeder.columns = columnsOf(feeder.rows)
	return feeder, nil
}

// columnsOf returns the names that any row has, in order.
func columnsOf(rows []expr.Value) []string {
	known := map[string]bool{}
	for _, row := range rows {
		gjson.Parse(row.String()).ForEach(func(key, _ gjson.Result) bool {
			known[key.Str] = true
			return true
		})
	}
	return slices.Sorted(maps.Keys(known))
}

// Rows returns the number of rows.
func (f *Feeder) Rows() int { return len(f.rows) }

// row returns the row for an iteration of a VU. In sequential order the rows of
// different shards are disjoint.
func (f *Feeder) row(v *VU) expr.Value {
	n := uint64(len(f.rows))
	switch f.order {
	case Random:
		return f.rows[v.rand.Uint64N(n)]
	case PerVU:
		return f.rows[uint64(v.global())%n]
	}
	shard, of := uint64(v.rt.Shard), uint64(max(1, v.rt.Shards))
	return f.rows[((f.next.Add(1)-1)*of+shard)%n]
}

func csvRows(text []byte) ([]expr.Value, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	names, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("header row: %w", err)
	}
	var rows []expr.Value
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		row := []byte{'{'}
		for i, name := range names {
			if i > 0 {
				row = append(row, ',')
			}
			row = expr.Str(name).AppendJSON(row)
			row = append(row, ':')
			row = expr.Str(fields[i]).AppendJSON(row)
		}
		rows = append(rows, expr.FromJSON(string(append(row, '}'))))
	}
}

func jsonRows(text []byte) ([]expr.Value, error) {
	if !json.Valid(text) {
		var v any
		return nil, json.Unmarshal(text, &v)
	}
	list := gjson.ParseBytes(text)
	if !list.IsArray() {
		return nil, errors.New("must be a list of objects")
	}
	var rows []expr.Value
	var err error
	list.ForEach(func(_, row gjson.Result) bool {
		if !row.IsObject() {
			err = fmt.Errorf("row %d is not an object", len(rows)+1)
			return false
		}
		rows = append(rows, expr.FromJSON(row.Raw))
		return true
	})
	return rows, err
}
