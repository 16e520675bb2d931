package pace

import "time"

// rates is what the plans of the open model share.
type rates struct{ *profile }

func (r rates) At(t time.Duration) Level {
	if t < 0 {
		return Level{}
	}
	if t >= r.end {
		return Level{Stage: r.stages, Until: Forever}
	}
	at := r.locate(t)
	s := at.segment()
	perNanosecond := s.levelAt(at.since(t)) / float64(r.scale)
	return Level{Rate: perNanosecond * float64(time.Second), Stage: s.stage, Until: min(at.ends(), r.end)}
}

func (r rates) Count(from, to time.Duration) float64 {
	return r.areaAt(to).difference(r.areaAt(from)) / 2 / float64(r.scale)
}
