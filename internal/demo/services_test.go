package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// inProcess lets services reach each other without sockets, in the time of a bubble.
type inProcess map[string]*Service

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p[r.URL.Hostname()].ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// bubbled returns services for a bubble.
func bubbled() inProcess {
	p, urls := inProcess{}, map[string]string{}
	for _, name := range ServiceNames {
		urls[name] = "http://" + name
	}
	maps.Copy(p, newServices(ServicesOptions{Seed: 1}, peers{urls: urls, client: &http.Client{Transport: p}}))
	return p
}

// turn changes the knobs of a service.
func (p inProcess) turn(t *testing.T, name string, f func(*Knobs)) {
	t.Helper()
	if err := p[name].change(func(k *Knobs) error { f(k); return nil }); err != nil {
		t.Fatal(err)
	}
}

const goodPayment = `{"orderId":"%s","amount":12.5,"currency":"EUR","paymentMethod":"card"}`

func (p inProcess) pay(order string) (int, http.Header) {
	w := httptest.NewRecorder()
	p["payment"].ServeHTTP(w, httptest.NewRequest("POST", "/api/payments", strings.NewReader(fmt.Sprintf(goodPayment, order))))
	return w.Code, w.Header()
}

func (p inProcess) asker(t *testing.T, name string) *asker {
	return &asker{t: t, at: p[name], header: http.Header{}}
}

