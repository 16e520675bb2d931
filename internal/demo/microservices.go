package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// A text is a string in JSON, or a number that is taken for one: identifiers come in both.
type text string

// longestText bounds what others make a service remember.
const longestText = 254

// UnmarshalJSON reads it.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return errors.New("a string or a number is required")
	}
	*t = text(n)
	return nil
}

// good reports whether it identifies something, in a path too.
func (t text) good() bool { return t != "" && t != "." && t != ".." && len(t) <= longestText }

// number is the whole number that a text stands for; 0, which is no product's, for none.
func (t text) number() int {
	n, err := strconv.Atoi(string(t))
	if err != nil {
		return 0
	}
	return n
}

// An item is a line as clients send it.
type item struct {
	Product  text    `json:"productId"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
}

// linesOf returns the lines that items stand for, and what is wrong with them.
func linesOf(items []item) ([]line, error) {
	if len(items) == 0 || len(items) > mostLines {
		return nil, fmt.Errorf("from 1 to %d items are required", mostLines)
	}
	lines := make([]line, len(items))
	for i, it := range items {
		lines[i] = line{it.Product.number(), it.Quantity}
		if err := lines[i].check(); err != nil {
			return nil, fmt.Errorf("items[%d]: %w", i, err)
		}
	}
	return lines, nil
}

// users is the user service: who somebody is.
func users(s *Service) []route {
	type account struct {
		Email      string    `json:"email"`
		CustomerID string    `json:"customerId"`
		SignIns    int       `json:"signIns"`
		LastSignIn time.Time `json:"lastSignIn"`
	}
	signer := newSigner()
	var mu sync.Mutex
	accounts := newExpiring[string, account](cartLife, mostCarts)
	return []route{
		{pattern: "POST /api/auth/login", serve: func(w http.ResponseWriter, _ *http.Request, body []byte) {
			var q struct{ Email, Password string }
			if err := json.Unmarshal(body, &q); err != nil {
				wrong(w, http.StatusBadRequest, err.Error())
				return
			}
			if !known(q.Email, q.Password) {
				wrong(w, http.StatusUnauthorized, "email and password are required, and must be those of a user")
				return
			}
			mu.Lock()
			now := time.Now()
			a, _ := accounts.get(q.Email, now)
			a.Email, a.CustomerID, a.LastSignIn = q.Email, customerOf(q.Email), now
			a.SignIns++
			accounts.put(q.Email, a, now)
			mu.Unlock()
			lifetime := time.Duration(s.truth().TokenLifetime)
			answer := object{"token": signer.token(q.Email, lifetime), "customerId": a.CustomerID}
			if lifetime > 0 {
				answer["expiresIn"] = lifetime.Seconds()
			}
			reply(w, http.StatusOK, answer)
		}},
		{pattern: "GET /api/users/profile", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			email, ok := signer.user(r)
			if !ok {
				unauthorized(w)
				return
			}
			mu.Lock()
			a, ok := accounts.get(email, time.Now())
			mu.Unlock()
			if !ok { // it signed in long ago
				a = account{Email: email, CustomerID: customerOf(email)}
			}
			reply(w, http.StatusOK, a)
		}},
	}
}

// customerOf is the customer that a user is.
func customerOf(email string) string {
	name, _, _ := strings.Cut(email, "@")
	return "customer-" + name
}

// catalog is the catalog service: what is sold.
func catalog(*Service) []route {
	return []route{
		{pattern: "GET /api/products", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			found, count := find(r.FormValue("q"), limit(r, 20))
			if found == nil {
				found = []product{}
			}
			reply(w, http.StatusOK, object{"products": found, "total": count})
		}},
		{pattern: "GET /api/products/{id}", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			p, ok := productOf(idOf(r))
			if !ok {
				wrong(w, http.StatusNotFound, "no such product")
				return
			}
			reply(w, http.StatusOK, p)
		}},
	}
}

// inventory is the inventory service: how much there is, and what of it is reserved for whom.
func inventory(s *Service) []route {
	var stock stock
	var mu sync.Mutex
	reserved := newExpiring[string, []line](paperLife, mostPapers) // by order
	return []route{
		{pattern: "GET /api/inventory/{id}", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			p, ok := productOf(idOf(r))
			if !ok {
				wrong(w, http.StatusNotFound, "no such product")
				return
			}
			var quantity int
			stock.look(s.truth(), time.Now(), func(left *[Products]int) { quantity = left[p.ID-1] })
			reply(w, http.StatusOK, object{"productId": p.ID, "quantity": quantity, "available": quantity > 0})
		}},
		{pattern: "POST /api/inventory/reservations", serve: func(w http.ResponseWriter, _ *http.Request, body []byte) {
			var q struct {
				OrderID text
				Items   []item
			}
			err := json.Unmarshal(body, &q)
			if err == nil && !q.OrderID.good() {
				err = errors.New("an orderId is required")
			}
			var lines []line
			if err == nil {
				lines, err = linesOf(q.Items)
			}
			if err != nil {
				wrong(w, http.StatusBadRequest, err.Error())
				return
			}
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			if _, ok := reserved.get(string(q.OrderID), now); ok {
				wrong(w, http.StatusConflict, "the order has its reservation")
				return
			}
			if short := stock.take(lines, s.truth(), now); short > 0 {
				reply(w, http.StatusConflict, object{"error": (&soldOutError{short}).Error(), "productId": short})
				return
			}
			reserved.put(string(q.OrderID), lines, now)
			reply(w, http.StatusCreated, object{"orderId": q.OrderID, "reserved": len(lines)})
		}},
		{pattern: "DELETE /api/inventory/reservations/{order}", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			lines, ok := reserved.get(r.PathValue("order"), now)
			if !ok {
				wrong(w, http.StatusNotFound, "no such reservation")
				return
			}
			reserved.delete(r.PathValue("order"))
			stock.put(lines, s.truth(), now)
			w.WriteHeader(http.StatusNoContent)
		}},
	}
}

// carts is the cart service. It asks the user service whose cart it is, and the catalog what things cost.
func carts(s *Service) []route {
	kept := newTrade()
	// owner answers in place of the route unless the user is known.
	owner := func(w http.ResponseWriter, r *http.Request) (customer string, ok bool) {
		var u struct{ CustomerID string }
		code, err := s.call(r.Context(), peerCall{
			to: "user", method: http.MethodGet, route: "/api/users/profile",
			header: http.Header{"Authorization": r.Header.Values("Authorization")}, answer: &u,
		})
		switch {
		case err == nil && code == http.StatusOK:
			return u.CustomerID, true
		case err == nil && code == http.StatusUnauthorized:
			unauthorized(w)
		default:
			failedCall(w, r, "user", code, err)
		}
		return "", false
	}
	return []route{
		{pattern: "POST /api/cart/items", serve: func(w http.ResponseWriter, r *http.Request, body []byte) {
			customer, ok := owner(w, r)
			if !ok {
				return
			}
			var it item
			err := json.Unmarshal(body, &it)
			l := line{it.Product.number(), it.Quantity}
			if err == nil {
				err = l.check()
			}
			if err != nil {
				wrong(w, http.StatusBadRequest, err.Error())
				return
			}
			var p product
			code, err := s.call(r.Context(), peerCall{to: "catalog", method: http.MethodGet, route: "/api/products/{id}", path: fmt.Sprint("/api/products/", l.Product), answer: &p})
			if err != nil || code != http.StatusOK {
				failedCall(w, r, "catalog", code, err)
				return
			}
			lines := kept.add(customer, l)
			reply(w, http.StatusCreated, object{
				"productId": l.Product, "quantity": l.Quantity, "price": p.Price, "total": p.Price * float64(l.Quantity), "items": len(lines), "cartTotal": total(lines),
			})
		}},
		{pattern: "GET /api/cart", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			if customer, ok := owner(w, r); ok {
				lines := kept.cart(customer)
				reply(w, http.StatusOK, object{"customerId": customer, "items": lines, "total": total(lines)})
			}
		}},
		{pattern: "DELETE /api/cart", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			if customer, ok := owner(w, r); ok {
				kept.empty(customer)
				w.WriteHeader(http.StatusNoContent)
			}
		}},
	}
}

// An order of the order service.
type customerOrder struct {
	ID        string  `json:"orderId"`
	Customer  text    `json:"customerId"`
	Status    string  `json:"status"` // pending or paid
	Items     []line  `json:"items"`
	Total     float64 `json:"total"`
	PaymentID string  `json:"paymentId,omitempty"`
}

// notifyTimeout is well below callTimeout: whoever marks an order paid waits for that.
const notifyTimeout = time.Second

// orders is the order service. An order reserves its items in the inventory, and its customer is notified once it is paid.
func orders(s *Service) []route {
	var mu sync.Mutex
	kept := newExpiring[string, customerOrder](paperLife, mostPapers)
	last := 0
	get := func(id string) (customerOrder, bool) {
		mu.Lock()
		defer mu.Unlock()
		return kept.get(id, time.Now())
	}
	return []route{
		{pattern: "POST /api/orders", serve: func(w http.ResponseWriter, r *http.Request, body []byte) {
			var q struct {
				CustomerID text
				Items      []item
			}
			err := json.Unmarshal(body, &q)
			if err == nil && !q.CustomerID.good() {
				err = errors.New("a customerId is required")
			}
			var lines []line
			if err == nil {
				lines, err = linesOf(q.Items)
			}
			o := customerOrder{Customer: q.CustomerID, Status: "pending", Items: lines}
			for i, it := range q.Items {
				if it.Price < 0 && err == nil {
					err = fmt.Errorf("items[%d]: a price must not be negative, got %v", i, it.Price)
				}
				o.Total += it.Price * float64(it.Quantity)
			}
			if err != nil {
				wrong(w, http.StatusBadRequest, err.Error())
				return
			}
			mu.Lock()
			last++
			o.ID = "order-" + strconv.Itoa(last)
			mu.Unlock()
			code, err := s.call(r.Context(), peerCall{
				to: "inventory", method: http.MethodPost, route: "/api/inventory/reservations", body: object{"orderId": o.ID, "items": lines},
			})
			switch {
			case err == nil && code == http.StatusCreated:
			case err == nil && code == http.StatusConflict:
				wrong(w, http.StatusConflict, "the inventory does not have the items")
				return
			default:
				failedCall(w, r, "inventory", code, err)
				return
			}
			mu.Lock()
			kept.put(o.ID, o, time.Now())
			mu.Unlock()
			w.Header().Set("Location", "/api/orders/"+o.ID)
			reply(w, http.StatusCreated, o)
		}},
		{pattern: "GET /api/orders/{id}", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			o, ok := get(r.PathValue("id"))
			if !ok {
				wrong(w, http.StatusNotFound, "no such order")
				return
			}
			reply(w, http.StatusOK, o)
		}},
		{pattern: "DELETE /api/orders/{id}", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			o, ok := get(r.PathValue("id"))
			if !ok {
				wrong(w, http.StatusNotFound, "no such order")
				return
			}
			code, err := s.call(r.Context(), peerCall{
				to: "inventory", method: http.MethodDelete, route: "/api/inventory/reservations/{order}", path: "/api/inventory/reservations/" + o.ID,
			})
			if err != nil || code != http.StatusNoContent && code != http.StatusNotFound {
				failedCall(w, r, "inventory", code, err)
				return
			}
			mu.Lock()
			kept.delete(o.ID)
			mu.Unlock()
			w.WriteHeader(http.StatusNoContent)
		}},
		{pattern: "PUT /api/orders/{id}/payment", serve: func(w http.ResponseWriter, r *http.Request, body []byte) {
			var q struct{ PaymentID string }
			if err := json.Unmarshal(body, &q); err != nil || !text(q.PaymentID).good() {
				wrong(w, http.StatusBadRequest, "a paymentId is required")
				return
			}
			mu.Lock()
			o, ok := kept.get(r.PathValue("id"), time.Now())
			paid := o.Status == "paid"
			if ok && !paid {
				o.Status, o.PaymentID = "paid", q.PaymentID
				kept.put(o.ID, o, time.Now())
			}
			mu.Unlock()
			if !ok {
				wrong(w, http.StatusNotFound, "no such order")
				return
			}
			if paid {
				wrong(w, http.StatusConflict, "the order is paid")
				return
			}
			// The order is paid whether or not its customer hears of it.
			code, err := s.call(r.Context(), peerCall{
				to: "notification", method: http.MethodPost, route: "/api/notifications", limit: notifyTimeout,
				body: object{"customerId": o.Customer, "type": "order_paid", "message": "order " + o.ID + " is paid"},
			})
			reply(w, http.StatusOK, object{"orderId": o.ID, "status": o.Status, "notified": err == nil && code == http.StatusCreated})
		}},
	}
}

// bankTimeout bounds what a payment waits for the bank.
const bankTimeout = 5 * time.Second

var errBank = errors.New("the bank failed, as the knobs say")

// payments is the payment service. The knobs of its payments are those of the bank behind it: what is slow, hangs
// or fails is the bank, and a circuit breaker stands in front of it. A payment marks its order paid.
func payments(s *Service) []route {
	const pay = "POST /api/payments"
	type payment struct {
		ID       string  `json:"paymentId"`
		Order    text    `json:"orderId"`
		Amount   float64 `json:"amount"`
		Currency string  `json:"currency"`
		Status   string  `json:"status"`      // captured
		OfOrder  string  `json:"orderStatus"` // paid, or unknown to the order service
	}
	bank := newBreaker("bank", s.own)
	failures := s.failures.WithLabelValues(pay)
	var mu sync.Mutex
	kept := newExpiring[string, payment](paperLife, mostPapers)
	last := 0
	// charge asks the bank.
	charge := func(ctx context.Context) error {
		ctx, span := s.tracer.Start(ctx, "charge", trace.WithSpanKind(trace.SpanKindClient))
		defer span.End()
		limited, cancel := context.WithTimeout(ctx, bankTimeout)
		defer cancel()
		f := s.draw(pay)
		var err error
		switch {
		case !f.pass(limited):
			err = limited.Err()
		case f.failed:
			failures.Inc()
			err = errBank
		}
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		return err
	}
	return []route{
		{pattern: pay, own: true, serve: func(w http.ResponseWriter, r *http.Request, body []byte) {
			var q struct {
				OrderID       text
				Amount        float64
				Currency      string
				PaymentMethod string
			}
			err := json.Unmarshal(body, &q)
			if err == nil && (!q.OrderID.good() || q.Amount <= 0 || len(q.Currency) != 3 || q.PaymentMethod == "") {
				err = errors.New("orderId, an amount above 0, a currency of three letters and a paymentMethod are required")
			}
			if err != nil {
				wrong(w, http.StatusBadRequest, err.Error())
				return
			}
			rejected, err := bank.try(func() error { return charge(r.Context()) })
			switch {
			case err == nil:
			case rejected:
				w.Header().Set("X-Circuit-Breaker", "open")
				w.Header().Set("Retry-After", strconv.Itoa(int(breakerPause/time.Second)))
				wrong(w, http.StatusServiceUnavailable, "the bank is given time to recover")
				return
			case r.Context().Err() != nil: // the client left
				return
			case errors.Is(err, context.DeadlineExceeded):
				wrong(w, http.StatusGatewayTimeout, "the bank did not answer in time")
				return
			default:
				wrong(w, http.StatusBadGateway, err.Error())
				return
			}
			mu.Lock()
			last++
			p := payment{ID: "payment-" + strconv.Itoa(last), Order: q.OrderID, Amount: q.Amount, Currency: q.Currency, Status: "captured", OfOrder: "paid"}
			mu.Unlock()
			code, err := s.call(r.Context(), peerCall{
				to: "order", method: http.MethodPut, route: "/api/orders/{id}/payment",
				path: "/api/orders/" + url.PathEscape(string(q.OrderID)) + "/payment", body: object{"paymentId": p.ID},
			})
			switch {
			case err == nil && code == http.StatusOK:
			case err == nil && code == http.StatusNotFound:
				p.OfOrder = "unknown" // orders may be of another system
			case err == nil && code == http.StatusConflict:
				wrong(w, http.StatusConflict, "the order is paid")
				return
			default:
				failedCall(w, r, "order", code, err)
				return
			}
			mu.Lock()
			kept.put(p.ID, p, time.Now())
			mu.Unlock()
			reply(w, http.StatusOK, p)
		}},
		{pattern: "GET /api/payments/{id}", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			mu.Lock()
			p, ok := kept.get(r.PathValue("id"), time.Now())
			mu.Unlock()
			if !ok {
				wrong(w, http.StatusNotFound, "no such payment")
				return
			}
			reply(w, http.StatusOK, p)
		}},
	}
}

// notifications is the notification service.
func notifications(*Service) []route {
	type notification struct {
		ID       string `json:"notificationId"`
		Customer text   `json:"customerId,omitempty"`
		Type     text   `json:"type,omitempty"`
		Message  text   `json:"message,omitempty"`
		Status   string `json:"status"`
	}
	var mu sync.Mutex
	kept := newExpiring[string, notification](paperLife, mostPapers)
	last := 0
	return []route{
		{pattern: "POST /api/notifications", serve: func(w http.ResponseWriter, _ *http.Request, body []byte) {
			var n notification
			if err := json.Unmarshal(body, &n); err != nil || bytes.Equal(bytes.TrimSpace(body), []byte("null")) {
				wrong(w, http.StatusBadRequest, "a JSON object is required, with customerId, type and message as text")
				return
			}
			if max(len(n.Customer), len(n.Type), len(n.Message)) > longestText {
				wrong(w, http.StatusBadRequest, fmt.Sprintf("customerId, type and message must have at most %d bytes", longestText))
				return
			}
			n.Status = "sent"
			mu.Lock()
			last++
			n.ID = "notification-" + strconv.Itoa(last)
			kept.put(n.ID, n, time.Now())
			mu.Unlock()
			reply(w, http.StatusCreated, n)
		}},
		{pattern: "GET /api/notifications/{id}", serve: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			mu.Lock()
			n, ok := kept.get(r.PathValue("id"), time.Now())
			mu.Unlock()
			if !ok {
				wrong(w, http.StatusNotFound, "no such notification")
				return
			}
			reply(w, http.StatusOK, n)
		}},
	}
}
