package demo

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// cartLife is how long a cart is kept that nobody adds to.
	cartLife = 30 * time.Minute
	// mostCarts is twice the users of a large test.
	mostCarts = 20_000
	// mostLines of a cart and of an order; the oldest line of a cart makes room for one more.
	mostLines = 50
	// paperLife is how long orders and reports are kept.
	paperLife = 10 * time.Minute
	// mostPapers is how many orders, and how many reports, are kept.
	mostPapers = 10_000
	// rowTime is how long a row of a report takes.
	rowTime = time.Millisecond
	// smallReport is how many rows a report may have that is made at once.
	smallReport = 100
)

// A trade is what users did in a shop: their carts, orders and reports. All of it expires.
type trade struct {
	stock stock

	mu      sync.Mutex
	carts   expiring[string, []line] // by user; a slice is never changed, only replaced
	orders  expiring[int, placed]
	reports expiring[int, reported]
	ids     int // the last one of orders and reports
}

// placed is an order.
type placed struct {
	ID     int     `json:"orderId"`
	Status string  `json:"status"`
	Items  []line  `json:"items"`
	Total  float64 `json:"total"`
	user   string
}

// reported is a report that is or will be there.
type reported struct {
	id, rows int
	ready    time.Time
}

// done is what a report says.
func (r reported) done() object {
	groups, revenue, sales := salesQuery{groupBy: "category", metric: "revenue", days: daysSold, limit: 10, rows: r.rows}.add()
	return object{"report": r.id, "id": r.id, "state": "done", "rows": sales, "revenue": revenue, "groups": groups}
}

func newTrade() trade {
	return trade{
		carts: newExpiring[string, []line](cartLife, mostCarts), orders: newExpiring[int, placed](paperLife, mostPapers),
		reports: newExpiring[int, reported](paperLife, mostPapers),
	}
}

// add puts a line into a user's cart, which it returns.
func (t *trade) add(user string, l line) []line {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	lines, _ := t.carts.get(user, now)
	lines = addLine(lines, l)
	t.carts.put(user, lines, now)
	return lines
}

// addLine returns lines with one more, which share nothing with those before. Lines of one product are one.
func addLine(lines []line, l line) []line {
	at := slices.IndexFunc(lines, func(have line) bool { return have.Product == l.Product })
	if at >= 0 {
		lines = slices.Clone(lines)
		lines[at].Quantity = min(lines[at].Quantity+l.Quantity, mostOfOne)
		return lines
	}
	if len(lines) == mostLines {
		lines = lines[1:]
	}
	return append(slices.Clip(lines), l)
}

// cart returns what a user's cart holds.
func (t *trade) cart(user string) []line {
	t.mu.Lock()
	defer t.mu.Unlock()
	if lines, ok := t.carts.get(user, time.Now()); ok {
		return lines
	}
	return []line{}
}

func (t *trade) empty(user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.carts.delete(user)
}

// A soldOutError says that too little of a product is left.
type soldOutError struct{ product int }

func (e *soldOutError) Error() string {
	return fmt.Sprintf("too little is left of product %d", e.product)
}

// order places an order of items, or of the user's cart if there are none, which is empty afterwards. The error is a
// *soldOutError if there is too little stock, and nothing is ordered or taken then.
func (t *trade) order(user string, items []line, k Knobs) (placed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	lines := items
	if len(items) == 0 {
		lines, _ = t.carts.get(user, now)
	}
	if len(lines) == 0 || len(lines) > mostLines {
		return placed{}, fmt.Errorf("a cart with something in it, or from 1 to %d items, is required", mostLines)
	}
	if short := t.stock.take(lines, k, now); short > 0 {
		return placed{}, &soldOutError{short}
	}
	if len(items) == 0 {
		t.carts.delete(user)
	}
	t.ids++
	p := placed{ID: t.ids, Status: "placed", Items: lines, Total: total(lines), user: user}
	t.orders.put(p.ID, p, now)
	return p, nil
}

// placed returns an order of a user.
func (t *trade) placed(id int, user string) (placed, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.orders.get(id, time.Now())
	return p, ok && p.user == user
}

// cancel forgets an order of a user, and puts what it took back.
func (t *trade) cancel(id int, user string, k Knobs) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	p, ok := t.orders.get(id, now)
	if !ok || p.user != user {
		return false
	}
	t.orders.delete(id)
	t.stock.put(p.Items, k, now)
	return true
}

// report begins a report.
func (t *trade) report(rows int) reported {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ids++
	now := time.Now()
	r := reported{id: t.ids, rows: rows, ready: now}
	if rows > smallReport {
		r.ready = now.Add(time.Duration(rows) * rowTime)
	}
	t.reports.put(r.id, r, now)
	return r
}

// reported returns a report that was begun.
func (t *trade) reported(id int) (reported, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reports.get(id, time.Now())
}
