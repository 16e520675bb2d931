package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A watcher is a client of the shop's stream.
type watcher struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
}

func watch(t *testing.T, s *Shop, url, user string) *watcher {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	t.Cleanup(cancel)
	conn, resp, err := websocket.Dial(ctx, url+"/realtime", &websocket.DialOptions{
		HTTPHeader:   http.Header{"Authorization": {"Bearer " + s.signer.token(user, 0)}, "Origin": {"http://elsewhere.example"}},
		Subprotocols: []string{"shop.v1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || conn.Subprotocol() != "shop.v1" {
		t.Errorf("status %d, subprotocol %q", resp.StatusCode, conn.Subprotocol())
	}
	t.Cleanup(func() { conn.CloseNow() })
	return &watcher{t, ctx, conn}
}

func (w *watcher) say(kind websocket.MessageType, text string) {
	w.t.Helper()
	if err := w.conn.Write(w.ctx, kind, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// hear returns the next message of a type.
func (w *watcher) hear(kind string) map[string]any {
	w.t.Helper()
	for {
		_, p, err := w.conn.Read(w.ctx)
		if err != nil {
			w.t.Fatalf("no %s: %v", kind, err)
		}
		var m map[string]any
		if err := json.Unmarshal(p, &m); err != nil {
			w.t.Fatalf("%q: %v", p, err)
		}
		if m["type"] == kind {
			return m
		}
	}
}

func TestRealtime(t *testing.T) {
	t.Parallel()
	s := New(Knobs{Release: "v1"}, 1)
	server := httptest.NewServer(s)
	defer server.Close()
	w := watch(t, s, server.URL, "ann@x")
	w.say(websocket.MessageText, `{"type":"subscribe","channels":["orders","inventory"]}`)
	if m := w.hear("subscribed"); m["seq"] != 1.0 || fmt.Sprint(m["channels"]) != "[orders inventory]" {
		t.Errorf("%v", m)
	}
	order := func(method, path, body, user string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+s.signer.token(user, 0))
		a := httptest.NewRecorder()
		if s.ServeHTTP(a, r); a.Code >= 300 {
			t.Fatalf("%s %s of %s: %d %s", method, path, user, a.Code, a.Body)
		}
	}
	order("POST", "/orders", `{"items":[{"productId":7,"quantity":1}]}`, "bob@x") // which is none of Ann's business
	order("POST", "/orders", `{"items":[{"productId":7,"quantity":1}]}`, "ann@x")
	order("DELETE", "/orders/2", "", "ann@x")
	for _, status := range []string{"placed", "cancelled"} {
		if m := w.hear("order"); m["orderId"] != 2.0 || m["status"] != status {
			t.Errorf("%v, want order 2 %s", m, status)
		}
	}
	if m := w.hear("inventory"); m["productId"] != 1.0 || m["stock"] != 10_000.0 {
		t.Errorf("%v", m)
	}
	w.say(websocket.MessageBinary, `{"type":"echo","id":"a\"b"}`)
	if m := w.hear("echo"); m["id"] != `a"b` {
		t.Errorf("%v", m)
	}
	for _, text := range []string{`no JSON`, `{"type":"dance"}`, `{"type":"subscribe","channel":"weather"}`} {
		w.say(websocket.MessageText, text)
		w.hear("error")
	}
	w.say(websocket.MessageText, `{"type":"ping"}`)
	last := w.hear("pong")["seq"].(float64)
	if err := w.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	s.streams.open.Wait()
	exposed(t, s, `shop_messages_total{direction="received"}`, 6)
	exposed(t, s, `shop_messages_total{direction="sent"}`, last)
	exposed(t, s, "shop_streams_open", 0)
	if n := s.Counts()["GET /realtime"][http.StatusSwitchingProtocols]; n != 1 {
		t.Errorf("%d openings were counted, want 1", n)
	}
	if code, _ := call(s, "GET", "/realtime", ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
}

// What a stream is too far behind to be told leaves a gap in its numbers, which is counted.
func TestAStreamThatIsBehindSkips(t *testing.T) {
	s := New(Knobs{Release: "v1"}, 1)
	st := &stream{shop: s, user: "ann@x", orders: make(chan object, mostBehind)}
	s.streams.join(st)
	defer s.streams.leave(st)
	for i := range mostBehind + 5 {
		s.streams.ordered("ann@x", i+1, "placed")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		st.conn = conn
		if err := errors.Join(st.send(r.Context(), <-st.orders), st.send(r.Context(), <-st.orders)); err != nil {
			t.Error(err)
		}
		<-conn.CloseRead(r.Context()).Done()
	}))
	defer server.Close()
	conn, _, err := websocket.Dial(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{t, t.Context(), conn}
	if a, b := w.hear("order")["seq"], w.hear("order")["seq"]; a != 6.0 || b != 7.0 {
		t.Errorf("numbers %v and %v, want 6 and 7", a, b)
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	exposed(t, s, "shop_messages_skipped_total", 5)
}

// A shop that ends says good-bye, and waits for no client that does not.
func TestTheShopClosesItsStreams(t *testing.T) {
	t.Parallel()
	s := New(Knobs{Release: "v1"}, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- s.Serve(ctx, l) }()
	url := "http://" + l.Addr().String()
	polite, deaf := watch(t, s, url, "ann@x"), watch(t, s, url, "bob@x")
	deaf.say(websocket.MessageText, `{"type":"ping"}`)
	end()
	if _, _, err := polite.conn.Read(polite.ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the stream ends with %v", err)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
	exposed(t, s, "shop_streams_open", 0)
}
