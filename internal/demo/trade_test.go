package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// An asker asks a target as one of its users; the JSON of its last answer is what it reads.
type asker struct {
	t      *testing.T
	at     http.Handler
	header http.Header
	answer *httptest.ResponseRecorder
}

// signedIn returns an asker whom the shop gave a token.
func signedIn(t *testing.T, s http.Handler, email, password string) *asker {
	t.Helper()
	a := &asker{t: t, at: s, header: http.Header{}}
	path := "/auth/login"
	if _, ok := s.(*Shop); !ok {
		path = "/api/auth/login"
	}
	if code := a.ask("POST", path, fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)); code != 200 {
		t.Fatalf("login of %s = %d %s", email, code, a.answer.Body)
	}
	var got struct{ Token string }
	a.read(&got)
	a.header.Set("Authorization", "Bearer "+got.Token)
	return a
}

// ask sends a request and returns the status of its answer.
func (a *asker) ask(method, path, body string) int {
	a.answer = httptest.NewRecorder()
	r := httptest.NewRequestWithContext(a.t.Context(), method, path, strings.NewReader(body))
	r.Header = a.header.Clone()
	a.at.ServeHTTP(a.answer, r)
	return a.answer.Code
}

func (a *asker) read(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.answer.Body.Bytes(), v); err != nil {
		a.t.Fatalf("%v in %s", err, a.answer.Body)
	}
}

// wants fails unless a request is answered with a status and a text.
func (a *asker) wants(method, path, body string, code int, says string) {
	a.t.Helper()
	if got := a.ask(method, path, body); got != code || !strings.Contains(a.answer.Body.String(), says) {
		a.t.Errorf("%s %s %s = %d %s, want %d with %q", method, path, body, got, a.answer.Body, code, says)
	}
}

type cart struct {
	Items []line
	Total float64
}

func (a *asker) cart() (c cart) {
	a.t.Helper()
	a.wants("GET", "/cart", "", 200, "items")
	a.read(&c)
	return c
}

func (a *asker) stock(product int) int {
	a.t.Helper()
	var p struct{ Stock int }
	a.wants("GET", fmt.Sprint("/products/", product), "", 200, "stock")
	a.read(&p)
	return p.Stock
}

func TestWhoSignsIn(t *testing.T) {
	s := New(Knobs{}, 1)
	for _, c := range []struct {
		email, password string
		code            int
	}{
		{"user001@example.com", "secret-001", 200},
		{"user09999@example.com", "secret-09999", 200},
		{"user001@example.com", "secret-002", 401},
		{"user001@example.com", "", 401},
		{"", "secret-001", 401},
		{"user@example.com", "anything", 200},
		{"userX1@example.com", "anything", 200},
		{"somebody@example.org", "anything", 200},
		{strings.Repeat("x", 300), "anything", 401},
	} {
		text, _ := json.Marshal(object{"email": c.email, "password": c.password})
		if code, body := call(s, "POST", "/auth/login", string(text)); code != c.code || strings.Contains(body, "token\":") != (code == 200) {
			t.Errorf("login of %.30q with %q = %d %s, want %d", c.email, c.password, code, body, c.code)
		}
	}
	a := &asker{t: t, at: s, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
	a.wants("POST", "/auth/login", "email=user001%40example.com&password=secret-001", 200, "token")
	a.wants("POST", "/auth/login", "email=user001%40example.com&password=wrong", 401, "required")
	a.wants("POST", "/auth/login", "email=%zz", 400, "invalid")
}

func TestTokensThatAreNotGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{TokenLifetime: Duration(20 * time.Second)}, 1)
		a := signedIn(t, s, "a@x", "p")
		good := a.header.Get("Authorization")
		stranger := signedIn(t, New(Knobs{}, 1), "a@x", "p").header.Get("Authorization")
		for _, token := range []string{
			"", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic " + good[7:], stranger, good + "x", good[:len(good)-1],
			strings.Replace(good, ".", "x.", 1), "Bearer ..",
		} {
			a.header.Set("Authorization", token)
			for _, r := range [][2]string{{"POST", "/cart/items"}, {"GET", "/cart"}, {"DELETE", "/cart"}, {"POST", "/orders"}, {"GET", "/orders/1"}, {"DELETE", "/orders/1"}} {
				a.wants(r[0], r[1], `{"productId":1,"quantity":1}`, 401, "token")
			}
		}
		a.header.Set("Authorization", strings.Replace(good, "Bearer", "bearer", 1))
		a.wants("GET", "/cart", "", 200, "items")
		time.Sleep(20*time.Second - 1)
		a.wants("GET", "/cart", "", 200, "items")
		time.Sleep(time.Nanosecond)
		a.wants("GET", "/cart", "", 401, "token")
		if err := s.Set(Knobs{}); err != nil {
			t.Fatal(err)
		}
		a = signedIn(t, s, "a@x", "p")
		time.Sleep(1000 * time.Hour)
		a.wants("GET", "/cart", "", 200, "items")
	})
}

