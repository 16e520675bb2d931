package feeder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/expr"
)

// A format tells the rows of a file apart. It may keep where it is in the file.
type format interface {
	// split takes the first piece of data, which begins where the piece before it ended: a row, or n bytes without
	// one. It takes nothing where it needs more data than that, which it does not where data is the last of the file.
	split(data []byte, last bool) (n int, row []byte, err error)
	// finish says what is wrong with the end of the file.
	finish() error
	// check says what is wrong with a row; a line of its *mistake counts from the row's first.
	check(row []byte) error
	// object appends the row that was checked last as a JSON object.
	object(dst, row []byte) []byte
	// fresh returns the same format at the begin of a row.
	fresh() format
}

// A mistake is something wrong with a file, with the line that it is on, 0 for none.
type mistake struct {
	line int
	text string
	hint string
}

func (m *mistake) Error() string { return m.text }

func wrong(text, hint string) error { return &mistake{text: text, hint: hint} }

// delimited are rows of fields with something between them, a row a line (RFC 4180).
// A field that begins with a quote ends with one, and may hold delimiters, line ends
// and, written twice, quotes; elsewhere a quote is a character like others.
type delimited struct {
	between []byte // nil: a row is one field
	header  int    // line of the header row, 0 for none
	names   []string
	keys    []string // the names in quotes, each with its colon
	fields  [][]byte // of the row that was cut last
}

func (d *delimited) finish() error { return nil }
func (d *delimited) fresh() format {
	return &delimited{between: d.between, header: d.header, names: d.names, keys: d.keys}
}

func (d *delimited) split(data []byte, last bool) (int, []byte, error) {
	end, n := bytes.IndexByte(data, '\n'), 0
	switch {
	case end >= 0:
		n = end + 1
	case last:
		end, n = len(data), len(data)
	default:
		return 0, nil, nil
	}
	if bytes.IndexByte(data[:end], '"') >= 0 {
		var err error
		if end, n, err = d.quoted(data, last); err != nil || n == 0 {
			return 0, nil, err
		}
	}
	row := bytes.TrimSuffix(data[:end], []byte{'\r'})
	if d.blank(row) {
		return n, nil, nil
	}
	return n, row, nil
}

// quoted returns the end of a row that has quotes, and where the next begins.
func (d *delimited) quoted(data []byte, last bool) (end, next int, err error) {
	for i := 0; ; {
		if i < len(data) && data[i] == '"' {
			if i = closing(data, i+1); i < 0 {
				if last {
					return 0, 0, wrong("a quote is not closed", "a quote within a quoted field is written twice")
				}
				return 0, 0, nil
			}
			rest := data[i:]
			switch {
			case !last && len(rest) <= max(2, len(d.between)):
				return 0, 0, nil
			case len(rest) == 0 || len(rest) == 1 && rest[0] == '\r':
				return len(data), len(data), nil
			case len(d.between) > 0 && bytes.HasPrefix(rest, d.between):
				i += len(d.between)
				continue
			case rest[0] == '\n':
				return i, i + 1, nil
			case rest[0] == '\r' && rest[1] == '\n':
				return i, i + 2, nil
			}
			return 0, 0, wrong("a quoted field goes on after its closing quote", "a quote within a quoted field is written twice")
		}
		line := bytes.IndexByte(data[i:], '\n')
		if line < 0 {
			if !last {
				return 0, 0, nil
			}
			line = len(data) - i
		}
		if len(d.between) > 0 {
			if at := bytes.Index(data[i:i+line], d.between); at >= 0 {
				i += at + len(d.between)
				continue
			}
		}
		return i + line, min(i+line+1, len(data)), nil
	}
}

// closing returns the index after the quote that closes a field, -1 where data has none.
func closing(data []byte, i int) int {
	for {
		at := bytes.IndexByte(data[i:], '"')
		if at < 0 {
			return -1
		}
		i += at + 1
		if i == len(data) || data[i] != '"' {
			return i
		}
		i++
	}
}

// blank reports whether a line holds nothing but spaces that are no delimiters.
func (d *delimited) blank(row []byte) bool {
	for _, c := range row {
		if c != ' ' && c != '\t' || len(d.between) == 1 && c == d.between[0] {
			return false
		}
	}
	return true
}

// cut returns the fields of a row as they were meant, without their quotes.
func (d *delimited) cut(row []byte) [][]byte {
	d.fields = d.fields[:0]
	for i := 0; ; {
		if i < len(row) && row[i] == '"' {
			end := closing(row, i+1)
			field := row[i+1 : end-1]
			if bytes.IndexByte(field, '"') >= 0 {
				field = bytes.ReplaceAll(field, []byte(`""`), []byte{'"'})
			}
			if bytes.IndexByte(field, '\r') >= 0 {
				field = bytes.ReplaceAll(field, []byte("\r\n"), []byte{'\n'})
			}
			d.fields = append(d.fields, field)
			if i = end; i == len(row) {
				return d.fields
			}
			i += len(d.between)
			continue
		}
		at := -1
		if len(d.between) > 0 {
			at = bytes.Index(row[i:], d.between)
		}
		if at < 0 {
			d.fields = append(d.fields, row[i:])
			return d.fields
		}
		d.fields = append(d.fields, row[i:i+at])
		i += at + len(d.between)
	}
}

