package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// An apiAnswer is what Prometheus answers to a query
// (prometheus.io/docs/prometheus/latest/querying/api).
type apiAnswer struct {
	Status    string `json:"status"`
	ErrorType string `json:"errorType"`
	Error     string `json:"error"`
	Result    struct {
		Type   string          `json:"resultType"`
		Values json.RawMessage `json:"result"`
	} `json:"data"`
}

// An apiSeries is one element of an instant vector.
type apiSeries struct {
	Labels map[string]string `json:"metric"`
	Value  *apiValue         `json:"value"` // nil for a histogram
}

// An apiValue is a value, in JSON a pair of an instant and the value as text.
type apiValue float64

// UnmarshalJSON reads the pair's value.
func (v *apiValue) UnmarshalJSON(text []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("a value is a pair, got %d elements", len(pair))
	}
	var number string
	if err := json.Unmarshal(pair[1], &number); err != nil {
		return err
	}
	f, err := strconv.ParseFloat(number, 64)
	*v = apiValue(f)
	return err
}

// queryAddress returns the address of an instant query, evaluated at the server's own time.
func queryAddress(prometheus, query string) string {
	u, err := url.Parse(prometheus)
	if err != nil {
		return prometheus
	}
	u = u.JoinPath("api/v1/query")
	q := u.Query()
	q.Set("query", query)
	u.RawQuery = q.Encode()
	return u.String()
}

// readQuery reads the series of an answer to a query.
func readQuery(status int, body []byte, each func(series) error) error {
	a, err := readAPI(status, body)
	if err != nil {
		return err
	}
	switch a.Result.Type {
	case "scalar":
		var v apiValue
		if err := json.Unmarshal(a.Result.Values, &v); err != nil {
			return fmt.Errorf("read prometheus's scalar: %w", err)
		}
		return each(series{value: float64(v), label: func(string) string { return "" }})
	case "vector":
		return readVector(a.Result.Values, each)
	}
	return fmt.Errorf("the query gives a %s: want an instant vector or a scalar", excerpt(a.Result.Type))
}

// readAPI reads an answer that is a success.
func readAPI(status int, body []byte) (a apiAnswer, err error) {
	err = json.Unmarshal(body, &a)
	switch {
	case a.Error != "" || a.ErrorType != "":
		return a, fmt.Errorf("prometheus says %s: %s", excerpt(a.ErrorType), excerpt(a.Error))
	case status != http.StatusOK:
		return a, fmt.Errorf("status %d: %s", status, excerpt(string(body)))
	case err != nil:
		return a, fmt.Errorf("read prometheus's answer: %w", err)
	case a.Status != "success":
		return a, fmt.Errorf("prometheus answers with status %q", excerpt(a.Status))
	}
	return a, nil
}

func readVector(text []byte, each func(series) error) error {
	var vector []apiSeries
	if err := json.Unmarshal(text, &vector); err != nil {
		return fmt.Errorf("read prometheus's vector: %w", err)
	}
	for _, s := range vector {
		if s.Value == nil {
			return errors.New("the query gives histograms: want numbers, such as histogram_sum(…)")
		}
		err := each(series{name: s.Labels["__name__"], value: float64(*s.Value), label: func(name string) string { return s.Labels[name] }})
		if err != nil {
			return err
		}
	}
	return nil
}