// The whole of a purchase, over real sockets: what one service was told the others know.
func TestAPurchase(t *testing.T) {
	t.Parallel()
	s, err := NewServices(ServicesOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	token := ""
	do := func(service, method, path, body string, code int, into any) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL(service)+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != code {
			t.Fatalf("%s: %s %s = %d %s, want %d", service, method, path, resp.StatusCode, text, code)
		}
		if into != nil {
			if err := json.Unmarshal(text, into); err != nil {
				t.Fatalf("%v in %s", err, text)
			}
		}
	}
	quantity := func(product int) int {
		t.Helper()
		var got struct{ Quantity *int }
		if do("inventory", "GET", fmt.Sprint("/api/inventory/", product), "", 200, &got); got.Quantity == nil {
			t.Fatal("no quantity")
		}
		return *got.Quantity
	}
	const buyers = 3
	for i := range buyers {
		token = ""
		var user struct{ Token, CustomerID string }
		do("user", "POST", "/api/auth/login", fmt.Sprintf(`{"email":"user%03d@example.com","password":"secret-%03[1]d"}`, i+1), 200, &user)
		token = user.Token
		var profile struct {
			CustomerID string
			SignIns    int
		}
		if do("user", "GET", "/api/users/profile", "", 200, &profile); profile.CustomerID != user.CustomerID || profile.SignIns != 1 {
			t.Errorf("the profile is %+v, want that of %s who signed in once", profile, user.CustomerID)
		}
		var list struct{ Products []product }
		if do("catalog", "GET", "/api/products?limit=20", "", 200, &list); len(list.Products) != 20 {
			t.Errorf("%d products, want 20", len(list.Products))
		}
		p := list.Products[i]
		do("catalog", "GET", fmt.Sprint("/api/products/", p.ID), "", 200, nil)
		do("cart", "POST", "/api/cart/items", fmt.Sprintf(`{"productId":%d,"quantity":2}`, p.ID), 201, nil)
		var c cart
		if do("cart", "GET", "/api/cart", "", 200, &c); len(c.Items) != 1 || c.Items[0] != (line{p.ID, 2}) || c.Total != 2*p.Price {
			t.Errorf("the cart is %+v, want two of %+v", c, p)
		}
		before := quantity(p.ID)
		var o customerOrder
		do("order", "POST", "/api/orders", fmt.Sprintf(`{"customerId":%q,"items":[{"productId":"%d","quantity":2,"price":%v}]}`, user.CustomerID, p.ID, p.Price), 201, &o)
		if o.ID == "" || o.Status != "pending" || o.Total != 2*p.Price {
			t.Errorf("the order is %+v", o)
		}
		if got := quantity(p.ID); got != before-2 {
			t.Errorf("%d are left after the order, want %d", got, before-2)
		}
		var paid struct{ PaymentID, OrderStatus string }
		do("payment", "POST", "/api/payments", fmt.Sprintf(`{"orderId":%q,"amount":%v,"currency":"EUR","paymentMethod":"card"}`, o.ID, o.Total), 200, &paid)
		if paid.OrderStatus != "paid" {
			t.Errorf("the payment is %+v, want its order to be paid", paid)
		}
		do("payment", "GET", "/api/payments/"+paid.PaymentID, "", 200, nil)
		do("payment", "POST", "/api/payments", fmt.Sprintf(`{"orderId":%q,"amount":%v,"currency":"EUR","paymentMethod":"card"}`, o.ID, o.Total), 409, nil)
		if do("order", "GET", "/api/orders/"+o.ID, "", 200, &o); o.Status != "paid" || o.PaymentID != paid.PaymentID {
			t.Errorf("the order is %+v, want it paid with %s", o, paid.PaymentID)
		}
		var n struct{ CustomerID, Message string }
		if do("notification", "GET", fmt.Sprint("/api/notifications/notification-", 2*i+1), "", 200, &n); n.CustomerID != user.CustomerID || !strings.Contains(n.Message, o.ID) {
			t.Errorf("the notification is %+v, want one of %s to %s", n, o.ID, user.CustomerID)
		}
		do("notification", "POST", "/api/notifications", `{"customerId":"me","type":"hello"}`, 201, nil)
		do("order", "DELETE", "/api/orders/"+o.ID, "", 204, nil)
		do("order", "GET", "/api/orders/"+o.ID, "", 404, nil)
		if got := quantity(p.ID); got != before {
			t.Errorf("%d are left after the order was taken back, want %d", got, before)
		}
		do("cart", "DELETE", "/api/cart", "", 204, nil)
	}
	want := map[string]Counts{
		"user": {"POST /api/auth/login": {200: buyers}, "GET /api/users/profile": {200: 4 * buyers}}, // once by itself, three times by the cart
		"order": {
			"POST /api/orders": {201: buyers}, "GET /api/orders/{id}": {200: buyers, 404: buyers}, "DELETE /api/orders/{id}": {204: buyers},
			"PUT /api/orders/{id}/payment": {200: buyers, 409: buyers},
		},
		"payment": {"POST /api/payments": {200: buyers, 409: buyers}, "GET /api/payments/{id}": {200: buyers}},
		"inventory": {
			"GET /api/inventory/{id}": {200: 3 * buyers}, "POST /api/inventory/reservations": {201: buyers}, "DELETE /api/inventory/reservations/{order}": {204: buyers},
		},
		"catalog":      {"GET /api/products": {200: buyers}, "GET /api/products/{id}": {200: 2 * buyers}},
		"cart":         {"POST /api/cart/items": {201: buyers}, "GET /api/cart": {200: buyers}, "DELETE /api/cart": {204: buyers}},
		"notification": {"POST /api/notifications": {201: 2 * buyers}, "GET /api/notifications/{id}": {200: buyers}},
	}
	if diff := cmp.Diff(want, s.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

func TestWhatServicesRefuse(t *testing.T) {
	t.Parallel()
	p := bubbled()
	for _, c := range []struct {
		service, method, path, body string
		code                        int
		says                        string
	}{
		{"user", "POST", "/api/auth/login", `{"email":"user001@example.com","password":"wrong"}`, 401, "required"},
		{"user", "POST", "/api/auth/login", `{`, 400, "unexpected end"},
		{"user", "GET", "/api/users/profile", "", 401, "token"},
		{"catalog", "GET", "/api/products/501", "", 404, "no such product"},
		{"catalog", "GET", "/api/products?q=submarine", "", 200, `"products":[]`},
		{"inventory", "GET", "/api/inventory/none", "", 404, "no such product"},
		{"inventory", "POST", "/api/inventory/reservations", `{"items":[{"productId":1,"quantity":1}]}`, 400, "orderId"},
		{"inventory", "POST", "/api/inventory/reservations", `{"orderId":"..","items":[{"productId":1,"quantity":1}]}`, 400, "orderId"},
		{"inventory", "POST", "/api/inventory/reservations", `{"orderId":1,"items":[]}`, 400, "from 1 to 50 items"},
		{"inventory", "POST", "/api/inventory/reservations", `{"orderId":1,"items":[{"productId":1,"quantity":1},{"productId":1,"quantity":0}]}`, 400, "items[1]"},
		{"inventory", "DELETE", "/api/inventory/reservations/none", "", 404, "no such reservation"},
		{"cart", "POST", "/api/cart/items", `{"productId":1,"quantity":1}`, 401, "token"},
		{"cart", "GET", "/api/cart", "", 401, "token"},
		{"order", "POST", "/api/orders", `{"items":[{"productId":1,"quantity":1,"price":1}]}`, 400, "customerId"},
		{"order", "POST", "/api/orders", `{"customerId":{},"items":[{"productId":1,"quantity":1,"price":1}]}`, 400, "a string or a number"},
		{"order", "POST", "/api/orders", `{"customerId":7,"items":[]}`, 400, "from 1 to 50 items"},
		{"order", "POST", "/api/orders", `{"customerId":7,"items":[{"productId":"x","quantity":1,"price":1}]}`, 400, "items[0]"},
		{"order", "POST", "/api/orders", `{"customerId":7,"items":[{"productId":1,"quantity":1,"price":-1}]}`, 400, "negative"},
		{"order", "GET", "/api/orders/order-9", "", 404, "no such order"},
		{"order", "DELETE", "/api/orders/order-9", "", 404, "no such order"},
		{"order", "PUT", "/api/orders/order-9/payment", `{"paymentId":"x"}`, 404, "no such order"},
		{"order", "PUT", "/api/orders/order-9/payment", `{}`, 400, "paymentId"},
		{"payment", "POST", "/api/payments", `{"orderId":"x","amount":0,"currency":"EUR","paymentMethod":"card"}`, 400, "an amount above 0"},
		{"payment", "POST", "/api/payments", `{"orderId":"x","amount":1,"currency":"euro","paymentMethod":"card"}`, 400, "three letters"},
		{"payment", "POST", "/api/payments", `{"amount":1,"currency":"EUR","paymentMethod":"card"}`, 400, "orderId"},
		{"payment", "POST", "/api/payments", strings.Repeat(" ", 1<<20+1), 400, "too large"},
		{"payment", "GET", "/api/payments/none", "", 404, "no such payment"},
		{"notification", "POST", "/api/notifications", `null`, 400, "object"},
		{"notification", "POST", "/api/notifications", `[]`, 400, "object"},
		{"notification", "POST", "/api/notifications", `{"message":"` + strings.Repeat("x", 300) + `"}`, 400, "at most 254 bytes"},
		{"notification", "GET", "/api/notifications/none", "", 404, "no such notification"},
	} {
		p.asker(t, c.service).wants(c.method, c.path, c.body, c.code, c.says)
	}
	if code, _ := p.pay("an-order/of another system?"); code != 200 {
		t.Errorf("a payment of an order of another system is answered with %d, want 200", code)
	}
}

func TestOrdersReserveWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bubbled()
		p.turn(t, "inventory", func(k *Knobs) { k.Stock, k.RestockEvery = 10, Duration(time.Hour) })
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				p.asker(t, "order").ask("POST", "/api/orders", `{"customerId":"c","items":[{"productId":3,"quantity":1,"price":2},{"productId":4,"quantity":1,"price":2}]}`)
			})
		}
		wg.Wait()
		if diff := cmp.Diff(map[int]int{201: 10, 409: 20}, p["order"].Counts()["POST /api/orders"]); diff != "" {
			t.Errorf("orders (-want +got):\n%s", diff)
		}
		a := p.asker(t, "inventory")
		a.wants("GET", "/api/inventory/3", "", 200, `"quantity":0`)
		a.wants("GET", "/api/inventory/5", "", 200, `"quantity":10`)
		time.Sleep(time.Hour)
		a.wants("GET", "/api/inventory/3", "", 200, `"quantity":10`)
	})
}

