package feeder

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
)

// A Feeder is an entry of data with the rows of its file. It is immutable and shared;
// each run deals from it with a Dealer of its own.
type Feeder struct {
	// Hash is the SHA-256 of the file's content, in hexadecimal.
	Hash string
	// Columns are the members that a row may have, in order; nil where they are not known.
	Columns []string

	name, file string
	order      string
	stop       bool
	rows       *table
	zipf       zipf
}

// Open reads the file of an entry of data; a relative path starts from dir. Mistakes go to errs, with the file's
// lines. With any the Feeder knows its columns at most, and nothing can be dealt from it.
func Open(name string, c *Config, dir string, errs *block.Errors) *Feeder {
	return open(name, c, dir, errs, usual)
}

func open(name string, c *Config, dir string, errs *block.Errors, most limits) *Feeder {
	fd := &Feeder{name: name, file: c.File.S, order: c.order(), stop: c.stops()}
	before := errs.Len()
	form := c.format(errs)
	if form == nil || errs.Len() > before {
		return fd
	}
	path := c.File.S
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	f, err := openRegular(path)
	if err == nil {
		fd.rows, fd.Columns, fd.Hash, err = build(f, form, c.Weight.S, most)
		if err != nil || fd.rows.file == nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		fd.report(err, c, errs)
		return fd
	}
	if fd.order == Zipf {
		fd.zipf = newZipf(fd.rows.rows, c.exponent())
	}
	return fd
}

// openRegular opens a file that is none to wait on, as a pipe would be.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a file")
	}
	return os.Open(path)
}

// format returns the format that the file's name and the other keys ask for.
func (c *Config) format(errs *block.Errors) format {
	switch ext := strings.ToLower(filepath.Ext(c.File.S)); ext {
	case ".json":
		return &list{}
	case ".jsonl", ".ndjson":
		return lines{}
	case ".csv", ".tsv", ".txt":
		d := &delimited{between: []byte(c.delimiter())}
		var names []string
		for _, name := range c.Columns {
			switch {
			case name.S == "":
				errs.Add(name.Pos, name.Path, "a column must have a name")
			case slices.Contains(names, name.S):
				errs.Add(name.Pos, name.Path, "two columns have the name %q", name.S)
			}
			names = append(names, name.S)
		}
		switch {
		case len(d.between) == 0 && len(names) > 1:
			errs.Add(c.Columns[1].Pos, c.Columns[1].Path, "a line of a .txt file is one value").Hint = `write delimiter: ";" where it is not`
		case len(d.between) == 0 && len(names) == 0:
			names = []string{"value"}
		}
		if names != nil {
			d.name(names)
		}
		return d
	default:
		e := errs.Add(c.File.Pos, c.File.Path, "%s is neither .csv, .tsv, .txt, .json, .jsonl nor .ndjson", c.File.S)
		if ext == ".gz" || ext == ".zip" || ext == ".zst" || ext == ".bz2" {
			e.Hint = "unpack it: rows are read where they are"
		}
		return nil
	}
}

// report adds what is wrong with a file to errs.
func (f *Feeder) report(err error, c *Config, errs *block.Errors) {
	if found, ok := errors.AsType[mistakes](err); ok {
		for _, m := range found {
			at := f.file
			if m.line > 0 {
				at = fmt.Sprintf("%s:%d", f.file, m.line)
			}
			errs.Add(c.File.Pos, c.File.Path, "%s: %s", at, m.text).Hint = m.hint
		}
		return
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	errs.Add(c.File.Pos, c.File.Path, "%s: %v", f.file, err)
}

// Rows returns the number of rows.
func (f *Feeder) Rows() int { return f.rows.rows }

// ErrEnd says that all rows were dealt, and none is dealt again.
var ErrEnd = errors.New("all rows were dealt")

// A Dealer deals the rows of a feeder in one run on one shard. Its methods may be called concurrently.
type Dealer struct {
	f             *Feeder
	seed          uint64
	shard, shards uint64
	turns         atomic.Uint64 // of this shard
}

// Dealer returns a dealer. Those of one seed, of all shards, deal each row of a pass once together.
func (f *Feeder) Dealer(seed uint64, shard, shards int) *Dealer {
	h := fnv.New64a()
	_, _ = h.Write([]byte(f.name)) // never fails
	return &Dealer{f: f, seed: mix(seed, h.Sum64()), shard: uint64(shard), shards: uint64(max(1, shards))}
}

// Next deals a row to the VU of a number among those of all shards, which r is the random source of. It returns
// ErrEnd after the last row, and another error where a row cannot be read.
func (d *Dealer) Next(vu int, r *rand.Rand) (expr.Value, error) {
	var turn uint64
	if d.InTurn() {
		turn = d.Turn()
	}
	return d.Deal(turn, vu, r)
}

// InTurn reports whether rows are dealt in turn: the order asks neither the VU nor its random source.
func (d *Dealer) InTurn() bool {
	switch d.f.order {
	case PerVU, Zipf, Random:
		return false
	}
	return true
}

// Turn takes the next turn of this shard.
func (d *Dealer) Turn() uint64 { return (d.turns.Add(1)-1)*d.shards + d.shard }

// Deal is Next with a turn that was taken before; turns mean nothing to a dealer that is not InTurn.
func (d *Dealer) Deal(turn uint64, vu int, r *rand.Rand) (expr.Value, error) {
	row, err := d.deal(turn, vu, r)
	if err != nil && !errors.Is(err, ErrEnd) {
		err = fmt.Errorf("%s: %w", d.f.file, err)
	}
	return row, err
}

func (d *Dealer) deal(turn uint64, vu int, r *rand.Rand) (expr.Value, error) {
	rows := d.f.rows
	n := uint64(rows.rows)
	switch d.f.order {
	case PerVU:
		return rows.row(int(uint64(vu) % n))
	case Zipf:
		return rows.row(d.f.zipf.draw(r) - 1)
	case Random:
		if rows.weight != "" {
			return rows.weighted(r.Float64() * rows.total())
		}
		return rows.row(int(r.Uint64N(n)))
	}
	if d.f.stop && turn >= n {
		return expr.Value{}, ErrEnd
	}
	i := turn % n
	if d.f.order == Shuffled {
		i = permuted(mix(d.seed, turn/n), n, i)
	}
	return rows.row(int(i))
}
