package feeder

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
)

const (
	// mostColumns bounds the members of objects that are remembered; beyond it they are not known.
	mostColumns = 10000
	// mostMistakes bounds the rows that are reported.
	mostMistakes = 5
)

// limits bound what a table takes in memory.
type limits struct {
	text   int // bytes of a file, and of its rows as objects; the rows of a larger one are read when they are dealt
	starts int // blocks, an even number
}

// usual are the limits of a table. A block of a file of 2 GB has 2 to 4 KB then.
var usual = limits{32 << 20, 1 << 20}

// A builder reads a file from its begin to its end and makes a table of it.
type builder struct {
	t       *table
	s       scanner
	text    []byte // of the rows, while they are kept in memory
	inText  bool
	most    limits
	members map[string]bool // of objects; nil where they are not known
	names   []string        // of the columns of fields
	object  []byte
	total   float64 // of the weights
	found   []*mistake
}

// build reads a file. It returns its rows, what members they may have, nil for any, and the SHA-256 of the file's
// content in hexadecimal; or what is wrong with the file, the first mostMistakes of it.
func build(f *os.File, form format, weight string, most limits) (t *table, members []string, hash string, err error) {
	b := &builder{t: &table{weight: weight, every: 1}, most: most, members: map[string]bool{}}
	if b.t.before, err = stateOf(f); err != nil {
		return nil, nil, "", err
	}
	b.inText = b.t.before.size <= int64(most.text)
	sum := sha256.New()
	b.s.buf = make([]byte, 32*leastBuffer)
	b.s.reset(io.TeeReader(f, sum), form, 0)
	if err := b.all(); err != nil {
		return nil, nil, "", err
	}
	after, err := stateOf(f)
	if err != nil {
		return nil, nil, "", err
	}
	if after != b.t.before {
		return nil, nil, "", errors.New("the file changes while it is read")
	}
	if b.inText {
		b.t.text, b.t.starts, b.t.ends = string(b.text), nil, slices.Clip(b.t.ends)
	} else {
		b.t.file, b.t.format, b.t.starts = f, form, slices.Clip(b.t.starts)
	}
	members = slices.Concat(b.names, slices.Collect(maps.Keys(b.members)))
	slices.Sort(members)
	return b.t, members, hex.EncodeToString(sum.Sum(nil)), nil
}

// mistakes is what is wrong with the rows of a file.
type mistakes []*mistake

func (m mistakes) Error() string { return m[0].text }

// all reads the header and the rows.
func (b *builder) all() error {
	err := b.s.skipMark()
	if err == nil {
		err = b.header()
	}
	for err == nil && len(b.found) < mostMistakes {
		err = b.row()
	}
	m, known := errors.AsType[*mistake](err)
	switch {
	case known:
		b.found = append(b.found, m)
	case err != nil && !errors.Is(err, io.EOF):
		return err
	}
	if len(b.found) > 0 {
		return mistakes(b.found)
	}
	switch {
	case b.t.rows == 0:
		return mistakes{{text: "has no rows"}}
	case b.t.weight != "" && (b.total == 0 || math.IsInf(b.total, 0)):
		return mistakes{{text: fmt.Sprintf("the weights in column %q add up to %v", b.t.weight, b.total)}}
	}
	return nil
}

// header reads the header row of fields, where they have one.
func (b *builder) header() error {
	d, ok := b.s.format.(*delimited)
	if !ok {
		return nil
	}
	b.members = nil
	if d.names == nil {
		row, err := b.s.next()
		switch {
		case errors.Is(err, io.EOF):
			return &mistake{text: "has no header row"}
		case err != nil:
			return err
		}
		if err := d.head(row, b.s.line); err != nil {
			return b.s.mistaken(err, b.s.line)
		}
	}
	b.names = slices.Clone(d.names)
	if b.t.weight != "" && !slices.Contains(b.names, b.t.weight) {
		return &mistake{d.header, fmt.Sprintf("there is no column %q for the weight", b.t.weight), block.Nearest(b.t.weight, b.names)}
	}
	return nil
}