// What a service cannot do without another it says, in bounded time.
func TestFaultsOfOneServiceAreSeenInItsCallers(t *testing.T) {
	const order = `{"customerId":"c","items":[{"productId":3,"quantity":1,"price":2}]}`
	for _, c := range []struct {
		name, at            string
		turn                func(*Knobs)
		service, path, body string
		code                int
		atLeast, atMost     time.Duration
		ordered             bool // there is an order to pay
	}{
		{"failures", "inventory", func(k *Knobs) { k.ErrorRatio = map[string]float64{"": 1} }, "order", "/api/orders", order, 502, 0, time.Second, false},
		{"a hang", "inventory", func(k *Knobs) { k.Hang = true }, "order", "/api/orders", order, 504, callTimeout, callTimeout + time.Second, false},
		{"latency", "inventory", func(k *Knobs) { k.Latency = map[string]Latency{"": {Median: Duration(time.Second)}} }, "order", "/api/orders", order, 201, time.Second, 2 * time.Second, false},
		{"failures of the callee's callee", "order", func(k *Knobs) { k.ErrorRatio = map[string]float64{"": 1} }, "payment", "/api/payments", fmt.Sprintf(goodPayment, "order-1"), 502, 0, time.Second, false},
		{"failures of the user service", "user", func(k *Knobs) { k.ErrorRatio = map[string]float64{"": 1} }, "cart", "/api/cart/items", `{"productId":1,"quantity":1}`, 502, 0, time.Second, false},
		{"a hang of notifications", "notification", func(k *Knobs) { k.Hang = true }, "payment", "/api/payments", fmt.Sprintf(goodPayment, "order-1"), 200, notifyTimeout, callTimeout, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := bubbled()
				if c.ordered {
					p.asker(t, "order").wants("POST", "/api/orders", order, 201, "order-1")
				}
				p.turn(t, c.at, c.turn)
				a := p.asker(t, c.service)
				begin := time.Now()
				a.wants("POST", c.path, c.body, c.code, "")
				if took := time.Since(begin); took < c.atLeast || took > c.atMost {
					t.Errorf("it took %v, want from %v to %v", took, c.atLeast, c.atMost)
				}
			})
		})
	}
}

