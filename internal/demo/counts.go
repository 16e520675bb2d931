package demo

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// ClientLeft is the status under which a request is counted whose client was gone before it was answered.
const ClientLeft = 499

// Counts are the requests of a target, by endpoint ("POST /orders") and status.
type Counts map[string]map[int]int

// answers count the answers of a target's endpoints. A request is counted when its status is known, which is
// before a client can read it: who was answered finds the answer in the counts.
type answers struct {
	*prometheus.CounterVec // labels endpoint, method and code
}

func newAnswers(name string) answers {
	return answers{prometheus.NewCounterVec(
		prometheus.CounterOpts{Name: name, Help: "Requests by the status of their answer; 499 is a client that left without one."},
		[]string{"endpoint", "method", "code"},
	)}
}

// counted lets a handler answer, and counts what it answers as an endpoint's.
func (a answers) counted(endpoint string, w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
	method, _, _ := strings.Cut(endpoint, " ")
	count := func(code int) { a.WithLabelValues(endpoint, method, strconv.Itoa(code)).Inc() }
	seen := &statusWriter{ResponseWriter: w, known: count}
	answer(seen, r)
	if seen.code == 0 {
		count(ClientLeft)
	}
}

// Counts returns how many requests were answered by each endpoint, by status.
func (a answers) Counts() Counts {
	found := make(chan prometheus.Metric)
	go func() {
		defer close(found)
		a.Collect(found)
	}()
	counts := Counts{}
	for m := range found {
		var sample dto.Metric
		if err := m.Write(&sample); err != nil {
			continue // a counter can be written
		}
		label := map[string]string{}
		for _, l := range sample.Label {
			label[l.GetName()] = l.GetValue()
		}
		code, _ := strconv.Atoi(label["code"]) // it was made from a number
		by := counts[label["endpoint"]]
		if by == nil {
			by = map[int]int{}
			counts[label["endpoint"]] = by
		}
		by[code] = int(sample.Counter.GetValue())
	}
	return counts
}

// A statusWriter remembers the status, and tells it before it is written.
type statusWriter struct {
	http.ResponseWriter
	code  int       // 0 until it is known
	known func(int) // nil for nobody to tell
}

func (w *statusWriter) WriteHeader(code int) {
	if w.code == 0 && (code >= 200 || code == http.StatusSwitchingProtocols) { // others are followed by the status
		w.code = code
		if w.known != nil {
			w.known(code)
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find the writer.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
