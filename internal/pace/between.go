package pace

import "time"

// Between returns the integral of a plan's level from one time to another, in iterations
// or in VU seconds, and the highest level between them.
func Between(p Plan, from, to time.Duration) (area, peak float64) {
	from = max(0, from)
	open, isOpen := p.(Open)
	if isOpen && from < to {
		area = open.Count(from, to)
	}
	at := func(t time.Duration) float64 {
		l := p.At(t)
		peak = max(peak, l.Rate, float64(l.VUs))
		return float64(l.VUs)
	}
	// Where levels change too often they are sampled.
	const mostSteps, samples = 4096, 512
	t := from
	for range mostSteps {
		if t >= to {
			return area, peak
		}
		until := min(p.At(t).Until, to)
		area += at(t) * (until - t).Seconds()
		at(until - 1) // the end of a slope
		t = until
	}
	for i := range time.Duration(samples) {
		begin, end := t+(to-t)/samples*i, t+(to-t)/samples*(i+1)
		area += at(begin+(end-begin)/2) * (end - begin).Seconds()
	}
	return area, peak
}
