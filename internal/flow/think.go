package flow

import (
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A Think is a pause whose length is drawn from a distribution each time.
type Think struct {
	draw func(*rand.Rand) time.Duration
	Mean time.Duration // of the distribution without its bounds
}

type normal struct {
	Mean block.Duration `yaml:"mean" block:"required" doc:"Mean."`
	SD   block.Duration `yaml:"sd" block:"required" doc:"Standard deviation."`
	Min  block.Duration `yaml:"min" doc:"Shorter draws are this long (default 0s)."`
	Max  block.Duration `yaml:"max" doc:"Longer draws are this long (default: mean plus four standard deviations)."`
}

type exponential struct {
	Mean block.Duration `yaml:"mean" block:"required" doc:"Mean."`
	Max  block.Duration `yaml:"max" doc:"Longer draws are this long (default: ten times the mean)."`
}

type distributions struct {
	Fixed       *block.Duration   `yaml:"fixed" doc:"Always the same."`
	Uniform     *[]block.Duration `yaml:"uniform" doc:"Evenly between two durations: [1s, 4s]."`
	Normal      *normal           `yaml:"normal" doc:"Normally distributed."`
	Exponential *exponential      `yaml:"exponential" doc:"Exponentially distributed."`
}

// HintOf returns the name of a distribution that other tools call otherwise.
func (*distributions) HintOf(k block.Key) string {
	switch k.Name {
	case "gaussian", "gauss", "norm":
		return "write normal: {mean: 2s, sd: 500ms}"
	case "random", "between", "range", "rand":
		return "write uniform: [1s, 4s]"
	case "constant", "exactly":
		return "write fixed: 1s, or the duration alone"
	case "poisson", "exp":
		return "write exponential: {mean: 2s}"
	case "uniform":
		return "write uniform: [1s, 4s]"
	}
	return ""
}

// HintOf returns the word for the deviation.
func (*normal) HintOf(k block.Key) string {
	switch k.Name {
	case "stddev", "std", "stdDev", "std_dev", "sigma", "deviation":
		return "write sd: 500ms, the standard deviation"
	}
	return ""
}

// DecodeBlock decodes a duration, or a mapping that names one distribution.
func (t *Think) DecodeBlock(n *block.Node, errs *block.Errors) {
	switch {
	case n.Kind == block.List:
		errs.Add(n.Pos, n.Path, "must be a duration or a distribution, got a list").Hint = "write {uniform: [1s, 4s]}"
		return
	case n.Kind != block.Map && strings.ContainsAny(n.Scalar, "(-,$"):
		errs.Add(n.Pos, n.Path, "must be a duration or a distribution, got %s", n.Found()).Hint = "write 1s, or {uniform: [1s, 4s]}"
		return
	case n.Kind != block.Map:
		var d block.Duration
		block.Decode(n, &d, errs)
		t.fix(d.D())
		return
	}
	for _, bound := range []string{"min", "max", "from", "to"} {
		if at := n.Get(bound); at != nil {
			errs.Add(n.Pos, n.Path, "has %s without a distribution", bound).Hint = "write uniform: [1s, 4s]"
			return
		}
	}
	var d distributions
	before := errs.Len()
	block.Decode(n, &d, errs)
	if errs.Len() > before {
		return
	}
	if len(n.Keys) != 1 {
		errs.Add(n.Pos, n.Path, "must name exactly one of fixed, uniform, normal and exponential, got %d", len(n.Keys))
		return
	}
	switch {
	case d.Fixed != nil:
		t.fix(d.Fixed.D())
	case d.Uniform != nil:
		u := *d.Uniform
		if len(u) != 2 || u[1] < u[0] {
			at := n.Get("uniform")
			errs.Add(at.Pos, at.Path, "must be two durations, the shorter first").Hint = "write [1s, 4s]"
			return
		}
		low, span := u[0].D(), int64(u[1]-u[0])
		t.Mean = low + time.Duration(span/2)
		t.draw = func(r *rand.Rand) time.Duration { return low + time.Duration(r.Int64N(span+1)) }
	case d.Normal != nil:
		m, sd, least, most := d.Normal.Mean.D(), d.Normal.SD.D(), d.Normal.Min.D(), d.Normal.Max.D()
		if most == 0 {
			most = m + 4*sd
		}
		if most < least {
			errs.Add(n.Pos, n.Path, "max must not be less than min")
			return
		}
		t.Mean = m
		t.draw = func(r *rand.Rand) time.Duration {
			return min(max(m+time.Duration(r.NormFloat64()*float64(sd)), least), most)
		}
	default:
		m, most := d.Exponential.Mean.D(), d.Exponential.Max.D()
		if most == 0 {
			most = time.Duration(math.Min(float64(m)*10, math.MaxInt64))
		}
		t.Mean = m
		t.draw = func(r *rand.Rand) time.Duration {
			return min(time.Duration(r.ExpFloat64()*float64(m)), most)
		}
	}
}

// ScaleBlock scales whatever is drawn.
func (t *Think) ScaleBlock(by float64) {
	draw := t.draw
	t.Mean = time.Duration(float64(t.Mean) * by)
	t.draw = func(r *rand.Rand) time.Duration { return time.Duration(float64(draw(r)) * by) }
}

func (t *Think) fix(d time.Duration) {
	t.Mean = d
	t.draw = func(*rand.Rand) time.Duration { return d }
}

// JSONSchema returns the schema of both forms.
func (Think) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{block.Schema(block.Duration(0)), block.Schema(distributions{})}}
}