// A script of a bank that fails, from a closed breaker through an open and a half-open one to a closed one.
func TestTheBreakerOpensAndRecovers(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(*Knobs)
		code  int // of payments that meet it
	}{
		{"all fail", func(k *Knobs) { k.ErrorRatio = map[string]float64{"POST /api/payments": 1} }, 502},
		{"half fail", func(k *Knobs) { k.ErrorRatio = map[string]float64{"": 0.5} }, 502},
		{"three in ten fail", func(k *Knobs) { k.ErrorRatio = map[string]float64{"": 0.3} }, 502},
		{"it hangs", func(k *Knobs) { k.Hang = true }, 504},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := bubbled()
				payment := p["payment"]
				for range 100 {
					if code, _ := p.pay("x"); code != 200 {
						t.Fatalf("a payment to a healthy bank is answered with %d", code)
					}
				}
				shown(t, payment, `circuit_breaker_state{breaker="bank",service="payment",state="closed"}`, 1)
				shown(t, payment, `circuit_breaker_trips_total{breaker="bank",service="payment"}`, 0)
				time.Sleep(breakerWindow) // what went well is out of sight
				p.turn(t, "payment", c.fault)

				// Twenty a second, as they come.
				begin := time.Now()
				var mu sync.Mutex
				codes := map[int]int{}
				opened := time.Duration(0)
				var wg sync.WaitGroup
				for range 20 * 120 {
					wg.Go(func() {
						code, header := p.pay("x")
						mu.Lock()
						defer mu.Unlock()
						codes[code]++
						if (code == 503) != (header.Get("X-Circuit-Breaker") == "open") {
							t.Errorf("a payment is answered with %d and X-Circuit-Breaker %q", code, header.Get("X-Circuit-Breaker"))
						}
						if code == 503 && opened == 0 {
							opened = time.Since(begin)
						}
					})
					time.Sleep(50 * time.Millisecond)
				}
				wg.Wait()
				if codes[503] < codes[c.code] || codes[c.code] == 0 || opened == 0 || opened > 20*time.Second {
					t.Errorf("answers are %v and the breaker opened after %v; want it within 20s, and more 503 than %d", codes, opened, c.code)
				}
				trips := value(t, payment, `circuit_breaker_trips_total{breaker="bank",service="payment"}`)
				if trips < 2 {
					t.Errorf("the breaker opened %v times in two minutes, want again after each probe that failed", trips)
				}
				shown(t, payment, `circuit_breaker_rejections_total{breaker="bank",service="payment"}`, float64(codes[503]))
				if c.code == 502 {
					shown(t, payment, `injected_failures_total{endpoint="POST /api/payments",service="payment"}`, float64(codes[502]))
				}
				recovered := value(t, payment, `circuit_breaker_recoveries_total{breaker="bank",service="payment"}`)

				p.turn(t, "payment", func(k *Knobs) { k.ErrorRatio, k.Hang = nil, false })
				mended := time.Now()
				for code := 503; code != 200; code, _ = p.pay("x") {
					if time.Sleep(time.Second); time.Since(mended) > 2*breakerPause {
						t.Fatal("payments fail long after the bank is well again")
					}
				}
				for range 2 * breakerProbes {
					if code, _ := p.pay("x"); code != 200 {
						t.Errorf("a payment after the recovery is answered with %d", code)
					}
				}
				shown(t, payment, `circuit_breaker_state{breaker="bank",service="payment",state="closed"}`, 1)
				shown(t, payment, `circuit_breaker_state{breaker="bank",service="payment",state="open"}`, 0)
				if got := value(t, payment, `circuit_breaker_recoveries_total{breaker="bank",service="payment"}`); got < recovered || got == 0 {
					t.Errorf("%v recoveries are counted, want more than %v", got, recovered)
				}
			})
		})
	}
}

func TestTheBreakerHalfOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bubbled()
		payment := p["payment"]
		p.turn(t, "payment", func(k *Knobs) { k.ErrorRatio = map[string]float64{"": 1} })
		for i := range breakerLeast {
			if code, _ := p.pay("x"); code != 502 {
				t.Fatalf("payment %d is answered with %d, want 502", i, code)
			}
		}
		if code, _ := p.pay("x"); code != 503 {
			t.Fatalf("a payment to an open breaker is answered with %d, want 503", code)
		}
		time.Sleep(breakerPause + time.Millisecond)
		shown(t, payment, `circuit_breaker_state{breaker="bank",service="payment",state="half-open"}`, 1)
		if code, _ := p.pay("x"); code != 502 { // the probe
			t.Errorf("a probe is answered with %d, want 502", code)
		}
		shown(t, payment, `circuit_breaker_state{breaker="bank",service="payment",state="open"}`, 1)
		shown(t, payment, `circuit_breaker_trips_total{breaker="bank",service="payment"}`, 2)

		p.turn(t, "payment", func(k *Knobs) { k.ErrorRatio = nil })
		time.Sleep(breakerPause + time.Millisecond)
		var wg sync.WaitGroup
		codes := make(chan int, 3*breakerProbes)
		for range 3 * breakerProbes { // at once: the breaker lets the probes through and no more
			wg.Go(func() {
				code, _ := p.pay("x")
				codes <- code
			})
		}
		wg.Wait()
		close(codes)
		good := 0
		for code := range codes {
			if code == 200 {
				good++
			}
		}
		if good != breakerProbes {
			t.Errorf("%d of the payments at once reach the bank, want %d", good, breakerProbes)
		}
		shown(t, payment, `circuit_breaker_state{breaker="bank",service="payment",state="closed"}`, 1)
		shown(t, payment, `circuit_breaker_recoveries_total{breaker="bank",service="payment"}`, 1)
	})
}

// Clients that lose patience say nothing about the bank.
func TestClientsThatLeaveDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bubbled()
		p.turn(t, "payment", func(k *Knobs) { k.Latency = map[string]Latency{"": {Median: Duration(time.Second)}} })
		for range 3 * breakerLeast {
			ctx, leave := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, leave)
			p["payment"].ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "POST", "/api/payments", strings.NewReader(fmt.Sprintf(goodPayment, "x"))))
		}
		if code, _ := p.pay("x"); code != 200 {
			t.Errorf("a payment after many clients left is answered with %d, want 200", code)
		}
		want := Counts{"POST /api/payments": {ClientLeft: 3 * breakerLeast, 200: 1}}
		if diff := cmp.Diff(want, p["payment"].Counts()); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	})
}

