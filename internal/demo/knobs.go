package demo

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Knobs are the truth about a shop. The zero value has no faults and no latency.
type Knobs struct {
	// Latency by endpoint, such as "GET /products"; "" is every other endpoint.
	Latency map[string]Latency `json:"latency"`
	// Delay is added to every latency.
	Delay Duration `json:"delay"`
	// ErrorRatio is the share of requests that are answered with 500, by endpoint likewise.
	ErrorRatio map[string]float64 `json:"error_ratio"`
	// LeakPerRequest is how many bytes each request leaves in memory for ever.
	LeakPerRequest int `json:"leak_bytes_per_request"`
	// Release is the release's name; Slowdown multiplies its latencies (0 is 1).
	Release  string  `json:"release"`
	Slowdown float64 `json:"slowdown"`
	// Rollouts are the releases to come, the next one first.
	Rollouts []Rollout `json:"rollouts"`
	// StallEvery and StallFor hold all requests for a while, again and again,
	// the first time when the shop opens.
	StallEvery Duration `json:"stall_every"`
	StallFor   Duration `json:"stall_for"`
	// Hang holds all requests until it is turned off.
	Hang bool `json:"hang"`
	// TokenLifetime is how long a bearer token is good (0 is for ever).
	TokenLifetime Duration `json:"token_lifetime"`
	// Stock is how much of each product there is after a delivery (0 is plenty), and RestockEvery the time between
	// deliveries (0 is a minute).
	Stock        int      `json:"stock"`
	RestockEvery Duration `json:"restock_every"`
}

// A Latency is a log-normal distribution.
type Latency struct {
	Median Duration `json:"median"`
	Sigma  float64  `json:"sigma"` // of the logarithm
}

// Quantile returns the q-quantile of the distribution, 0 < q < 1.
func (l Latency) Quantile(q float64) time.Duration {
	return l.at(math.Sqrt2 * math.Erfinv(2*q-1))
}

// at returns the latency that is z standard deviations of the logarithm away from the median.
func (l Latency) at(z float64) time.Duration {
	return time.Duration(min(float64(l.Median)*math.Exp(l.Sigma*z), float64(mostWait)))
}

// A Rollout is a release that replaces the one before it.
type Rollout struct {
	// After counts from the instant at which the knobs were set or read.
	After    Duration `json:"after"`
	Release  string   `json:"release"`
	Slowdown float64  `json:"slowdown"`
}

// A Duration is text such as "40ms" in JSON.
type Duration time.Duration

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads it.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

const milliseconds = Duration(time.Millisecond)

// Default returns the knobs of a healthy shop.
func Default() Knobs {
	return Knobs{
		Release: "v1.0.0",
		Latency: map[string]Latency{
			"":                       {20 * milliseconds, 0.4},
			"POST /auth/login":       {40 * milliseconds, 0.3},
			"GET /products":          {25 * milliseconds, 0.5},
			"GET /products/{id}":     {12 * milliseconds, 0.4},
			"POST /cart/items":       {30 * milliseconds, 0.4},
			"GET /search":            {60 * milliseconds, 0.6},
			"POST /reports/generate": {400 * milliseconds, 0.3},
			"POST /orders":           {80 * milliseconds, 0.5},
			"GET /analytics/sales":   {120 * milliseconds, 0.4},
		},
		ErrorRatio: map[string]float64{"POST /cart/items": 0.002, "POST /reports/generate": 0.01},
	}
}

const (
	// mostWait bounds the tail of a distribution, whose arithmetic would overflow.
	mostWait = time.Hour
	// mostSlowdown is far more than any release was ever slower than another.
	mostSlowdown = 1000
	// mostLeaked keeps a slip of the hand from taking the machine's memory in one request.
	mostLeaked = 64 << 20
	// mostSigma is where a log-normal distribution stops being a latency: one
	// request in a thousand takes a million times the median.
	mostSigma = 4
	// mostStock is more than anybody orders between two deliveries.
	mostStock = 1_000_000_000
)

