package web

import (
	"errors"
	"net/http"
	"time"
)

// maintenance takes a window, or answers with those that are under way and those to come.
func (s *server) maintenance(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		s.changing(s.Lifecycle, refuse, s.maintain)(w, r)
		return
	}
	now, coming := s.Daemon.Maintenance()
	answer(w, map[string]any{"now": list(now), "coming": list(coming)})
}

// maintain takes a window of maintenance.
func (s *server) maintain(w http.ResponseWriter, r *http.Request) {
	var pushed struct {
		Name    string    `json:"name"`
		Targets []string  `json:"targets"`
		From    time.Time `json:"from"`
		Until   time.Time `json:"until"`
		For     string    `json:"for"`
	}
	if err := readJSON(r, &pushed); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	until, problem := endOf(pushed.From, pushed.Until, pushed.For)
	if problem != "" {
		refuse(w, http.StatusBadRequest, problem)
		return
	}
	made, err := s.Daemon.Maintain(Maintenance{Name: pushed.Name, Targets: pushed.Targets, From: pushed.From, Until: until})
	switch {
	case errors.Is(err, ErrUnknownTarget):
		refuse(w, http.StatusNotFound, err.Error())
	case errors.Is(err, ErrFull):
		refuse(w, http.StatusConflict, err.Error())
	case errors.Is(err, ErrNotKept):
		refuse(w, http.StatusInternalServerError, err.Error())
	case err != nil:
		refuse(w, http.StatusBadRequest, err.Error())
	default:
		answer(w, made)
	}
}

// endOf is the end of a window, which is given as an instant or as a duration.
func endOf(from, until time.Time, lasts string) (end time.Time, problem string) {
	switch {
	case lasts == "" && until.IsZero():
		return end, "until: is required, such as 2026-12-01T04:00:00Z, or for, such as 2h: maintenance has an end"
	case lasts == "":
		return until, ""
	case !until.IsZero():
		return end, "for: until says already when maintenance ends"
	}
	d, err := time.ParseDuration(lasts)
	if err != nil || d <= 0 {
		return end, "for: must be a duration such as 2h, got " + lasts
	}
	if from.IsZero() {
		from = time.Now()
	}
	return from.Add(d), ""
}

// endMaintenance ends a window that was pushed.
func (s *server) endMaintenance(w http.ResponseWriter, r *http.Request) {
	switch err := s.Daemon.EndMaintenance(r.PathValue("id")); {
	case errors.Is(err, ErrUnknownMaintenance):
		refuse(w, http.StatusNotFound, err.Error())
	case err != nil:
		refuse(w, http.StatusInternalServerError, err.Error())
	default:
		answer(w, nil)
	}
}
