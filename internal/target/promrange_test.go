package target

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
)

func TestReadMatrix(t *testing.T) {
	matrix := func(result string) string {
		return `{"status":"success","data":{"resultType":"matrix","result":[` + result + `]}}`
	}
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string // or the error
	}{
		{"one series", 200, matrix(`{"metric":{"a":"b"},"values":[[1435781430.781,"1"],[1435781445.7815,"2.5e1"],[1435781460,"NaN"]]}`), "1435781430781 1, 1435781445782 25, 1435781460000 NaN"},
		{"none", 200, matrix(""), "the query gives no series"},
		{"two", 200, matrix(`{"values":[[1,"1"]]},{"values":[[1,"1"]]}`), "the query gives 2 series: want one, such as sum(…)"},
		{"histograms", 200, matrix(`{"histograms":[[1,{}]]}`), "the query gives histograms: want numbers, such as histogram_count(…)"},
		{"a vector", 200, `{"status":"success","data":{"resultType":"vector","result":[]}}`, "the range query gives a vector: want a matrix"},
		{"half a value", 200, matrix(`{"values":[[1]]}`), "read prometheus's matrix: a value is a pair, got 1 elements"},
		{"no instant", 200, matrix(`{"values":[["x","1"]]}`), `read prometheus's matrix: strconv.ParseFloat: parsing "\"x\"": invalid syntax`},
		{"a mistake in the query", 400, `{"status":"error","errorType":"bad_data","error":"parse error"}`, "prometheus says bad_data: parse error"},
	} {
		values, err := readMatrix(c.status, []byte(c.body))
		var got []string
		for _, v := range values {
			got = append(got, fmt.Sprintf("%d %v", v.At.UnixMilli(), v.Value))
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
}

// The query and its own header fields reach the address below which the API is.
func TestRangeRequest(t *testing.T) {
	var got string
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		got = fmt.Sprintf("%s %s %s to %s by %s as %s", r.URL.Path, q.Get("query"), q.Get("start"), q.Get("end"), q.Get("step"), r.Header.Get("Authorization"))
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[100,"7"]]}]}}`)
	})
	w := NewWatch(Options{Config: &Config{Name: block.Text{S: "shop"}, URL: block.Text{S: "http://127.0.0.1:1"}}})
	r := w.Range(block.Text{S: at + "/prom/"}, block.Text{S: "sum(rate(a[1m]))"}, block.Entries[block.Text]{{Name: block.Text{S: "Authorization"}, Value: block.Text{S: "Bearer x"}}})
	values, err := r.Read(t.Context(), time.Unix(100, 0), time.UnixMilli(160_500), 1500*time.Millisecond)
	if err != nil || len(values) != 1 || values[0].Value != 7 || !values[0].At.Equal(time.Unix(100, 0)) {
		t.Errorf("values %v, %v", values, err)
	}
	if want := "/prom/api/v1/query_range sum(rate(a[1m])) 100 to 160.5 by 1.5 as Bearer x"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}