// Validate returns everything that is wrong with the knobs of a shop.
func (k Knobs) Validate() error { return k.validate(endpointNames()) }

// validate does so for a target whose endpoints have names.
func (k Knobs) validate(names []string) error {
	known := func(name string) bool { return name == "" || slices.Contains(names, name) }
	var errs []error
	check := func(ok bool, format string, a ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	for _, e := range slices.Sorted(maps.Keys(k.Latency)) {
		l := k.Latency[e]
		check(known(e), "latency: no endpoint %q; there are %s", e, strings.Join(names, ", "))
		check(l.Median >= 0 && l.Median <= Duration(mostWait), "latency of %q: the median must be from 0 to %v, got %v", e, mostWait, time.Duration(l.Median))
		check(l.Sigma >= 0 && l.Sigma <= mostSigma, "latency of %q: sigma must be from 0 to %d, got %v", e, mostSigma, l.Sigma)
	}
	for _, e := range slices.Sorted(maps.Keys(k.ErrorRatio)) {
		check(known(e), "error_ratio: no endpoint %q; there are %s", e, strings.Join(names, ", "))
		check(k.ErrorRatio[e] >= 0 && k.ErrorRatio[e] <= 1, "error_ratio of %q: must be from 0 to 1, got %v", e, k.ErrorRatio[e])
	}
	check(k.LeakPerRequest >= 0 && k.LeakPerRequest <= mostLeaked, "leak_bytes_per_request: must be from 0 to %d, got %d", mostLeaked, k.LeakPerRequest)
	check(k.Delay >= 0 && k.Delay <= Duration(mostWait), "delay: must be from 0 to %v, got %v", mostWait, time.Duration(k.Delay))
	check(speed(k.Slowdown), "slowdown: must be from 0 to %d, got %v", mostSlowdown, k.Slowdown)
	for i, r := range k.Rollouts {
		check(r.Release != "", "rollouts[%d]: release is required", i)
		check(speed(r.Slowdown), "rollouts[%d]: slowdown must be from 0 to %d, got %v", i, mostSlowdown, r.Slowdown)
		check(r.After >= 0 && (i == 0 || r.After >= k.Rollouts[i-1].After), "rollouts[%d]: must come after the one before it, got %v", i, time.Duration(r.After))
	}
	check(k.StallEvery >= 0 && k.StallFor >= 0 && (k.StallFor == 0 || k.StallFor < k.StallEvery),
		"stall_for: must be shorter than stall_every, got %v every %v", time.Duration(k.StallFor), time.Duration(k.StallEvery))
	check(k.TokenLifetime >= 0, "token_lifetime: must not be negative, got %v", time.Duration(k.TokenLifetime))
	check(k.Stock >= 0 && k.Stock <= mostStock, "stock: must be from 0 to %d, got %d", mostStock, k.Stock)
	check(k.RestockEvery >= 0, "restock_every: must not be negative, got %v", time.Duration(k.RestockEvery))
	return errors.Join(errs...)
}

func speed(slowdown float64) bool { return slowdown >= 0 && slowdown <= mostSlowdown }

// clone returns knobs that share nothing with k.
func (k Knobs) clone() Knobs {
	k.Latency, k.ErrorRatio, k.Rollouts = maps.Clone(k.Latency), maps.Clone(k.ErrorRatio), slices.Clone(k.Rollouts)
	return k
}

// after returns the truth a while after k was it: rollouts that came due meanwhile are done.
func (k Knobs) after(d time.Duration) Knobs {
	k = k.clone()
	for len(k.Rollouts) > 0 && time.Duration(k.Rollouts[0].After) <= d {
		k.Release, k.Slowdown = k.Rollouts[0].Release, k.Rollouts[0].Slowdown
		k.Rollouts = k.Rollouts[1:]
	}
	for i := range k.Rollouts {
		k.Rollouts[i].After -= Duration(d)
	}
	return k
}
