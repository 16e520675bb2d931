package demo

import (
	"context"
	"math"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestHangLetsGoWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{Hang: true}, 1)
		begin := time.Now()
		done := make(chan time.Duration)
		for range 3 {
			go func() {
				call(s, "POST", "/orders", "")
				done <- time.Since(begin)
			}()
		}
		time.Sleep(30 * time.Second)
		exposed(t, s, "shop_requests_in_flight", 3)
		s.Set(Knobs{Hang: true, Release: "a change that is no end"})
		time.Sleep(10 * time.Second)
		s.Set(Knobs{})
		for range 3 {
			if d := <-done; d != 40*time.Second {
				t.Errorf("a request to a hanging shop took %v, want the 40s of the hang", d)
			}
		}
		begin = time.Now()
		call(s, "POST", "/orders", "")
		if d := time.Since(begin); d != 0 {
			t.Errorf("a request after the hang took %v, want 0", d)
		}
	})
}

func TestHangLetsGoOfAClientThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{Hang: true}, 1)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/products", nil))
		if w.Body.Len() != 0 {
			t.Errorf("the client that left was answered %s", w.Body)
		}
		exposed(t, s, "shop_requests_in_flight", 0)
	})
}

func TestStallHoldsRequestsToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{StallEvery: Duration(time.Minute), StallFor: Duration(10 * time.Second)}, 1)
		opened := time.Now()
		for _, c := range []struct{ at, took time.Duration }{
			{0, 10 * time.Second},
			{10 * time.Second, 0},
			{59 * time.Second, 0},
			{65 * time.Second, 5 * time.Second},
		} {
			time.Sleep(time.Until(opened.Add(c.at)))
			begin := time.Now()
			call(s, "GET", "/products/1", "")
			if d := time.Since(begin); d != c.took {
				t.Errorf("a request %v after opening took %v, want %v", c.at, d, c.took)
			}
		}
	})
}

// TestLeakIsWhatTheKnobSays looks with the collector's eyes and, where there is
// a /proc, with those of somebody who watches the process.
func TestLeakIsWhatTheKnobSays(t *testing.T) {
	const n, each = 3200, 10_007
	s := New(Knobs{LeakPerRequest: each}, 1)
	heap, resident := liveBytes(), residentBytes(t)
	for range n {
		s.draw("GET /products")
	}
	const want = n * each
	// What other tests left behind may be collected meanwhile.
	if got := liveBytes() - heap; math.Abs(float64(got-want)) > 0.03*want {
		t.Errorf("the live heap grew by %d bytes, want %d within 3 %%", got, want)
	}
	if got := residentBytes(t) - resident; resident > 0 && got < want*9/10 {
		t.Errorf("resident memory grew by %d bytes, want about %d", got, want)
	}
	exposed(t, s, "shop_leaked_bytes_total", want)
	runtime.KeepAlive(s)
}

// liveBytes is what is reachable. Memory that is free goes back to the system, so that what grows afterwards shows there.
func liveBytes() int {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// residentBytes is the memory of this process, 0 where the system does not tell.
func residentBytes(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestKnobsTurnWhileRequestsRun(t *testing.T) {
	s := New(Default(), 1)
	if err := s.Set(Knobs{Latency: map[string]Latency{"": {}}, ErrorRatio: map[string]float64{"": 0}}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	const n = 300
	wg.Go(func() {
		for range n {
			call(s, "GET", "/products/1", "")
		}
	})
	wg.Go(func() {
		for range n {
			call(s, "POST", "/knobs", `{"latency":{"GET /products/{id}":{"median":"1ns"}},"error_ratio":{"GET /search":0.1}}`)
		}
	})
	wg.Go(func() {
		for range n {
			call(s, "GET", "/knobs", "")
			s.Knobs().Latency[""] = Latency{}
		}
	})
	wg.Wait()
	exposed(t, s, `shop_requests_total{endpoint="GET /products/{id}"}`, n)
}