// One trace leads from the client through all services that a purchase touches.
func TestTracesGoFromCallerToCallee(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	p, urls := inProcess{}, map[string]string{}
	for _, name := range ServiceNames {
		urls[name] = "http://" + name + ":8080"
	}
	tracer := func(name string) trace.Tracer { return provider.Tracer(name) }
	maps.Copy(p, newServices(ServicesOptions{Seed: 1, Tracer: tracer}, peers{urls: urls, client: &http.Client{Transport: p}}))
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	a := p.asker(t, "order")
	a.header.Set("traceparent", parent)
	a.wants("POST", "/api/orders", `{"customerId":"c","items":[{"productId":3,"quantity":1,"price":2}]}`, 201, "order-1")
	a.at = p["payment"]
	a.wants("POST", "/api/payments", fmt.Sprintf(goodPayment, "order-1"), 200, "paid")
	a.header.Del("traceparent")
	a.wants("POST", "/api/payments", fmt.Sprintf(goodPayment, "x"), 200, "")

	all := spans.GetSpans()
	names := map[trace.SpanID]string{}
	for _, s := range all {
		names[s.SpanContext.SpanID()] = s.InstrumentationScope.Name + ": " + s.Name
		if got := s.SpanContext.TraceID().String(); got != parent[3:35] {
			t.Errorf("span %s is of the trace %s", s.Name, got)
		}
	}
	var edges []string
	for _, s := range all {
		from := names[s.Parent.SpanID()]
		if from == "" && s.Parent.SpanID().String() == parent[36:52] {
			from = "client"
		}
		edges = append(edges, from+" > "+names[s.SpanContext.SpanID()])
	}
	slices.Sort(edges)
	want := []string{
		"client > order: POST /api/orders",
		"client > payment: POST /api/payments",
		"order: POST /api/inventory/reservations > inventory: POST /api/inventory/reservations",
		"order: POST /api/notifications > notification: POST /api/notifications",
		"order: POST /api/orders > order: POST /api/inventory/reservations",
		"order: PUT /api/orders/{id}/payment > order: POST /api/notifications",
		"payment: POST /api/payments > payment: PUT /api/orders/{id}/payment",
		"payment: POST /api/payments > payment: charge",
		"payment: PUT /api/orders/{id}/payment > order: PUT /api/orders/{id}/payment",
	}
	if diff := cmp.Diff(want, edges); diff != "" {
		t.Errorf("edges of the trace (-want +got):\n%s", diff)
	}
}

// Without a tracer, the trace of a request still reaches the callee.
func TestTracesPassServicesWithoutATracer(t *testing.T) {
	p := bubbled()
	var got []string
	next := p["inventory"].handler
	p["inventory"].handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("traceparent"))
		next.ServeHTTP(w, r)
	})
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	a := p.asker(t, "order")
	a.header.Set("traceparent", parent)
	a.wants("POST", "/api/orders", `{"customerId":"c","items":[{"productId":3,"quantity":1,"price":2}]}`, 201, "")
	a.header.Del("traceparent")
	a.wants("POST", "/api/orders", `{"customerId":"c","items":[{"productId":3,"quantity":1,"price":2}]}`, 201, "")
	if diff := cmp.Diff([]string{parent, ""}, got); diff != "" {
		t.Errorf("traceparent of calls (-want +got):\n%s", diff)
	}
}