// row reads the next row.
func (b *builder) row() error {
	row, err := b.s.next()
	if err != nil {
		return err
	}
	if err := b.s.check(row); err != nil {
		b.complain(err)
		return nil
	}
	if d, ok := b.s.format.(*delimited); ok && b.t.rows == 0 && d.repeats() {
		return &mistake{b.s.line, "the header row, where the configuration has columns", "leave one of the two out"}
	}
	if b.inText || b.t.weight != "" {
		b.object = b.s.object(b.object[:0], row)
	}
	if b.t.weight != "" {
		w, ok := weightOf(string(b.object), b.t.weight)
		if !ok {
			b.complain(fmt.Errorf("the weight in column %q is not a number of 0 or more", b.t.weight))
			return nil
		}
		b.total += w
	}
	if b.inText && len(b.text)+len(b.object) > b.most.text {
		b.inText, b.text, b.t.ends = false, nil, nil
	}
	if b.inText {
		b.text = append(b.text, b.object...)
		b.t.ends = append(b.t.ends, uint32(len(b.text)))
	}
	b.learn(row)
	b.index()
	b.t.rows++
	return nil
}

// complain adds what is wrong with the row at hand.
func (b *builder) complain(err error) {
	m, _ := errors.AsType[*mistake](b.s.mistaken(err, b.s.line))
	b.found = append(b.found, m)
}

// index notes where a block begins and what its rows weigh. An index that has reached its bound has blocks of twice
// as many rows from then on.
func (b *builder) index() {
	t := b.t
	if t.rows%t.every == 0 {
		if len(t.starts) == b.most.starts {
			for i := 0; i < b.most.starts; i += 2 {
				t.starts[i/2] = t.starts[i]
				if t.weight != "" {
					t.sums[i/2] = t.sums[i+1]
				}
			}
			t.starts = t.starts[:b.most.starts/2]
			if t.weight != "" {
				t.sums = t.sums[:b.most.starts/2]
			}
			t.every *= 2
		}
		t.starts = append(t.starts, b.s.row)
		if t.weight != "" {
			t.sums = append(t.sums, 0)
		}
	}
	if t.weight != "" {
		t.sums[len(t.sums)-1] = b.total
	}
}

// learn notes the names of a row's members.
func (b *builder) learn(row []byte) {
	if b.members == nil {
		return
	}
	gjson.ParseBytes(row).ForEach(func(key, _ gjson.Result) bool {
		if !b.members[key.Str] {
			b.members[strings.Clone(key.Str)] = true
		}
		return true
	})
	if len(b.members) > mostColumns {
		b.members = nil
	}
}

// head takes the names of the columns from the header row.
func (d *delimited) head(row []byte, line int) error {
	if !utf8.Valid(row) {
		return errNotUTF8
	}
	var names []string
	for _, field := range d.cut(row) {
		names = append(names, strings.TrimSpace(string(field)))
	}
	if len(names) == 1 {
		for _, other := range []string{";", "\t", "|", ","} {
			if string(d.between) != other && strings.Contains(names[0], other) {
				return wrong(fmt.Sprintf("the header row has no %q between its columns", d.between), fmt.Sprintf("write delimiter: %q", other))
			}
		}
	}
	for i, name := range names {
		switch {
		case name == "":
			return fmt.Errorf("column %d has no name", i+1)
		case slices.Contains(names[:i], name):
			return fmt.Errorf("two columns have the name %q", name)
		}
	}
	d.header = line
	d.name(names)
	return nil
}

// repeats reports whether the row that was cut last holds the names of the columns that were given for it.
func (d *delimited) repeats() bool {
	return d.header == 0 && len(d.between) > 0 && slices.EqualFunc(d.names, d.fields, func(name string, field []byte) bool { return name == string(field) })
}

// name sets the names of the columns.
func (d *delimited) name(names []string) {
	d.names, d.keys = names, nil
	for _, name := range names {
		d.keys = append(d.keys, string(expr.Str(name).AppendJSON(nil))+":")
	}
}
