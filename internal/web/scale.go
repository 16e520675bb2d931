package web

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// scale sets the load of a scenario to the level in the body.
func (s *server) scale(w http.ResponseWriter, r *http.Request) {
	var to Level
	if err := readJSON(r, &to); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if (to.VUs == nil) == (to.Rate == "") {
		refuse(w, http.StatusBadRequest, `want one of vus and rate, such as {"vus": 20} or {"rate": "50/s"}`)
		return
	}
	now, err := s.Daemon.Scale(r.PathValue("name"), to, by(r, "API"))
	if err != nil {
		refuse(w, scaleCode(err), err.Error())
		return
	}
	answer(w, now)
}

// scaleForm sets the load of a scenario to what its page's form says, and goes back to the page.
func (s *server) scaleForm(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	var to Level
	if v := strings.TrimSpace(r.PostFormValue("vus")); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			text(w, http.StatusBadRequest, "vus: must be a whole number, got "+strconv.Quote(v))
			return
		}
		to.VUs = &n
	} else {
		to.Rate = strings.TrimSpace(r.PostFormValue("rate"))
	}
	if _, err := s.Daemon.Scale(name, to, by(r, "page")); err != nil {
		text(w, scaleCode(err), err.Error())
		return
	}
	http.Redirect(w, r, "/scenarios/"+name, http.StatusSeeOther)
}

func scaleCode(err error) int {
	switch {
	case errors.Is(err, ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, ErrNotControlled):
		return http.StatusConflict
	case errors.Is(err, ErrNotKept):
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// by says who makes a request: the way, the user where one had to be named, and the address.
func by(r *http.Request, way string) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if user, _, ok := r.BasicAuth(); ok {
		return way + ", " + user + " from " + host
	}
	return way + ", from " + host
}