func value(t *testing.T, h http.Handler, series string) (v float64) {
	t.Helper()
	_, text := call(h, "GET", "/metrics", "")
	for line := range strings.Lines(text) {
		if got, ok := strings.CutPrefix(line, series+" "); ok {
			if _, err := fmt.Sscan(got, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Errorf("/metrics has no %s", series)
	return 0
}

func shown(t *testing.T, h http.Handler, series string, want float64) {
	t.Helper()
	if got := value(t, h, series); got != want {
		t.Errorf("/metrics says %s %v, want %v", series, got, want)
	}
}

func TestServicesShowWhatTheyDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bubbled()
		for name, path := range map[string]string{"catalog": "/api/products", "inventory": "/api/inventory/1"} {
			s := p[name]
			a := p.asker(t, name)
			p.turn(t, name, func(k *Knobs) { k.LeakPerRequest = 100 })
			for range 7 {
				a.wants("GET", path, "", 200, "")
			}
			a.wants("POST", "/knobs", `{"error_ratio":{"":1},"release":"v2"}`, 200, "v2")
			for range 3 {
				a.wants("GET", path, "", 500, "knobs")
			}
			a.wants("POST", "/knobs", `{"error_ratio":{"GET /api/nothing":1}}`, 400, "no endpoint")
			a.wants("GET", "/", "", 200, name+" service")
			endpoint := map[string]string{"catalog": "GET /api/products", "inventory": "GET /api/inventory/{id}"}[name]
			shown(t, s, fmt.Sprintf(`http_requests_total{code="200",endpoint=%q,method="GET",service=%q}`, endpoint, name), 7)
			shown(t, s, fmt.Sprintf(`http_requests_total{code="500",endpoint=%q,method="GET",service=%q}`, endpoint, name), 3)
			shown(t, s, fmt.Sprintf(`http_request_duration_seconds_count{endpoint=%q,method="GET",service=%q}`, endpoint, name), 10)
			shown(t, s, fmt.Sprintf(`http_requests_in_flight{service=%q}`, name), 0)
			shown(t, s, fmt.Sprintf(`injected_failures_total{endpoint=%q,service=%q}`, endpoint, name), 3)
			shown(t, s, fmt.Sprintf(`release_info{release="v2",service=%q}`, name), 1)
			if got := s.Leaked(); got != 300 {
				t.Errorf("the %s service leaked %d bytes since its release, want 300", name, got)
			}
			a.wants("GET", "/healthz", "", 200, name)
			a.wants("GET", "/metrics", "", 200, "process_cpu_seconds_total")
		}
	})
	for name, s := range bubbled() {
		problems, err := testutil.GatherAndLint(s.registry, "http_requests_total", "http_request_duration_seconds", "http_requests_in_flight",
			"injected_failures_total", "leaked_bytes_total", "release_info", "circuit_breaker_state", "circuit_breaker_trips_total")
		if err != nil || len(problems) > 0 {
			t.Errorf("lint of the %s service's metrics: %v %v", name, problems, err)
		}
	}
}

func TestThePageOfAServiceTurnsItsKnobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bubbled()
		a := p.asker(t, "catalog")
		a.header.Set("Content-Type", "application/x-www-form-urlencoded")
		a.wants("POST", "/turn", "delay=750.5&slowdown=0", 303, "")
		a.wants("GET", "/", "", 200, `value="750.5"`)
		begin := time.Now()
		a.wants("GET", "/api/products", "", 200, "")
		if took := time.Since(begin); took < 751*time.Millisecond || took > 850*time.Millisecond {
			t.Errorf("a request took %v, want its latency and 750.5ms", took)
		}
		a.wants("POST", "/turn", "delay=much", 400, "invalid syntax")
		a.wants("POST", "/turn", "delay=-1", 400, "delay: must be")
		a.wants("POST", "/turn", "errors=100&delay=0", 303, "")
		a.wants("GET", "/api/products", "", 500, "knobs")
		a.wants("POST", "/turn", "hang=1", 303, "")
		ctx, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		p["catalog"].ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/api/products", nil))
		want := Counts{"GET /api/products": {200: 1, 500: 1, ClientLeft: 1}}
		if diff := cmp.Diff(want, p["catalog"].Counts()); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
		if k := p["user"].Knobs(); k.Hang || k.Delay != 0 {
			t.Errorf("the knobs of another service are %+v", k)
		}
	})
	if page := get(t, New(Knobs{}, 1), "/"); strings.Contains(page, "Added latency") {
		t.Error("the page of the shop has a field that its form does not send")
	}
}

func TestServicesListenSideBySide(t *testing.T) {
	a, err := NewServices(ServicesOptions{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	seen := map[string]bool{}
	for _, name := range ServiceNames {
		if a.Service(name) == nil || seen[a.URL(name)] || !strings.HasPrefix(a.URL(name), "http://127.0.0.1:") {
			t.Errorf("the %s service is at %q", name, a.URL(name))
		}
		seen[a.URL(name)] = true
	}
	if a.Service("weather") != nil {
		t.Error("there is a weather service")
	}
	taken := strings.TrimPrefix(a.URL("user"), "http://")
	for _, address := range []string{taken, "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000"} {
		if _, err := NewServices(ServicesOptions{Address: address}); err == nil {
			t.Errorf("services listen on %s", address)
		}
	}
}

func TestServicesEndTogether(t *testing.T) {
	s, err := NewServices(ServicesOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.listeners[3].Close()
	if err := s.Serve(t.Context()); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "inventory") {
		t.Errorf("Serve of services of which one is broken = %v, want the error of the inventory", err)
	}
}
