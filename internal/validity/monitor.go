package validity

import (
	"context"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
)

const (
	// quickest and slowest bound the time between two heartbeats, which is half of the
	// limit that they serve: a gap is measured to a heartbeat's length.
	quickest = 5 * time.Millisecond
	slowest  = 20 * time.Millisecond
	// slowly is the time between two looks at what is read from files.
	slowly = time.Second
	// step is the least jump of the wall clock against the monotonic one that counts.
	step = time.Second
	// nearlyAll is the share in use above which a resource counts as exhausted.
	nearlyAll = 0.95
)

// A Disturbance is something that disturbed the measurements of the process.
type Disturbance struct {
	By       load.Disturbance
	From, To time.Time
	// Late is for how long the process did not run when it should have; of ByGap and
	// ByThrottling. Only scenarios whose limit is shorter are disturbed.
	Late time.Duration
	// Step is how far the wall clock jumped, back if negative; of ByClock only. Plans must be anchored anew.
	Step time.Duration
}

// MonitorOptions of a Monitor.
type MonitorOptions struct {
	// Timeline takes the heartbeat and the disturbances. It is required.
	Timeline *Timeline
	// Limit returns the smallest limit of all scenarios; nil is the usual one.
	Limit func() time.Duration
	// Disturbed is called with each disturbance, one at a time, after the timeline has
	// it. It must not call the monitor.
	Disturbed func(Disturbance)
	// Root is where proc and sys are found (default "/"). What is missing there is not watched.
	Root string
	// NoPorts counts connects that failed for want of a local port (EADDRNOTAVAIL); nil if nobody counts them.
	NoPorts func() uint64
	// Hold is called before each look; a test that stalls perfd in fake time sleeps in it. nil does nothing.
	Hold func()
}

// A Monitor watches the process, its limits and its clock.
type Monitor struct {
	o     MonitorOptions
	clock func() (now time.Time, wall time.Duration) // wall runs with now's wall reading, and jumps with it

	mu        sync.Mutex // one look at a time
	last      time.Time
	wall      time.Duration
	every     time.Duration // from the last look to the next
	throttled time.Duration // by the last reading of cpuStats

	cpuStats []string // files
	slow     slowLook
}

// A slowLook is what the last slow look found.
type slowLook struct {
	at      time.Time
	noPorts uint64
}

// NewMonitor returns a monitor of what happens from now on. It starts nothing.
func NewMonitor(o MonitorOptions) *Monitor {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Limit == nil {
		o.Limit = func() time.Duration { return usual }
	}
	m := &Monitor{o: o, clock: clock}
	m.last, m.wall = m.clock()
	m.every = m.period()
	m.cpuStats = findCPUStats(o.Root)
	m.throttled = throttled(m.cpuStats)
	m.slow.at = m.last
	if o.NoPorts != nil {
		m.slow.noPorts = o.NoPorts()
	}
	return m
}

func clock() (time.Time, time.Duration) {
	now := time.Now()
	return now, time.Duration(now.UnixNano())
}

// period is the time from one heartbeat to the next.
func (m *Monitor) period() time.Duration { return min(max(m.o.Limit()/2, quickest), slowest) }

// Run watches until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { m.beat(ctx) })
	// Reading files may take long, and must not pass for a stall.
	both.Go(func() {
		ticker := time.NewTicker(slowly)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				m.lookSlowly()
			}
		}
	})
	both.Wait()
}

// beat looks at the clocks until ctx ends. Each heartbeat is due a period after the
// one before, so that a late one is not followed by an early one.
func (m *Monitor) beat(ctx context.Context) {
	defer m.o.Timeline.silence()
	m.mu.Lock()
	m.last, m.wall = m.clock() // nobody was measured before
	m.mu.Unlock()
	timer := time.NewTimer(m.Look())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(m.Look())
		}
	}
}

// Look reports a gap or a step of the clock since the last look, and returns when to
// look again. Run calls it all the time. A window is judged after one more call:
// after a stall, its goroutine may run before Run's.
func (m *Monitor) Look() (next time.Duration) {
	if m.o.Hold != nil {
		m.o.Hold()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, wall := m.clock()
	last, passed := m.last, now.Sub(m.last)
	jumped := wall - m.wall - passed
	if late := passed - m.every; late > m.o.Limit() {
		m.disturbed(Disturbance{By: m.cause(), From: last, To: now, Late: late})
		// What disturbed calls may take long, which is no gap.
		now, wall = m.clock()
	}
	m.last, m.wall, m.every = now, wall, m.period()
	m.o.Timeline.expect(now.Add(m.every))
	if jumped > step || jumped < -step {
		// Results of the following second may still carry times from before the step.
		m.disturbed(Disturbance{By: load.ByClock, From: last, To: now.Add(slowly), Step: jumped})
	}
	return m.every
}

// cause tells a gap in which the kernel held back CPU time from another.
func (m *Monitor) cause() load.Disturbance {
	before := m.throttled
	if m.throttled = throttled(m.cpuStats); m.throttled > before {
		return load.ByThrottling
	}
	return load.ByGap
}

func (m *Monitor) disturbed(d Disturbance) {
	m.o.Timeline.add(d)
	m.o.Disturbed(d)
}

// lookSlowly looks at what the process may use. A resource that is nearly used up
// disturbs until the next look.
func (m *Monitor) lookSlowly() {
	now, _ := m.clock()
	before := m.slow
	m.slow.at = now
	if m.o.NoPorts != nil {
		m.slow.noPorts = m.o.NoPorts()
	}
	found := [...]struct {
		by load.Disturbance
		is bool
	}{
		{load.ByDescriptors, nearlyOut(descriptors(m.o.Root))},
		{load.ByPorts, m.slow.noPorts > before.noPorts || nearlyOut(ports(m.o.Root))},
	}
	throttled := throttled(m.cpuStats)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.throttled = throttled
	for _, f := range found {
		if f.is {
			m.disturbed(Disturbance{By: f.by, From: before.at, To: now.Add(slowly)})
		}
	}
}

// nearlyOut reports whether nearly all of a resource is in use; all is 0 where it is unknown.
func nearlyOut(used, all int) bool { return all > 0 && float64(used) >= nearlyAll*float64(all) }
