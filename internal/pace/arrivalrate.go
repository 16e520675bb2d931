package pace

import "github.com/perfd/perfd/internal/block"

// How the arrivals of the open model are spaced.
const (
	Even    = "even"    // by the rate alone
	Poisson = "poisson" // at random, as independent users arrive
)

// An arrivalRate is what the blocks of the arrival-rate executors have in common.
type arrivalRate struct {
	Arrivals        string         `yaml:"arrivals" doc:"How the arrivals of an arrival-rate executor are spaced: even, the default, or poisson."`
	PreAllocatedVUs *int           `yaml:"pre_allocated_vus" scale:"load" doc:"Virtual users that an arrival-rate executor makes before it begins; max_vus by default."`
	MaxVUs          *int           `yaml:"max_vus" scale:"load" doc:"Most virtual users that an arrival-rate executor may use, pre_allocated_vus by default, or that externally-controlled may be set to, vus by default."`
	MaxLateness     block.Duration `yaml:"max_lateness" doc:"An arrival that perfd itself is later with than this is dropped, not sent in a burst; 1s by default."`
}

func (a *arrivalRate) check(c *Checker) {
	if a.Arrivals != Even && a.Arrivals != Poisson {
		c.Fail("arrivals", "must be %s or %s, got %q", Even, Poisson, a.Arrivals)
	}
	if a.MaxVUs == nil && a.PreAllocatedVUs == nil {
		c.Fail("max_vus", "is required by %s", c.Executor).Hint = "arrivals per second times the seconds an iteration lasts, and room for slow days"
	}
	most := c.VUs("max_vus", a.MaxVUs, 1)
	first := c.VUs("pre_allocated_vus", a.PreAllocatedVUs, 1)
	if most && first && a.MaxVUs != nil && a.PreAllocatedVUs != nil && *a.PreAllocatedVUs > *a.MaxVUs {
		c.Fail("pre_allocated_vus", "must be at most max_vus (%d), got %d", *a.MaxVUs, *a.PreAllocatedVUs)
	}
	if a.MaxLateness == 0 {
		c.Fail("max_lateness", "must be more than 0")
	}
}

// complete adds to a summary what the block decides.
func (a *arrivalRate) complete(s Summary) Summary {
	first, most := a.PreAllocatedVUs, a.MaxVUs
	if first == nil {
		first = most
	}
	if most == nil {
		most = first
	}
	s.FirstVUs, s.MostVUs, s.MaxLateness = *first, *most, a.MaxLateness.D()
	return s
}

// spacing says how arrivals are spaced, where they are not even.
func (a *arrivalRate) spacing() string {
	if a.Arrivals == Poisson {
		return ", poisson arrivals"
	}
	return ""
}

func (a *arrivalRate) plan(p *profile, scenario string, seed int) Plan {
	if a.Arrivals == Poisson {
		return poisson{rates{p}, seedOf(seed, scenario)}
	}
	return even{rates: rates{p}}
}
