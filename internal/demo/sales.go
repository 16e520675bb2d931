package demo

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

const (
	// soldEver is how many sales the shop's books hold.
	soldEver = 50_000
	daysSold = 365
	// band is how wide a group of prices is.
	band = 25
)

// A sale is a line of the shop's books.
type sale struct {
	product product
	units   int
	day     int // ago
}

// saleOf returns the i-th sale. The books are the same in every shop and take no memory: a sale is made from its number.
func saleOf(i int) sale {
	// SplitMix64, Steele, Lea and Flood 2014.
	x := uint64(i+1) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return sale{catalogue[x%Products], int(1 + x>>16%5), int(x >> 32 % daysSold)}
}

// A salesQuery says which sales to add up, and how.
type salesQuery struct {
	groupBy  string
	metric   string // that orders the groups
	days     int
	category string // "" for all
	minPrice float64
	limit    int // of groups
	rows     int // of the books that are read
}

// A salesGroup is what sales of one kind add up to.
type salesGroup struct {
	Key     string  `json:"key"`
	Revenue float64 `json:"revenue"`
	Units   int     `json:"units"`
	Sales   int     `json:"sales"`
	Average float64 `json:"average"` // revenue of a sale
	Share   float64 `json:"share"`   // of the revenue of all groups
}

var (
	salesKeys = map[string]func(sale) string{
		"category": func(s sale) string { return s.product.Category },
		"product":  func(s sale) string { return s.product.Name },
		"month":    func(s sale) string { return strconv.Itoa(s.day/30) + " months ago" },
		"price": func(s sale) string {
			from := int(s.product.Price) / band * band
			return fmt.Sprintf("%d to %d", from, from+band)
		},
	}
	salesMetrics = map[string]func(salesGroup) float64{
		"revenue": func(g salesGroup) float64 { return g.Revenue },
		"units":   func(g salesGroup) float64 { return float64(g.Units) },
		"sales":   func(g salesGroup) float64 { return float64(g.Sales) },
		"average": func(g salesGroup) float64 { return g.Average },
	}
)

// add adds the books up, the greatest groups first.
func (q salesQuery) add() (groups []salesGroup, revenue float64, sales int) {
	key, at := salesKeys[q.groupBy], map[string]int{}
	groups = []salesGroup{}
	for i := range q.rows {
		s := saleOf(i)
		if s.day >= q.days || s.product.Price < q.minPrice || q.category != "" && s.product.Category != q.category {
			continue
		}
		k := key(s)
		n, ok := at[k]
		if !ok {
			n = len(groups)
			at[k] = n
			groups = append(groups, salesGroup{Key: k})
		}
		value := s.product.Price * float64(s.units)
		groups[n].Revenue += value
		groups[n].Units += s.units
		groups[n].Sales++
		revenue += value
		sales++
	}
	for i, g := range groups {
		groups[i].Average, groups[i].Share = g.Revenue/float64(g.Sales), g.Revenue/revenue
	}
	order := salesMetrics[q.metric]
	slices.SortFunc(groups, func(a, b salesGroup) int { return cmp.Or(cmp.Compare(order(b), order(a)), cmp.Compare(a.Key, b.Key)) })
	return groups[:min(q.limit, len(groups))], revenue, sales
}

// salesQueryOf reads a query from the parameters of a request.
func salesQueryOf(r *http.Request) (salesQuery, error) {
	q := salesQuery{groupBy: "category", metric: "revenue", days: daysSold, category: r.FormValue("category"), limit: limit(r, 10), rows: soldEver}
	var errs []error
	if v := r.FormValue("group_by"); v != "" {
		q.groupBy = v
	}
	if salesKeys[q.groupBy] == nil {
		errs = append(errs, fmt.Errorf("group_by: must be category, product, month or price, got %q", q.groupBy))
	}
	if v := r.FormValue("metric"); v != "" {
		q.metric = v
	}
	if salesMetrics[q.metric] == nil {
		errs = append(errs, fmt.Errorf("metric: must be revenue, units, sales or average, got %q", q.metric))
	}
	if v := r.FormValue("days"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > daysSold {
			errs = append(errs, fmt.Errorf("days: must be from 1 to %d, got %q", daysSold, v))
		}
		q.days = n
	}
	if v := r.FormValue("min_price"); v != "" {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || !(n >= 0) {
			errs = append(errs, fmt.Errorf("min_price: must be a number from 0, got %q", v))
		}
		q.minPrice = n
	}
	return q, errors.Join(errs...)
}
