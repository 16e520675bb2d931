package stories

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/demo"
)

// A shop is a target of its own on loopback.
type shop struct {
	*demo.Shop
	URL    string
	opened time.Time
}

// newShop starts a shop whose endpoints all take a latency, behind what wraps it.
func newShop(t *testing.T, seed uint64, l demo.Latency, wrap func(*demo.Shop) http.Handler) *shop {
	s := demo.New(demo.Knobs{Release: "v1.0.0", Latency: map[string]demo.Latency{"": l}}, seed)
	srv := httptest.NewServer(wrap(s))
	t.Cleanup(srv.Close)
	return &shop{s, srv.URL, time.Now()}
}

// turn changes the shop's knobs.
func (s *shop) turn(t *testing.T, change func(*demo.Knobs)) {
	k := s.Knobs()
	change(&k)
	if err := s.Set(k); err != nil {
		t.Errorf("turn the shop's knobs: %v", err)
	}
}

func as(s *demo.Shop) http.Handler { return s }

// The parts of a shop's heap, in bytes.
const (
	live        = 48 << 20  // in use from the beginning
	garbage     = 32 << 20  // most before a collection
	garbageEach = 256 << 10 // that a request makes
	leakEach    = 32 << 10  // that a request leaves for ever
)

// heap is the size of a heap after so many requests that leak so many bytes each.
func heap(requests, each int) int {
	return live + requests*each + requests*garbageEach%garbage
}

// withHeap adds the page that leak analysis reads.
func withHeap(each int) func(*demo.Shop) http.Handler {
	return func(s *demo.Shop) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/", s)
		mux.HandleFunc("GET /heap", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "# TYPE shop_heap_bytes gauge\nshop_heap_bytes %d\n", heap(s.Requests(), each))
		})
		return mux
	}
}

// capacity is how many requests a second the shop of the stress test can serve: more than
// the random arrivals of the soak alone ever are. A second's worth may come at once.
const capacity = 15

// withCapacity answers requests beyond the capacity with an error. Capacity grows continuously, as
// a period could coincide with that of windows or scrapes.
func withCapacity(s *demo.Shop) http.Handler {
	var mu sync.Mutex
	room, last := float64(capacity), time.Now()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now := time.Now()
		room, last = min(capacity, room+capacity*now.Sub(last).Seconds()), now
		over := room < 1
		if !over {
			room--
		}
		mu.Unlock()
		if over {
			http.Error(w, "overloaded", http.StatusInternalServerError)
			return
		}
		s.ServeHTTP(w, r)
	})
}
