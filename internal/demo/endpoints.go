package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
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
	{"POST /orders", order},
	{"GET /search", search},
	{"POST /reports/generate", report},
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

// login gives everybody a token, always the same one to the same user. No
// endpoint asks for it: the shop's faults are its knobs and nothing else.
func login(_ *Shop, w http.ResponseWriter, _ *http.Request, body []byte) {
	var q struct{ Email, Password string }
	if err := json.Unmarshal(body, &q); err != nil {
		wrong(w, http.StatusBadRequest, err.Error())
		return
	}
	if q.Email == "" || q.Password == "" {
		wrong(w, http.StatusUnauthorized, "email and password are required")
		return
	}
	sum := sha256.Sum256([]byte(q.Email))
	reply(w, http.StatusOK, object{"token": hex.EncodeToString(sum[:12]), "user": q.Email})
}

func products(_ *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	reply(w, http.StatusOK, object{"products": catalogue[:limit(r, 20)], "total": Products})
}

func oneProduct(_ *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	id, _ := strconv.Atoi(r.PathValue("id")) // no number is the product 0, which is not sold
	p, ok := productOf(id)
	if !ok {
		wrong(w, http.StatusNotFound, "no such product")
		return
	}
	reply(w, http.StatusOK, p)
}

func addToCart(_ *Shop, w http.ResponseWriter, _ *http.Request, body []byte) {
	var q struct {
		ProductID int `json:"productId"`
		Quantity  int `json:"quantity"`
	}
	if err := json.Unmarshal(body, &q); err != nil {
		wrong(w, http.StatusBadRequest, err.Error())
		return
	}
	p, ok := productOf(q.ProductID)
	if !ok || q.Quantity < 1 {
		wrong(w, http.StatusBadRequest, "a productId that is sold and a quantity of at least 1 are required")
		return
	}
	reply(w, http.StatusCreated, object{"productId": p.ID, "quantity": q.Quantity, "total": p.Price * float64(q.Quantity)})
}

func order(s *Shop, w http.ResponseWriter, _ *http.Request, _ []byte) {
	reply(w, http.StatusCreated, object{"orderId": s.orders.Add(1)})
}

func search(_ *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	words := strings.ToLower(r.FormValue("q"))
	reply(w, http.StatusOK, object{"results": find(words, limit(r, 50)), "query": words})
}

func report(s *Shop, w http.ResponseWriter, _ *http.Request, _ []byte) {
	reply(w, http.StatusAccepted, object{"report": s.orders.Add(1), "state": "queued"})
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
