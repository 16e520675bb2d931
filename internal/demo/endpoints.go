package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An endpoint is one thing a client can ask of the shop, faults in front of it.
type endpoint struct {
	pattern string
	serve   func(s *Shop, w http.ResponseWriter, r *http.Request, body []byte)
}

var endpoints = []endpoint{
	{"POST /auth/login", login},
	{"GET /products", products},
	{"GET /products/{id}", oneProduct},
	{"POST /cart/items", addToCart},
	{"GET /cart", showCart},
	{"DELETE /cart", emptyCart},
	{"POST /orders", order},
	{"GET /orders/{id}", showOrder},
	{"DELETE /orders/{id}", cancelOrder},
	{"GET /search", search},
	{"GET /realtime", realtime},
	{"GET /feed", feed},
	{"GET /feed/next", feedNext},
	{"POST /assistant", assistant},
	{"POST /reports/generate", report},
	{"GET /reports/{id}", showReport},
	{"GET /analytics/sales", analytics},
	{"GET /api/intensive-operation-0", intensive},
	{"GET /api/intensive-operation-1", intensive},
	{"GET /api/intensive-operation-2", intensive},
}

func endpointNames() []string {
	names := make([]string, len(endpoints))
	for i, e := range endpoints {
		names[i] = e.pattern
	}
	return names
}

// login takes JSON and forms.
func login(s *Shop, w http.ResponseWriter, r *http.Request, body []byte) {
	var q struct{ Email, Password string }
	if form, err := formOf(r, body); err != nil {
		wrong(w, http.StatusBadRequest, err.Error())
		return
	} else if form != nil {
		q.Email, q.Password = form.Get("email"), form.Get("password")
	} else if err := json.Unmarshal(body, &q); err != nil {
		wrong(w, http.StatusBadRequest, err.Error())
		return
	}
	if !known(q.Email, q.Password) {
		wrong(w, http.StatusUnauthorized, "email and password are required, and must be those of a user")
		return
	}
	lifetime := time.Duration(s.truth().TokenLifetime)
	answer := object{"token": s.signer.token(q.Email, lifetime), "user": q.Email}
	if lifetime > 0 {
		answer["expiresIn"] = lifetime.Seconds()
	}
	reply(w, http.StatusOK, answer)
}

// formOf returns a body that is a form; nil if it is not.
func formOf(r *http.Request, body []byte) (url.Values, error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		return nil, nil
	}
	return url.ParseQuery(string(body))
}

func products(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	reply(w, http.StatusOK, object{"products": s.offers(catalogue[:limit(r, 20)]), "total": Products})
}

func oneProduct(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	p, ok := productOf(idOf(r))
	if !ok {
		wrong(w, http.StatusNotFound, "no such product")
		return
	}
	reply(w, http.StatusOK, s.offers([]product{p})[0])
}

func addToCart(s *Shop, w http.ResponseWriter, r *http.Request, body []byte) {
	user, ok := s.signer.user(r)
	if !ok {
		unauthorized(w)
		return
	}
	var l line
	if err := json.Unmarshal(body, &l); err != nil {
		wrong(w, http.StatusBadRequest, err.Error())
		return
	}
	if err := l.check(); err != nil {
		wrong(w, http.StatusBadRequest, err.Error())
		return
	}
	lines := s.trade.add(user, l)
	reply(w, http.StatusCreated, object{
		"productId": l.Product, "quantity": l.Quantity, "total": total([]line{l}), "items": len(lines), "cartTotal": total(lines),
	})
}

func showCart(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	if user, ok := s.signer.user(r); ok {
		lines := s.trade.cart(user)
		reply(w, http.StatusOK, object{"items": lines, "total": total(lines)})
		return
	}
	unauthorized(w)
}

