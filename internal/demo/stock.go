package demo

import (
	"fmt"
	"sync"
	"time"
)

const (
	// plenty is the stock of a product after a delivery, unless a knob says otherwise: enough for 166 a second.
	plenty = 10_000
	// restockEvery is the time between deliveries, unless a knob says otherwise.
	restockEvery = time.Minute
	// mostOfOne bounds how many of one product a request may ask for.
	mostOfOne = 1000
)

// A line is a number of one product, in a cart or an order.
type line struct {
	Product  int `json:"productId"`
	Quantity int `json:"quantity"`
}

// check says what is wrong with a line; nil for nothing.
func (l line) check() error {
	if _, ok := productOf(l.Product); !ok || l.Quantity < 1 || l.Quantity > mostOfOne {
		return fmt.Errorf("a productId that is sold and a quantity from 1 to %d are required", mostOfOne)
	}
	return nil
}

// total is the price of all lines.
func total(lines []line) float64 {
	var sum float64
	for _, l := range lines {
		p, _ := productOf(l.Product)
		sum += p.Price * float64(l.Quantity)
	}
	return sum
}

// A stock is what is left of each product. Deliveries at even times fill all of it up to one level, so that it
// lasts for ever and its history does not matter. It is filled when it is looked at: nothing runs meanwhile.
type stock struct {
	mu        sync.Mutex
	left      [Products]int // of the product i+1
	level     int
	delivered time.Time // zero for never
}

// deliver fills the stock up if a delivery is due, or a knob was turned. The caller holds the lock.
func (s *stock) deliver(k Knobs, now time.Time) {
	level, every := plenty, restockEvery
	if k.Stock > 0 {
		level = k.Stock
	}
	if k.RestockEvery > 0 {
		every = time.Duration(k.RestockEvery)
	}
	switch passed := now.Sub(s.delivered); {
	case s.delivered.IsZero() || level != s.level:
		s.delivered = now
	case passed >= every:
		s.delivered = s.delivered.Add(passed / every * every)
	default:
		return
	}
	s.level = level
	for i := range s.left {
		s.left[i] = level
	}
}

// look calls f with what is left of the product i+1 at i, which f must not keep.
func (s *stock) look(k Knobs, now time.Time, f func(left *[Products]int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver(k, now)
	f(&s.left)
}

// take takes all lines or nothing: short is a product of which too little is left, 0 for none.
func (s *stock) take(lines []line, k Knobs, now time.Time) (short int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver(k, now)
	for i, l := range lines {
		if s.left[l.Product-1] < l.Quantity {
			for _, taken := range lines[:i] {
				s.left[taken.Product-1] += taken.Quantity
			}
			return l.Product
		}
		s.left[l.Product-1] -= l.Quantity
	}
	return 0
}

// put gives lines back. A delivery meanwhile brought them already.
func (s *stock) put(lines []line, k Knobs, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver(k, now)
	for _, l := range lines {
		s.left[l.Product-1] = min(s.left[l.Product-1]+l.Quantity, s.level)
	}
}
