package pace

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A series is what was measured over time, in order: at least two samples, the first with a value.
type series []sample

// A sample is one value of a series.
type sample struct {
	at    time.Duration // since the first
	value float64       // NaN where it is missing
}

const (
	mostSamples = 200_000
	// mostSeriesMistakes bounds the rows that are reported.
	mostSeriesMistakes = 5
)

// step is the usual distance between two samples: their median.
func (s series) step() time.Duration {
	all := make([]time.Duration, len(s)-1)
	for i := range all {
		all[i] = s[i+1].at - s[i].at
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// length is the time that the series covers: the last sample lasts for a step.
func (s series) length() time.Duration { return s[len(s)-1].at + s.step() }

// A part is a time in which the level is a straight line.
type part struct {
	length   time.Duration
	from, to float64
}

// parts yields the level over the length of the series: each value holds until the next sample, or for a step where
// that is more than one and a half steps away. What lies between is missing, as what a sample without a value covers
// is. After the end comes the first sample again.
func (s series) parts(m Missing) iter.Seq[part] {
	return func(yield func(part) bool) {
		step, end := s.step(), s.length()
		covered := func(i int) time.Duration { // when sample i is over
			next := end
			if i+1 < len(s) {
				next = s[i+1].at
			}
			if next-s[i].at > step+step/2 {
				return s[i].at + step
			}
			return next
		}
		for i := 0; i < len(s); {
			v, over := s[i].value, covered(i)
			if !yield(part{over - s[i].at, v, v}) {
				return
			}
			after := i + 1
			for after < len(s) && math.IsNaN(s[after].value) {
				after++
			}
			begins, next := end, s[0].value
			if after < len(s) {
				begins, next = s[after].at, s[after].value
			}
			if gap := begins - over; gap > 0 {
				p := part{gap, v, v}
				switch m {
				case Zero:
					p = part{gap, 0, 0}
				case Interpolate:
					p = part{gap, v, next}
				}
				if !yield(p) {
					return
				}
			}
			i = after
		}
	}
}

// A seriesMistake is what is wrong with a line of a file.
type seriesMistake struct {
	line       int
	text, hint string
}

// parseSeries reads the rows of a CSV file, time and value. A first row that is none names the columns. It returns
// the series and the instant at which it begins, which offsets have none of, or the first mistakes.
func parseSeries(text []byte) (s series, begins time.Time, wrong []seriesMistake) {
	fail := func(line int, hint, format string, args ...any) bool {
		wrong = append(wrong, seriesMistake{line, fmt.Sprintf(format, args...), hint})
		return len(wrong) < mostSeriesMistakes
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	r.FieldsPerRecord, r.Comment, r.TrimLeadingSpace, r.ReuseRecord = -1, '#', true, true
	var form timeForm
	var first, last time.Duration
	for rows := 0; ; rows++ {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, text := 0, err.Error()
			if e, ok := errors.AsType[*csv.ParseError](err); ok {
				line, text = e.Line, e.Err.Error()
			}
			fail(line, "", "%s", text)
			break
		}
		line, _ := r.FieldPos(0)
		if len(fields) < 2 {
			if !fail(line, "a row is time,value", "has %d field, want a time and a value", len(fields)) {
				return nil, begins, wrong
			}
			continue
		}
		at, f, ok := parseTime(strings.TrimSpace(fields[0]))
		if !ok {
			if rows == 0 { // the names of the columns
				continue
			}
			if !fail(line, "times are RFC 3339, Unix seconds, or offsets such as 90 or 1m30s", "%q is no time", fields[0]) {
				return nil, begins, wrong
			}
			continue
		}
		v, err := parseValue(strings.TrimSpace(fields[1]))
		switch {
		case err != nil:
			ok = fail(line, "", "%v", err)
		case form != "" && form != f:
			ok = fail(line, "", "%s is an %s, the rows before have %ss", fields[0], f, form)
		case form != "" && at <= last:
			ok = fail(line, "rows are in the order of their times", "%s is not after the time before", fields[0])
		case len(s) == 0 && math.IsNaN(v):
			ok = fail(line, "leave the row out", "the first row has no value")
		case len(s) == mostSamples:
			fail(line, "use longer steps", "there are more than %d rows", mostSamples)
			ok = false
		default:
			if form == "" {
				form, first = f, at
			}
			last = at
			s = append(s, sample{at - first, v})
		}
		if !ok {
			return nil, begins, wrong
		}
	}
	if wrong == nil && len(s) < 2 {
		fail(1, "", "there are %d rows with a time and a value, at least 2 are needed", len(s))
	}
	if wrong == nil && float64(last)-float64(first) > float64(mostLength) {
		fail(1, "", "the times span more than can be counted")
	}
	if form == instants {
		begins = time.Unix(0, int64(first))
	}
	return s, begins, wrong
}

// A timeForm is how the times of a file are written.
type timeForm string

const (
	instants timeForm = "instant"
	offsets  timeForm = "offset"
)

// Numbers from leastUnix on are Unix seconds, from leastMilli on milliseconds; smaller ones are offsets in seconds.
const (
	leastUnix  = 100_000_000     // 1973
	leastMilli = 100_000_000_000 // of 1973, too
)

// parseTime returns a time since 1970 or since any beginning.
func parseTime(text string) (time.Duration, timeForm, bool) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return time.Duration(t.UnixNano()), instants, t.Year() > 1700 && t.Year() < 2250
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		switch {
		case v >= leastMilli && v < 1e13:
			return time.Duration(math.Round(v*1e3)) * time.Microsecond, instants, true
		case v >= leastUnix && v < leastMilli && v < 9e9:
			return time.Duration(math.Round(v*1e6)) * time.Microsecond, instants, true
		case v >= 0 && v < leastUnix:
			return time.Duration(math.Round(v * 1e9)), offsets, true
		}
		return 0, "", false
	}
	d, err := block.ParseDuration(text)
	return time.Duration(d), offsets, err == nil && d >= 0
}

// parseValue returns a value that can be a level, NaN for none.
func parseValue(text string) (float64, error) {
	if text == "" || strings.EqualFold(text, "nan") || strings.EqualFold(text, "null") {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsInf(v, 0):
		return 0, fmt.Errorf("%q is no number", text)
	case v < 0:
		return 0, fmt.Errorf("%s is negative", text)
	}
	return v, nil
}