func emptyCart(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	if user, ok := s.signer.user(r); ok {
		s.trade.empty(user)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	unauthorized(w)
}

// order orders what the user's cart holds, or the items that the body has in its place.
func order(s *Shop, w http.ResponseWriter, r *http.Request, body []byte) {
	user, ok := s.signer.user(r)
	if !ok {
		unauthorized(w)
		return
	}
	var q struct{ Items []line }
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &q); err != nil {
			wrong(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	for _, l := range q.Items {
		if err := l.check(); err != nil {
			wrong(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	p, err := s.trade.order(user, q.Items, s.truth())
	var out *soldOutError
	switch {
	case errors.As(err, &out):
		reply(w, http.StatusConflict, object{"error": out.Error(), "productId": out.product})
	case err != nil:
		wrong(w, http.StatusBadRequest, err.Error())
	default:
		w.Header().Set("Location", "/orders/"+strconv.Itoa(p.ID))
		s.streams.ordered(user, p.ID, p.Status)
		reply(w, http.StatusCreated, p)
	}
}

func showOrder(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	user, ok := s.signer.user(r)
	if !ok {
		unauthorized(w)
		return
	}
	p, ok := s.trade.placed(idOf(r), user)
	if !ok {
		wrong(w, http.StatusNotFound, "no such order")
		return
	}
	reply(w, http.StatusOK, p)
}

func cancelOrder(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	user, ok := s.signer.user(r)
	switch {
	case !ok:
		unauthorized(w)
	case !s.trade.cancel(idOf(r), user, s.truth()):
		wrong(w, http.StatusNotFound, "no such order")
	default:
		s.streams.ordered(user, idOf(r), "cancelled")
		w.WriteHeader(http.StatusNoContent)
	}
}

func search(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	words := strings.ToLower(r.FormValue("q"))
	found, count := find(words, limit(r, 50))
	reply(w, http.StatusOK, object{"results": s.offers(found), "count": count, "query": words})
}

// report begins a report of a number of rows, by default 2000 of them. A small one is there at once.
func report(s *Shop, w http.ResponseWriter, _ *http.Request, body []byte) {
	q := struct{ Rows int }{2000}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &q); err != nil {
			wrong(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	if q.Rows < 1 || q.Rows > soldEver {
		wrong(w, http.StatusBadRequest, fmt.Sprintf("rows: must be from 1 to %d, got %d", soldEver, q.Rows))
		return
	}
	at := s.trade.report(q.Rows)
	w.Header().Set("Location", "/reports/"+strconv.Itoa(at.id))
	if q.Rows <= smallReport {
		reply(w, http.StatusOK, at.done())
		return
	}
	reply(w, http.StatusAccepted, object{"report": at.id, "id": at.id, "state": "queued"})
}

func showReport(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	at, ok := s.trade.reported(idOf(r))
	if !ok {
		wrong(w, http.StatusNotFound, "no such report")
		return
	}
	if left := time.Until(at.ready); left > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(left/time.Second)+1))
		reply(w, http.StatusOK, object{"report": at.id, "id": at.id, "state": "pending"})
		return
	}
	reply(w, http.StatusOK, at.done())
}

// analytics adds up the shop's books by what the parameters say.
func analytics(_ *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	q, err := salesQueryOf(r)
	if err != nil {
		wrong(w, http.StatusBadRequest, err.Error())
		return
	}
	groups, revenue, sales := q.add()
	reply(w, http.StatusOK, object{"groups": groups, "count": len(groups), "revenue": revenue, "sales": sales})
}

// intensive spends a little processor time besides the latency that the knobs give it.
func intensive(_ *Shop, w http.ResponseWriter, _ *http.Request, _ []byte) {
	sum := sha256.Sum256([]byte("shop"))
	for range 2000 {
		sum = sha256.Sum256(sum[:])
	}
	reply(w, http.StatusOK, object{"result": hex.EncodeToString(sum[:])})
}

// version says which release runs, as targets with a build do.
func (s *Shop) version(w http.ResponseWriter, _ *http.Request) {
	release := s.Knobs().Release
	sum := sha256.Sum256([]byte(release))
	reply(w, http.StatusOK, object{"release": release, "git_sha": hex.EncodeToString(sum[:20])})
}

// idOf is the number in the path; 0, which is nothing's, for what is none.
func idOf(r *http.Request) int {
	n, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		return 0
	}
	return n
}

// limit is how many things a client asks for, at most 100.
func limit(r *http.Request, otherwise int) int {
	n, err := strconv.Atoi(r.FormValue("limit"))
	if err != nil || n < 1 {
		return otherwise
	}
	return min(n, 100)
}

// decode reads JSON that names only what v has.
func decode(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
