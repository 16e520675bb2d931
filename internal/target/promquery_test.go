package target

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadQuery(t *testing.T) {
	// The shapes are those of prometheus.io/docs/prometheus/latest/querying/api.
	vector := func(result string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + result + `]}}`
	}
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   []string
		wrong  string
	}{
		{
			"a vector", 200, vector(`{"metric":{"__name__":"up","pod":"a"},"value":[1435781451.781,"1"]},{"metric":{},"value":[1435781451.781,"2.5e3"]}`),
			[]string{`"a" 1`, `"" 2500`},
			"",
		},
		{"an empty vector", 200, vector(""), nil, ""},
		{"numbers that are none", 200, vector(`{"metric":{},"value":[1,"NaN"]},{"metric":{},"value":[1,"+Inf"]},{"metric":{},"value":[1,"-Inf"]}`), []string{`"" NaN`, `"" +Inf`, `"" -Inf`}, ""},
		{"a scalar", 200, `{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"42"]}}`, []string{`"" 42`}, ""},
		{"warnings besides", 200, `{"status":"success","warnings":["slow"],"data":{"resultType":"scalar","result":[1,"42"]}}`, []string{`"" 42`}, ""},
		{
			"a mistake in the query", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:3: parse error"}`,
			nil, `prometheus says bad_data: invalid parameter "query": 1:3: parse error`,
		},
		{"an error of a gateway", 502, "<html>Bad Gateway", nil, "status 502: <html>Bad Gateway"},
		{"no API", 200, "<html>", nil, "read prometheus's answer: invalid character '<' looking for beginning of value"},
		{"another JSON", 200, `{"a": 1}`, nil, `prometheus answers with status ""`},
		{"a matrix", 200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`, nil, "the query gives a matrix: want an instant vector or a scalar"},
		{"histograms", 200, vector(`{"metric":{},"histogram":[1,{"count":"1"}]}`), nil, "the query gives histograms: want numbers, such as histogram_sum(…)"},
		{"half a value", 200, vector(`{"metric":{},"value":[1]}`), nil, "read prometheus's vector: a value is a pair, got 1 elements"},
		{"a value that is no number", 200, vector(`{"metric":{},"value":[1,"x"]}`), nil, `read prometheus's vector: strconv.ParseFloat: parsing "x": invalid syntax`},
		{"a number without quotes", 200, vector(`{"metric":{},"value":[1,2]}`), nil, "read prometheus's vector: json: cannot unmarshal number into Go struct field apiSeries.value of type string"},
	} {
		var got []string
		err := readQuery(c.status, []byte(c.body), func(s series) error {
			got = append(got, fmt.Sprintf("%q %v", s.label("pod"), s.value))
			return nil
		})
		wrong := ""
		if err != nil {
			wrong = err.Error()
		}
		if wrong != c.wrong {
			t.Errorf("%s: error %q, want %q", c.name, wrong, c.wrong)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestQueryAddress(t *testing.T) {
	for _, c := range []struct{ prometheus, query, want string }{
		{"http://p:9090", "up", "http://p:9090/api/v1/query?query=up"},
		{"http://p:9090/", "a + b", "http://p:9090/api/v1/query?query=a+%2B+b"},
		{"http://p/prom/x?dedup=true", `a{b="ü&"}`, "http://p/prom/x/api/v1/query?dedup=true&query=a%7Bb%3D%22%C3%BC%26%22%7D"},
	} {
		if got := queryAddress(c.prometheus, c.query); got != c.want {
			t.Errorf("queryAddress(%q, %q) = %q, want %q", c.prometheus, c.query, got, c.want)
		}
	}
}

func FuzzReadQuery(f *testing.F) {
	f.Add(200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1,"1"]}]}}`)
	f.Add(200, `{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}`)
	f.Add(400, `{"status":"error","errorType":"bad_data","error":"x"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		n := 0
		err := readQuery(status, []byte(body), func(s series) error {
			n++
			if !math.IsNaN(s.value) && !math.IsInf(s.value, 0) && !strings.ContainsAny(body, "0123456789") {
				t.Errorf("%v out of %q", s.value, body)
			}
			return nil
		})
		if n > 0 && status != http.StatusOK {
			t.Errorf("%d series of status %d, error %v", n, status, err)
		}
	})
}
