package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// columns is the width of text.
const columns = 100

// clean makes a text from outside safe for a terminal. It replaces characters that
// move the cursor, change the direction of writing or end the line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return utf8.RuneError
	}, s)
}

// paragraph appends a lead and text, wrapped. Later lines are indented to where the
// text began.
func paragraph(b *strings.Builder, lead, text string) {
	indent := utf8.RuneCountInString(lead)
	list := words(text)
	if len(list) == 0 {
		lead = strings.TrimRight(lead, " ")
	}
	b.WriteString(lead)
	at := indent
	for i, word := range list {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > columns:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	b.WriteByte('\n')
}

// words divides text into what a line may be broken between. A percent sign is kept
// with its number.
func words(text string) []string {
	var out []string
	for w := range strings.FieldsSeq(clean(text)) {
		if n := len(out); n > 0 && strings.HasPrefix(w, "%") {
			out[n-1] += " " + w
		} else {
			out = append(out, w)
		}
	}
	return out
}

// A table has rows of cells below a head. The first column is shortened where a
// line would be too long; columns from index numbers on are aligned to the right.
type table struct {
	head    []string
	rows    []row
	numbers int // index of the first column of numbers
}

// A row has cells and lines below them.
type row struct {
	cells []string
	below []note
}

// A note is a line below a row: its kind, and what it says.
type note struct{ lead, text string }

const gap = "  "

func (t *table) write(b *strings.Builder) {
	widths := make([]int, len(t.head))
	for _, cells := range append([][]string{t.head}, t.cells()...) {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	total := len(gap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	const least = 12 // of the first column, so that names can be told apart
	widths[0] = max(widths[0]-max(total-columns, 0), min(widths[0], least))
	t.line(b, widths, t.head)
	for _, r := range t.rows {
		t.line(b, widths, r.cells)
		for _, n := range r.below {
			paragraph(b, "    "+n.lead+": ", n.text)
		}
	}
}

func (t *table) cells() [][]string {
	var out [][]string
	for i := range t.rows {
		for k, c := range t.rows[i].cells {
			t.rows[i].cells[k] = clean(c)
		}
		out = append(out, t.rows[i].cells)
	}
	return out
}

func (t *table) line(b *strings.Builder, widths []int, cells []string) {
	var line strings.Builder
	for i, c := range cells {
		if i > 0 {
			line.WriteString(gap)
		}
		c = fit(c, widths[i])
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
		if i >= t.numbers {
			line.WriteString(pad + c)
		} else {
			line.WriteString(c + pad)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// fit shortens a name to a width in its middle, where names differ least.
func fit(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	head := (width - 1) / 2
	return string(r[:head]) + "…" + string(r[len(r)-(width-1-head):])
}
