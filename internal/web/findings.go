package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// findingsShown is how many findings are answered where the query does not say.
const findingsShown = 100

// findings answers with what the query asks for, newest first.
func (s *server) findings(w http.ResponseWriter, r *http.Request) {
	q, err := parseFindingQuery(r.URL.Query(), s.Kinds)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	out := []load.Finding{}
	for _, f := range s.Verdicts.Findings() {
		if len(out) == q.limit {
			break
		}
		if q.wants(f) {
			out = append(out, f)
		}
	}
	answer(w, out)
}

func (s *server) finding(w http.ResponseWriter, r *http.Request) {
	all, id := s.Verdicts.Findings(), r.PathValue("id")
	i := slices.IndexFunc(all, func(f load.Finding) bool { return f.ID == id })
	if i < 0 {
		refuse(w, http.StatusNotFound, ErrUnknownFinding.Error()+": "+id)
		return
	}
	answer(w, all[i])
}

func (s *server) accept(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	switch err := s.Verdicts.Accept(id); {
	case errors.Is(err, ErrUnknownFinding):
		refuse(w, http.StatusNotFound, ErrUnknownFinding.Error()+": "+id)
	case errors.Is(err, ErrNotAcceptable):
		refuse(w, http.StatusConflict, err.Error())
	case err != nil:
		refuse(w, http.StatusInternalServerError, err.Error())
	default:
		answer(w, nil)
	}
}

// release takes the release that a pipeline says a target now runs.
func (s *server) release(w http.ResponseWriter, r *http.Request) {
	var pushed struct {
		Target  string `json:"target"`
		Release string `json:"release"`
	}
	if err := readJSON(r, &pushed); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	for _, field := range []struct{ name, value string }{{"target", pushed.Target}, {"release", pushed.Release}} {
		if field.value == "" {
			refuse(w, http.StatusBadRequest, field.name+": is required")
			return
		}
	}
	switch err := s.Verdicts.Release(pushed.Target, pushed.Release); {
	case errors.Is(err, ErrUnknownTarget):
		refuse(w, http.StatusNotFound, ErrUnknownTarget.Error()+": "+pushed.Target)
	case err != nil:
		refuse(w, http.StatusBadRequest, err.Error())
	default:
		answer(w, nil)
	}
}

// readJSON reads a body that is one JSON value with no key that v does not know.
func readJSON(r *http.Request, v any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fmt.Errorf("the content type must be application/json, got %q", r.Header.Get("Content-Type"))
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body: must be one JSON object and nothing after it")
	}
	return nil
}

// A findingQuery says which findings are asked for; an empty list asks for all.
type findingQuery struct {
	states, kinds, verdicts, scenarios, targets []string
	limit                                       int
}

// The values of states that are no load.State.
const (
	stateStatus = "status" // watched: nothing proven, or proven well
	stateAll    = "all"
)

var (
	allowedStates   = []string{string(load.Active), string(load.Recovered), string(load.Accepted), string(load.Final), stateStatus, stateAll}
	defaultStates   = allowedStates[:4] // what is asked for where the query does not say
	allowedVerdicts = []string{load.Pass.String(), load.Fail.String(), load.Inconclusive.String()}
)

func parseFindingQuery(v url.Values, kinds analysis.Kinds) (findingQuery, error) {
	q := findingQuery{
		states: v["state"], kinds: v["kind"], verdicts: v["verdict"], scenarios: v["scenario"], targets: v["target"],
		limit: findingsShown,
	}
	var allowedKinds []string
	for _, k := range kinds.Findings() {
		allowedKinds = append(allowedKinds, string(k.Kind))
	}
	for _, p := range []struct {
		name         string
		got, allowed []string
	}{{"state", q.states, allowedStates}, {"kind", q.kinds, allowedKinds}, {"verdict", q.verdicts, allowedVerdicts}} {
		for _, got := range p.got {
			if !slices.Contains(p.allowed, got) {
				return q, fmt.Errorf("%s: must be one of %s, got %q", p.name, strings.Join(p.allowed, ", "), got)
			}
		}
	}
	if len(q.states) == 0 {
		q.states = defaultStates
	}
	if l := v.Get("limit"); l != "" {
		var err error
		if q.limit, err = strconv.Atoi(l); err != nil || q.limit < 1 {
			return q, fmt.Errorf("limit: must be a number of at least 1, got %q", l)
		}
	}
	return q, nil
}

func (q findingQuery) wants(f load.Finding) bool {
	state := string(f.State)
	if state == "" {
		state = stateStatus
	}
	return (slices.Contains(q.states, stateAll) || slices.Contains(q.states, state)) &&
		among(q.kinds, string(f.Kind)) && among(q.verdicts, f.Verdict.String()) &&
		among(q.scenarios, f.Scenario) && among(q.targets, f.Target)
}

func among(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