func TestAPIKeys(t *testing.T) {
	for _, c := range []struct {
		told, sent string
		code       int
	}{
		{"", "", 200},
		{"", Key, 200},
		{"", "other", 401},
		{"mine", "", 401},
		{"mine", Key, 401},
		{"mine", "mine", 200},
	} {
		s := New(Knobs{}, 1)
		if c.told != "" {
			s.RequireKey(c.told)
		}
		a := &asker{t: t, at: s, header: http.Header{"X-Api-Key": {c.sent}}}
		if code := a.ask("GET", "/products", ""); code != c.code {
			t.Errorf("told %q, sent %q: %d, want %d", c.told, c.sent, code, c.code)
		}
		a.wants("GET", "/healthz", "", 200, "true")
	}
}

func TestACartFillsAndIsOrdered(t *testing.T) {
	s := New(Knobs{}, 1)
	a, b := signedIn(t, s, "a@x", "p"), signedIn(t, s, "b@x", "p")
	a.wants("GET", "/cart", "", 200, `"items":[]`)
	a.wants("POST", "/orders", "", 400, "a cart with something in it")
	a.wants("POST", "/cart/items", `{"productId":7,"quantity":2}`, 201, `"quantity":2`)
	a.wants("POST", "/cart/items", `{"productId":9,"quantity":1}`, 201, `"items":2`)
	a.wants("POST", "/cart/items", `{"productId":7,"quantity":3}`, 201, `"items":2`)
	for _, body := range []string{`{"productId":0,"quantity":2}`, `{"productId":501,"quantity":2}`, `{"productId":7,"quantity":0}`, `{"productId":7,"quantity":1001}`, `{"quantity":1}`} {
		a.wants("POST", "/cart/items", body, 400, "required")
	}
	a.wants("POST", "/cart/items", `{`, 400, "unexpected end")
	price := 5*catalogue[6].Price + catalogue[8].Price
	want := cart{[]line{{7, 5}, {9, 1}}, price}
	if diff := cmp.Diff(want, a.cart()); diff != "" {
		t.Errorf("the cart (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(cart{Items: []line{}}, b.cart()); diff != "" {
		t.Errorf("somebody else's cart (-want +got):\n%s", diff)
	}

	a.wants("POST", "/orders", "", 201, `"status":"placed"`)
	var p placed
	a.read(&p)
	if diff := cmp.Diff([]line{{7, 5}, {9, 1}}, p.Items); diff != "" || p.ID == 0 || p.Total != price {
		t.Errorf("the order is %+v, want the cart's lines and %v (-want +got):\n%s", p, price, diff)
	}
	if seven, nine, ten := a.stock(7), a.stock(9), a.stock(10); seven != plenty-5 || nine != plenty-1 || ten != plenty {
		t.Errorf("after the order %d, %d and %d are left, want 5, 1 and 0 less than %d", seven, nine, ten, plenty)
	}
	if diff := cmp.Diff(cart{Items: []line{}}, a.cart()); diff != "" {
		t.Errorf("the cart after the order (-want +got):\n%s", diff)
	}
	location := a.ordered(p)
	a.wants("GET", location, "", 200, fmt.Sprintf(`"orderId":%d`, p.ID))
	b.wants("GET", location, "", 404, "no such order")
	a.wants("GET", "/orders/999", "", 404, "no such order")
	a.wants("GET", "/orders/first", "", 404, "no such order")

	b.wants("POST", "/orders", `{"items":[{"productId":10,"quantity":4}]}`, 201, `"orderId":`)
	b.wants("POST", "/orders", `{"items":[{"productId":10,"quantity":-4}]}`, 400, "required")
	b.wants("POST", "/orders", `{"items":7}`, 400, "cannot unmarshal")
	if ten := b.stock(10); ten != plenty-4 {
		t.Errorf("%d are left, want %d", ten, plenty-4)
	}
	b.wants("DELETE", location, "", 404, "no such order")
	a.wants("DELETE", location, "", 204, "")
	a.wants("GET", location, "", 404, "no such order")
	if seven := a.stock(7); seven != plenty {
		t.Errorf("after the order was cancelled %d are left, want %d", seven, plenty)
	}
	a.wants("POST", "/cart/items", `{"productId":7,"quantity":2}`, 201, "")
	a.wants("DELETE", "/cart", "", 204, "")
	if diff := cmp.Diff(cart{Items: []line{}}, a.cart()); diff != "" {
		t.Errorf("the cart that was emptied (-want +got):\n%s", diff)
	}
}

// ordered returns where an order is.
func (a *asker) ordered(p placed) string { return fmt.Sprint("/orders/", p.ID) }

func TestStockRunsOutAndIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{Stock: 5, RestockEvery: Duration(20 * time.Minute)}, 1)
		a := signedIn(t, s, "a@x", "p")
		order := func(code int, says string, lines ...line) {
			t.Helper()
			text, _ := json.Marshal(object{"items": lines})
			a.wants("POST", "/orders", string(text), code, says)
		}
		order(201, "orderId", line{1, 3}, line{2, 5})
		order(409, `"productId":2`, line{1, 1}, line{2, 1})
		order(409, `"productId":3`, line{3, 3}, line{3, 3}) // one product twice
		if got := [3]int{a.stock(1), a.stock(2), a.stock(3)}; got != [3]int{2, 0, 5} {
			t.Errorf("%v are left, want 2, 0 and 5: an order that is refused takes nothing", got)
		}
		a.wants("POST", "/cart/items", `{"productId":2,"quantity":1}`, 201, "")
		a.wants("POST", "/orders", "", 409, "too little is left of product 2")
		if diff := cmp.Diff([]line{{2, 1}}, a.cart().Items); diff != "" {
			t.Errorf("the cart whose order was refused (-want +got):\n%s", diff)
		}
		time.Sleep(20*time.Minute - 1)
		if got := a.stock(2); got != 0 {
			t.Errorf("%d are left before the delivery, want 0", got)
		}
		time.Sleep(time.Nanosecond)
		a.wants("POST", "/orders", "", 201, "orderId")
		time.Sleep(1000*time.Hour - time.Minute)
		if got := a.stock(1); got != 5 {
			t.Errorf("%d are left after many deliveries, want 5", got)
		}
		order(201, "orderId", line{1, 5})
		time.Sleep(time.Minute) // deliveries keep their phase
		if got := a.stock(1); got != 5 {
			t.Errorf("%d are left after the next delivery, want 5", got)
		}
		if err := s.Set(Knobs{Stock: 8}); err != nil {
			t.Fatal(err)
		}
		if got := a.stock(1); got != 8 {
			t.Errorf("%d are left when the knob says 8", got)
		}
	})
}

