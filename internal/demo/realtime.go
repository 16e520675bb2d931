package demo

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// tellStock is how often a stream is told what is left of a product.
	tellStock = time.Second
	// notifyEvery is how often a stream is told something else.
	notifyEvery = 5 * time.Second
	// mostBehind is how many orders a stream may wait for; those beyond are skipped, and their numbers with them.
	mostBehind = 64
	// longestMessage of a client, in bytes.
	longestMessage = 16 << 10
	// lastWord is how long a client may take to answer the shop's close.
	lastWord = time.Second
)

// channels are what streams may subscribe to: the client's own orders, what is left of products, and news.
var channels = []string{"orders", "inventory", "notifications"}

// A hub tells streams what happens to the orders of their users.
type hub struct {
	mu     sync.Mutex
	byUser map[string]map[*stream]struct{}
	open   sync.WaitGroup // streams
}

func (h *hub) join(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byUser == nil {
		h.byUser = map[string]map[*stream]struct{}{}
	}
	if h.byUser[s.user] == nil {
		h.byUser[s.user] = map[*stream]struct{}{}
	}
	h.byUser[s.user][s] = struct{}{}
}

func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.byUser[s.user], s)
	if len(h.byUser[s.user]) == 0 {
		delete(h.byUser, s.user)
	}
}

// ordered tells all streams of a user about an order. It never waits.
func (h *hub) ordered(user string, id int, status string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.byUser[user] {
		select {
		case s.orders <- object{"type": "order", "orderId": id, "status": status}:
		default:
			s.skipped.Add(1)
		}
	}
}

// A stream is one client's WebSocket. The goroutine of its handler owns it; another one reads what the client sends.
type stream struct {
	shop       *Shop
	user       string
	conn       *websocket.Conn
	orders     chan object // what happened to the user's
	skipped    atomic.Int64
	subscribed []string // of channels
	seq        int64    // of the last message, skipped ones included
	told       int      // products
}

// An asked is a message of a client.
type asked struct {
	Type     string          `json:"type"`
	Channel  string          `json:"channel"`
	Channels []string        `json:"channels"`
	ID       json.RawMessage `json:"id"`
}

// realtime opens a stream of what happens in the shop. Every message is JSON with a type and the next number, seq.
func realtime(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	user, ok := s.signer.user(r)
	if !ok {
		unauthorized(w)
		return
	}
	s.streams.open.Add(1) // before the server forgets the connection
	defer s.streams.open.Done()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"shop.v1"}, OriginPatterns: []string{"*"}})
	if err != nil {
		return // the client has its answer
	}
	defer func() { _ = conn.CloseNow() }() // it is closed already where it ended well
	conn.SetReadLimit(longestMessage)
	st := &stream{shop: s, user: user, conn: conn, orders: make(chan object, mostBehind)}
	s.streams.join(st)
	defer s.streams.leave(st)
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	st.serve(r.Context())
}

// serve serves the stream until the client leaves or ctx ends.
func (s *stream) serve(ctx context.Context) {
	// The end of the context that a library reads or writes under breaks the connection, without a close.
	alive, leave := context.WithCancel(context.WithoutCancel(ctx))
	came := make(chan []byte)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer leave()
		for {
			_, p, err := s.conn.Read(alive)
			if err != nil {
				return
			}
			s.shop.came(len(p))
			select {
			case came <- p:
			case <-alive.Done():
				return
			}
		}
	})
	defer reading.Wait()
	defer leave()
	stock, news := time.NewTicker(tellStock), time.NewTicker(notifyEvery)
	defer stock.Stop()
	defer news.Stop()
	for {
		var m object
		select {
		case <-alive.Done():
			return
		case <-ctx.Done():
			late := time.AfterFunc(lastWord, leave) // which ends the read, and with it the wait for an answer
			defer late.Stop()
			_ = s.conn.Close(websocket.StatusGoingAway, "the shop closes") // a client that is gone needs none
			return
		case p := <-came:
			m = s.answer(p)
		case m = <-s.orders:
			if !s.hears("orders") {
				continue
			}
		case <-stock.C:
			if !s.hears("inventory") {
				continue
			}
			m = s.stock()
		case <-news.C:
			if !s.hears("notifications") {
				continue
			}
			m = object{"type": "notification", "text": "there is something new in the shop"}
		}
		if s.send(alive, m) != nil {
			return
		}
	}
}

func (s *stream) hears(channel string) bool { return slices.Contains(s.subscribed, channel) }

// stock says what is left of the next product.
func (s *stream) stock() object {
	o := s.shop.offers(catalogue[s.told%Products : s.told%Products+1])[0]
	s.told++
	return object{"type": "inventory", "productId": o.ID, "stock": o.Stock}
}

// answer answers a message.
func (s *stream) answer(text []byte) object {
	var q asked
	if err := json.Unmarshal(text, &q); err != nil {
		return object{"type": "error", "error": "a message must be an object of JSON with a type: " + err.Error()}
	}
	switch q.Type {
	case "subscribe":
		if q.Channel != "" {
			q.Channels = append(q.Channels, q.Channel)
		}
		for _, c := range q.Channels {
			if !slices.Contains(channels, c) {
				return object{"type": "error", "error": "there is no channel " + c + "; there are " + strings.Join(channels, ", ")}
			}
			if !s.hears(c) {
				s.subscribed = append(s.subscribed, c)
			}
		}
		return object{"type": "subscribed", "channels": s.subscribed}
	case "ping":
		return object{"type": "pong"}
	case "echo":
		return object{"type": "echo", "id": q.ID}
	}
	return object{"type": "error", "error": "a message has one of the types subscribe, ping and echo"}
}

// send sends a message under the next number.
func (s *stream) send(ctx context.Context, m object) error {
	if n := s.skipped.Swap(0); n > 0 {
		s.seq += n
		s.shop.skipped.Add(float64(n))
	}
	s.seq++
	m["seq"] = s.seq
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := s.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return err
	}
	s.shop.went(len(text))
	return nil
}