func (d *delimited) check(row []byte) error {
	if !utf8.Valid(row) {
		return errNotUTF8
	}
	fields := d.cut(row)
	if len(fields) != len(d.names) {
		from := "columns"
		if d.header > 0 {
			from = fmt.Sprintf("the header row in line %d", d.header)
		}
		return fmt.Errorf("%s, where %s has %d", count(len(fields), "field"), from, len(d.names))
	}
	return nil
}

func (d *delimited) object(dst, _ []byte) []byte {
	for i, key := range d.keys {
		if i == 0 {
			dst = append(dst, '{')
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, key...)
		dst = expr.Str(string(d.fields[i])).AppendJSON(dst)
	}
	return append(dst, '}')
}

var errNotUTF8 = errors.New("not in UTF-8")

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkObject checks that a row is one JSON object.
func checkObject(row []byte) error {
	if !gjson.ValidBytes(row) {
		var v any
		err := json.Unmarshal(row, &v)
		m := &mistake{text: "not JSON"}
		if at, ok := errors.AsType[*json.SyntaxError](err); ok {
			m.text = "not JSON: " + at.Error()
			m.line = bytes.Count(row[:min(int(at.Offset), len(row))], []byte{'\n'}) // from the row's first
		}
		return m
	}
	switch {
	case row[0] != '{':
		return wrong("a row must be an object", `write {"value": …}, and read it as NAME.value`)
	case !utf8.Valid(row):
		return errNotUTF8
	}
	return nil
}

const space = " \t\r\n"

// lines is NDJSON: an object a line.
type lines struct{}

func (lines) finish() error                 { return nil }
func (lines) fresh() format                 { return lines{} }
func (lines) check(row []byte) error        { return checkObject(row) }
func (lines) object(dst, row []byte) []byte { return append(dst, row...) }

func (lines) split(data []byte, last bool) (int, []byte, error) {
	n := bytes.IndexByte(data, '\n') + 1
	if n == 0 {
		if !last {
			return 0, nil, nil
		}
		n = len(data)
	}
	row := bytes.Trim(data[:n], space)
	if len(row) == 0 {
		return n, nil, nil
	}
	return n, row, nil
}

// A list is a JSON list of objects. It keeps what may come next.
type list struct{ next uint8 }

const (
	begin  uint8 = iota // the list
	first               // an element, or the list's end
	comma               // a comma, or the list's end
	more                // an element
	ending              // the end of the file
)

func (l *list) fresh() format                 { return &list{more} }
func (l *list) check(row []byte) error        { return checkObject(row) }
func (l *list) object(dst, row []byte) []byte { return append(dst, row...) }

func (l *list) finish() error {
	switch l.next {
	case begin:
		return wrong("must be a list of objects", "write [{…}, {…}], or call a file with an object a line .jsonl")
	case ending:
		return nil
	}
	return errors.New("the list does not end")
}

func (l *list) split(data []byte, last bool) (int, []byte, error) {
	if n := len(data) - len(bytes.TrimLeft(data, space)); n > 0 {
		return n, nil, nil
	}
	c := data[0]
	switch {
	case l.next == begin && c == '[':
		l.next = first
	case l.next == begin:
		return 0, nil, l.finish()
	case l.next == ending:
		return 0, nil, wrong("text after the end of the list", "an object a line is a .jsonl file")
	case c == ']' && (l.next == first || l.next == comma):
		l.next = ending
	case l.next == comma && c == ',':
		l.next = more
	case l.next == comma:
		return 0, nil, errors.New("a comma is missing between two elements")
	case c == ',' || c == ']':
		return 0, nil, errors.New("an element is missing")
	default:
		n := element(data)
		if n < 0 {
			if !last {
				return 0, nil, nil
			}
			n = len(data)
		}
		l.next = comma
		return n, data[:n], nil
	}
	return 1, nil, nil
}

// element returns the length of the JSON value that data begins with, -1 where its end is not in data.
func element(data []byte) int {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; ; i++ {
				at := bytes.IndexByte(data[min(i, len(data)):], '"')
				if at < 0 {
					return -1
				}
				escaped := false
				for back := i + at - 1; back >= i && data[back] == '\\'; back-- {
					escaped = !escaped
				}
				if i += at; !escaped {
					break
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			} else if depth < 0 {
				return i
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}