// What is not sold is in the stock and what is not in the stock was sold, whoever asks at once.
func TestOrdersAtOnce(t *testing.T) {
	s := New(Knobs{Stock: 100, RestockEvery: Duration(time.Hour)}, 1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			a := signedIn(t, s, fmt.Sprintf("u%d@x", i%4), "p")
			for n := range 50 {
				a.ask("POST", "/cart/items", `{"productId":1,"quantity":1}`)
				a.ask("GET", "/cart", "")
				a.ask("POST", "/orders", `{"items":[{"productId":2,"quantity":1}]}`)
				a.ask("POST", "/reports/generate", "")
				a.ask("GET", fmt.Sprint("/reports/", n), "")
				a.ask("GET", "/products", "")
			}
		})
	}
	wg.Wait()
	a := signedIn(t, s, "u@x", "p")
	sold := s.Counts()["POST /orders"]
	if diff := cmp.Diff(map[int]int{201: 100, 409: 300}, sold); diff != "" || a.stock(2) != 0 {
		t.Errorf("%d are left; orders (-want +got):\n%s", a.stock(2), diff)
	}
	for i := range 4 {
		if diff := cmp.Diff([]line{{1, 100}}, signedIn(t, s, fmt.Sprintf("u%d@x", i), "p").cart().Items); diff != "" {
			t.Errorf("the cart of two who add 50 each (-want +got):\n%s", diff)
		}
	}
}

func TestReportsTakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{}, 1)
		a := &asker{t: t, at: s}
		for _, c := range []struct {
			body string
			code int
			took time.Duration
		}{
			{"", 202, 2 * time.Second},
			{"{}", 202, 2 * time.Second},
			{`{"rows":101}`, 202, 101 * time.Millisecond},
			{`{"rows":30000}`, 202, 30 * time.Second},
			{`{"rows":100}`, 200, 0},
			{`{"rows":1}`, 200, 0},
			{`{"rows":0}`, 400, 0},
			{`{"rows":50001}`, 400, 0},
			{`rows`, 400, 0},
		} {
			if code := a.ask("POST", "/reports/generate", c.body); code != c.code {
				t.Fatalf("report %s = %d %s, want %d", c.body, code, a.answer.Body, c.code)
			}
			location := a.answer.Header().Get("Location")
			switch c.code {
			case 400:
				continue
			case 200:
				if !strings.Contains(a.answer.Body.String(), `"done"`) {
					t.Errorf("report %s is %s, want it to be done", c.body, a.answer.Body)
				}
			default:
				a.wants("GET", location, "", 200, `"pending"`)
				if a.answer.Header().Get("Retry-After") == "" {
					t.Errorf("report %s: no Retry-After", c.body)
				}
				time.Sleep(c.took - 1)
				a.wants("GET", location, "", 200, `"pending"`)
				time.Sleep(time.Nanosecond)
			}
			a.wants("GET", location, "", 200, `"done"`)
			var got struct {
				Rows    int
				Revenue float64
				Groups  []salesGroup
			}
			a.read(&got)
			if got.Rows == 0 || got.Revenue == 0 || len(got.Groups) == 0 {
				t.Errorf("report %s says %s", c.body, a.answer.Body)
			}
			time.Sleep(paperLife)
			a.wants("GET", location, "", 404, "no such report")
		}
		a.wants("GET", "/reports/999", "", 404, "no such report")
		a.wants("GET", "/reports/x", "", 404, "no such report")
	})
}

