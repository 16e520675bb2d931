package demo

import (
	"context"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCountsAreWhatWasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{}, 1)
		if diff := cmp.Diff(Counts{}, s.Counts()); diff != "" {
			t.Errorf("a new shop counts (-want +got):\n%s", diff)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 25 {
					call(s, "GET", "/products/7", "")
					call(s, "GET", "/search?q=lamp", "")
				}
				call(s, "GET", "/products/501", "")
				call(s, "GET", "/healthz", "")
			})
		}
		wg.Wait()
		if err := s.Set(Knobs{ErrorRatio: map[string]float64{"GET /products": 1}}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			call(s, "GET", "/products", "")
		}
		if err := s.Set(Knobs{Hang: true}); err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/products", nil))
		want := Counts{
			"GET /products/{id}": {200: 100, 404: 4},
			"GET /search":        {200: 100},
			"GET /products":      {500: 3, ClientLeft: 1},
		}
		if diff := cmp.Diff(want, s.Counts()); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
		exposed(t, s, `shop_responses_total{code="404",endpoint="GET /products/{id}",method="GET"}`, 4)
		exposed(t, s, `shop_responses_total{code="499",endpoint="GET /products",method="GET"}`, 1)
	})
}
