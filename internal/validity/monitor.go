package validity

import (
	"context"
	"sync"
	"time"
)

const (
	// lookEvery is the time between two looks at the clocks. A look that is late
	// by more than gap means that the process did not run.
	lookEvery = 20 * time.Millisecond
	gap       = 100 * time.Millisecond
	// slowly is the time between two looks at what is read from files.
	slowly = time.Second
	// step is the least jump of the wall clock against the monotonic one that counts.
	step = time.Second
	// throttledShare is the share of throttled time above which one request in a hundred is delayed by it.
	throttledShare = 0.01
	// nearlyAll is the share in use above which a resource counts as exhausted.
	nearlyAll = 0.95
)

// A Disturbance is something that disturbed every measurement of the process.
type Disturbance struct {
	Reason   Reason
	From, To time.Time
	// Step is how far the wall clock jumped, back if negative; of Clock only. Plans must be anchored anew.
	Step time.Duration
}

// MonitorOptions of a Monitor.
type MonitorOptions struct {
	// Disturbed is called with each disturbance, one at a time. It must not call the monitor.
	Disturbed func(Disturbance)
	// Root is where proc and sys are found (default "/"). What is missing there is not watched.
	Root string
	// NoPorts counts connects that failed for want of a local port (EADDRNOTAVAIL); nil if nobody counts them.
	NoPorts func() uint64
}

// A Monitor watches the process, its limits and its clock.
type Monitor struct {
	o     MonitorOptions
	clock func() (now time.Time, wall time.Duration) // wall runs with now's wall reading, and jumps with it

	mu   sync.Mutex // one look at a time
	last time.Time
	wall time.Duration
	slow slowLook
}

// A slowLook is what the last slow look found.
type slowLook struct {
	at        time.Time
	throttled time.Duration
	noPorts   uint64
	cpuStats  []string // files
}

// NewMonitor returns a monitor of what happens from now on. It starts nothing.
func NewMonitor(o MonitorOptions) *Monitor {
	if o.Root == "" {
		o.Root = "/"
	}
	m := &Monitor{o: o, clock: clock}
	m.last, m.wall = m.clock()
	m.slow = slowLook{at: m.last, cpuStats: findCPUStats(o.Root)}
	m.slow.throttled = throttled(m.slow.cpuStats)
	if o.NoPorts != nil {
		m.slow.noPorts = o.NoPorts()
	}
	return m
}

func clock() (time.Time, time.Duration) {
	now := time.Now()
	return now, time.Duration(now.UnixNano())
}

// Run watches until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { every(ctx, lookEvery, m.Look) })
	// Reading files may take long, and must not pass for a stall.
	both.Go(func() { every(ctx, slowly, m.lookSlowly) })
	both.Wait()
}

func every(ctx context.Context, d time.Duration, do func()) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

// Look reports a stall or a step of the clock since the last look to Disturbed.
// Run calls it all the time. A window is judged after one more call: after a
// stall, its goroutine may run before Run's.
func (m *Monitor) Look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, wall := m.clock()
	last, passed := m.last, now.Sub(m.last)
	jumped := wall - m.wall - passed
	m.last, m.wall = now, wall
	if passed-lookEvery > gap {
		m.o.Disturbed(Disturbance{Reason: PacerGap, From: last, To: now})
	}
	if jumped > step || jumped < -step {
		// Results of the following second may still carry times from before the step.
		m.o.Disturbed(Disturbance{Reason: Clock, From: last, To: now.Add(slowly), Step: jumped})
	}
}

// lookSlowly looks at what the process may use.
func (m *Monitor) lookSlowly() {
	now, _ := m.clock()
	before := m.slow
	m.slow.at = now
	m.slow.throttled = throttled(before.cpuStats)
	if m.o.NoPorts != nil {
		m.slow.noPorts = m.o.NoPorts()
	}
	found := [...]struct {
		reason Reason
		is     bool
	}{
		{Throttled, float64(m.slow.throttled-before.throttled) >= throttledShare*float64(now.Sub(before.at))},
		{Descriptors, nearlyOut(descriptors(m.o.Root))},
		{Ports, m.slow.noPorts > before.noPorts || nearlyOut(ports(m.o.Root))},
	}
	for _, f := range found {
		if f.is {
			m.mu.Lock()
			m.o.Disturbed(Disturbance{Reason: f.reason, From: before.at, To: now})
			m.mu.Unlock()
		}
	}
}

// nearlyOut reports whether nearly all of a resource is in use; all is 0 where it is unknown.
func nearlyOut(used, all int) bool { return all > 0 && float64(used) >= nearlyAll*float64(all) }