// Months of use take no more memory than an hour does.
func TestWhatUsersDoIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrade()
		for i := range 3 * mostCarts {
			tr.add(fmt.Sprint("user", i), line{1 + i%Products, 1})
		}
		for i := range 3 * mostPapers {
			if _, err := tr.order("user", []line{{1 + i%Products, 1}}, Knobs{}); err != nil {
				t.Fatal(err)
			}
			tr.report(200)
		}
		if len(tr.carts.entries) != mostCarts || len(tr.orders.entries) != mostPapers || len(tr.reports.entries) != mostPapers {
			t.Errorf("%d carts, %d orders and %d reports are kept, want %d and twice %d",
				len(tr.carts.entries), len(tr.orders.entries), len(tr.reports.entries), mostCarts, mostPapers)
		}
		for i := range 3 * mostLines {
			tr.add("one", line{1 + i, 1})
		}
		lines := tr.cart("one")
		if len(lines) != mostLines || lines[mostLines-1].Product != 3*mostLines {
			t.Errorf("a cart to which %d products were added has %d, want the last %d", 3*mostLines, len(lines), mostLines)
		}
		for range 2000 {
			tr.add("many", line{5, mostOfOne})
		}
		if got := tr.cart("many"); len(got) != 1 || got[0].Quantity != mostOfOne {
			t.Errorf("a cart with much of one product has %v, want %d of it", got, mostOfOne)
		}
		time.Sleep(cartLife - 1)
		if got := tr.cart("one"); len(got) != mostLines {
			t.Errorf("a cart is forgotten before its time")
		}
		time.Sleep(time.Nanosecond)
		if got := tr.cart("one"); len(got) != 0 || len(tr.carts.entries) != 0 {
			t.Errorf("%d carts are kept after their time", len(tr.carts.entries))
		}
		if _, ok := tr.reported(tr.ids); ok || len(tr.reports.entries) != 0 {
			t.Errorf("%d reports are kept after their time", len(tr.reports.entries))
		}
		if _, ok := tr.placed(tr.ids-1, "user"); ok || len(tr.orders.entries) != 0 {
			t.Errorf("%d orders are kept after their time", len(tr.orders.entries))
		}
	})
}

func TestSearchFinds(t *testing.T) {
	s := New(Knobs{}, 1)
	a := &asker{t: t, at: s}
	for _, c := range []struct {
		query        string
		count, shown int
	}{
		{"q=lamp&limit=50", 56, 50},
		{"q=lamp&limit=5", 56, 5},
		{"q=BLUE+Lamp", 7, 7},
		{"q=lamp+blue", 7, 7},
		{"q=500", 1, 1},
		{"q=submarine", 0, 0},
		{"q=blue+submarine", 0, 0},
		{"limit=100", Products, 100},
	} {
		a.wants("GET", "/search?"+c.query, "", 200, `"results":[`)
		var got struct {
			Results []offer
			Count   int
		}
		a.read(&got)
		if got.Count != c.count || len(got.Results) != c.shown {
			t.Errorf("search %s counts %d and shows %d, want %d and %d", c.query, got.Count, len(got.Results), c.count, c.shown)
		}
	}
}

func TestAnalyticsAddUp(t *testing.T) {
	s := New(Knobs{}, 1)
	a := &asker{t: t, at: s}
	type answer struct {
		Groups       []salesGroup
		Count, Sales int
		Revenue      float64
	}
	for _, c := range []struct {
		query  string
		groups int
	}{
		{"", 9},
		{"group_by=category&metric=units&days=90", 9},
		{"group_by=month&limit=100", 13},
		{"group_by=price&metric=average&limit=100", 4},
		{"group_by=product&metric=sales&limit=100&min_price=50&category=lamp", 29},
		{"group_by=product&category=submarine", 0},
	} {
		a.wants("GET", "/analytics/sales?"+c.query, "", 200, `"groups":[`)
		var got answer
		a.read(&got)
		var revenue, share float64
		sales := 0
		for _, g := range got.Groups {
			revenue, share, sales = revenue+g.Revenue, share+g.Share, sales+g.Sales
		}
		if len(got.Groups) != c.groups || got.Count != c.groups || sales != got.Sales ||
			c.groups > 0 && (revenue < 0.999*got.Revenue || revenue > 1.001*got.Revenue || share < 0.999 || share > 1.001) {
			t.Errorf("%s: %d groups, %d of %d sales, %.2f of %.2f; want %d groups with all of it", c.query, len(got.Groups), sales, got.Sales, revenue, got.Revenue, c.groups)
		}
	}
	a.wants("GET", "/analytics/sales?limit=1", "", 200, `"count":1`)
	a.wants("GET", "/analytics/sales?group_by=colour&metric=joy&days=0&min_price=much", "", 400, "group_by: must be")
	for _, says := range []string{"metric: must be", "days: must be from 1 to 365", "min_price: must be a number"} {
		if !strings.Contains(a.answer.Body.String(), says) {
			t.Errorf("%s does not say %q", a.answer.Body, says)
		}
	}
}
