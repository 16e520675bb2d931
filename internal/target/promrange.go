package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A RangeReader reads the values of a query to a Prometheus over time, as the watch
// reads resources: under the same guard, with the same client, and counted with its
// failures. It is for one goroutine.
type RangeReader struct {
	w       *Watch
	at      block.Text
	query   block.Text
	headers block.Entries[block.Text]
	say     complaint
}

// A Value is a value at an instant.
type Value struct {
	At    time.Time
	Value float64
}

// Range returns a reader of a query.
func (w *Watch) Range(at, query block.Text, headers block.Entries[block.Text]) *RangeReader {
	w.ranged.Store(true)
	log := w.o.Log.With("target", w.o.Config.Name.String(), "what", subjectNames[aboutReplay], "url", at.String())
	return &RangeReader{w: w, at: at, query: query, headers: headers, say: complaint{log: log}}
}

// Read reads the values from one instant to another, a step apart. A failure is
// counted, and logged where it is another than the last.
func (r *RangeReader) Read(ctx context.Context, from, to time.Time, step time.Duration) ([]Value, error) {
	values, err := r.read(ctx, from, to, step)
	switch {
	case err == nil:
		r.say.well()
	case ctx.Err() == nil: // an error of perfd's own stop is not a failure
		r.w.failed[aboutReplay][faultOf(err)].Add(1)
		r.say.failed(err, r.w.o.Now())
	}
	return values, err
}

func (r *RangeReader) read(ctx context.Context, from, to time.Time, step time.Duration) ([]Value, error) {
	a, err := r.w.client.get(ctx, request{url: r.address(from, to, step), header: r.headers, accept: "application/json"})
	if err != nil {
		return nil, err
	}
	values, err := readMatrix(a.status, a.body)
	switch {
	case err != nil && a.status/100 != 2:
		return nil, &readError{badStatus, err}
	case err != nil:
		return nil, &readError{unreadable, err}
	}
	return values, nil
}

// address is that of the range query.
func (r *RangeReader) address(from, to time.Time, step time.Duration) string {
	seconds := func(d time.Duration) string {
		return strconv.FormatFloat(float64(d.Milliseconds())/1e3, 'f', -1, 64)
	}
	u, err := url.Parse(r.at.S)
	if err != nil {
		return r.at.S
	}
	u = u.JoinPath("api/v1/query_range")
	q := u.Query()
	q.Set("query", r.query.S)
	q.Set("start", seconds(time.Duration(from.UnixNano())))
	q.Set("end", seconds(time.Duration(to.UnixNano())))
	q.Set("step", seconds(step))
	u.RawQuery = q.Encode()
	return u.String()
}

// readMatrix reads the values of the one series of an answer to a range query.
func readMatrix(status int, body []byte) ([]Value, error) {
	a, err := readAPI(status, body)
	if err != nil {
		return nil, err
	}
	if a.Result.Type != "matrix" {
		return nil, fmt.Errorf("the range query gives a %s: want a matrix", excerpt(a.Result.Type))
	}
	var all []struct {
		Values []timedValue `json:"values"`
	}
	if err := json.Unmarshal(a.Result.Values, &all); err != nil {
		return nil, fmt.Errorf("read prometheus's matrix: %w", err)
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("the query gives no series")
	case len(all) > 1:
		return nil, fmt.Errorf("the query gives %d series: want one, such as sum(…)", len(all))
	case all[0].Values == nil:
		return nil, errors.New("the query gives histograms: want numbers, such as histogram_count(…)")
	}
	values := make([]Value, len(all[0].Values))
	for i, v := range all[0].Values {
		values[i] = Value(v)
	}
	return values, nil
}

// A timedValue is a Value, in JSON a pair of seconds since 1970 and the value as text.
type timedValue Value

// UnmarshalJSON reads the pair.
func (v *timedValue) UnmarshalJSON(text []byte) error {
	var value apiValue
	if err := value.UnmarshalJSON(text); err != nil {
		return err
	}
	var pair []json.RawMessage
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	seconds, err := strconv.ParseFloat(string(pair[0]), 64)
	v.At, v.Value = time.UnixMilli(int64(seconds*1e3+0.5)), float64(value)
	return err
}
