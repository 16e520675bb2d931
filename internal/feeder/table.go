package feeder

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/expr"
)

// A table is the rows of a file, as JSON objects. It is immutable.
type table struct {
	rows   int
	weight string // column of the weights, empty for none

	// A block is every rows; the weights of all rows up to the end of block b add up to sums[b].
	every int
	sums  []float64

	// Rows in memory are objects one after another; row i ends at ends[i].
	text string
	ends []uint32

	// Other rows are read from the file, which the runtime closes when nothing refers to it any more. Block b
	// begins at starts[b].
	file   *os.File
	before state
	format format
	starts []int64
	pool   sync.Pool // of *cursor
}

// A state is what changes with a file's content.
type state struct{ size, mtime int64 }

func stateOf(f *os.File) (state, error) {
	info, err := f.Stat()
	if err != nil {
		return state{}, err
	}
	return state{info.Size(), info.ModTime().UnixNano()}, nil
}

// A cursor reads a block of the file.
type cursor struct {
	scanner
	section io.SectionReader
	text    []byte // of the row at hand
}

var errChanged = errors.New("the file was changed while it is in use; a reload reads it again")

// row returns row i, from 0.
func (t *table) row(i int) (expr.Value, error) {
	if t.file == nil {
		return expr.FromJSON(t.inMemory(i)), nil
	}
	var out expr.Value
	err := t.read(i/t.every, i%t.every, func(object []byte) bool {
		out = expr.FromJSON(string(object))
		return false
	})
	return out, err
}

func (t *table) inMemory(i int) string {
	from := uint32(0)
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.text[from:t.ends[i]]
}

// total is the sum of all weights.
func (t *table) total() float64 { return t.sums[len(t.sums)-1] }

// weighted returns the row in whose share of the total the weight u lies, 0 ≤ u < total.
func (t *table) weighted(u float64) (expr.Value, error) {
	block := min(sort.Search(len(t.sums), func(b int) bool { return t.sums[b] > u }), len(t.sums)-1)
	if t.every == 1 {
		return t.row(block)
	}
	if block > 0 {
		u -= t.sums[block-1]
	}
	// A row without weight is never drawn, whatever rounding makes of u.
	row := 0
	take := func(i int, object string) bool {
		if w, _ := weightOf(object, t.weight); w > 0 {
			row = i
			u -= w
		}
		return u >= 0
	}
	if t.file == nil {
		for i := block * t.every; i < min((block+1)*t.every, t.rows); i++ {
			if !take(i, t.inMemory(i)) {
				break
			}
		}
		return t.row(row)
	}
	var out expr.Value
	i := 0
	err := t.read(block, 0, func(object []byte) bool {
		text := string(object)
		more := take(i, text)
		if row == i {
			out = expr.FromJSON(text)
		}
		i++
		return more && i < t.every && block*t.every+i < t.rows
	})
	return out, err
}

// read calls f with the rows of a block but the first skip, for as long as it asks for more.
func (t *table) read(block, skip int, f func(object []byte) (more bool)) error {
	c, _ := t.pool.Get().(*cursor)
	if c == nil {
		c = new(cursor)
	}
	defer t.pool.Put(c)
	end := t.before.size
	if block+1 < len(t.starts) {
		end = t.starts[block+1]
	}
	c.section = *io.NewSectionReader(t.file, t.starts[block], end-t.starts[block])
	c.reset(&c.section, t.format.fresh(), t.starts[block])
	err := func() error {
		for {
			row, err := c.next()
			if err != nil {
				return err
			}
			if skip--; skip >= 0 {
				continue
			}
			if err := c.check(row); err != nil {
				return err
			}
			c.text = c.object(c.text[:0], row)
			if !f(c.text) {
				return nil
			}
		}
	}()
	// What was read is what was indexed only if the file is still the same afterwards.
	if now, failed := stateOf(t.file); failed == nil && now != t.before {
		return errChanged
	}
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	return nil
}

// weightOf returns the number in a column of an object, false where there is none of 0 or more.
func weightOf(object, column string) (w float64, ok bool) {
	gjson.Parse(object).ForEach(func(key, v gjson.Result) bool {
		if key.Str != column {
			return true
		}
		switch v.Type {
		case gjson.Number:
			w, ok = v.Num, true
		case gjson.String:
			f, err := strconv.ParseFloat(strings.TrimSpace(v.Str), 64)
			w, ok = f, err == nil
		}
		return false
	})
	return w, ok && w >= 0 && !math.IsInf(w, 0)
}
