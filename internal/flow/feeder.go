package flow

import (
	"errors"
	"maps"
	"slices"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/feeder"
	"github.com/perfd/perfd/internal/load"
)

// A feed is a name of data that a flow reads, or takes rows of.
type feed struct {
	index int // in Program.feeds
	slot  int
	from  *feeder.Feeder
	each  bool // a row is dealt when an iteration begins
	steps bool // rows are dealt by steps, before any that reads one
}

// feeds adds the feeds of the names that the flow reads. Where the first step that
// has to do with a name takes a row of it, none is dealt when an iteration begins.
func (k *compiler) feeds(read []string) {
	for _, name := range slices.Sorted(maps.Keys(k.o.Data)) {
		if slices.Contains(read, name) {
			f := k.feed(name)
			f.each = !f.steps
		}
	}
}

// feed returns the feed of a name of data.
func (k *compiler) feed(name string) *feed {
	from := k.o.Data[name]
	for _, f := range k.p.feeds {
		if f.from == from {
			return f
		}
	}
	f := &feed{index: len(k.p.feeds), slot: k.root.Declare(name, expr.Object), from: from}
	k.p.feeds = append(k.p.feeds, f)
	return f
}

// dealer returns what deals a feeder's rows to the run. The caller holds mu.
func (rt *Runtime) dealer(f *feeder.Feeder) *feeder.Dealer {
	if rt.Pair != nil && rt.Arrival != nil {
		return rt.Pair.dealer(f, rt)
	}
	d := rt.dealers[f]
	if d == nil {
		if rt.dealers == nil {
			rt.dealers = map[*feeder.Feeder]*feeder.Dealer{}
		}
		d = f.Dealer(rt.Seed, rt.Shard, rt.Shards)
		rt.dealers[f] = d
	}
	return d
}

// deal sets the variable of a feed to its next row.
func (v *VU) deal(f *feed) error {
	var row expr.Value
	var err error
	if d := v.common.dealers[f.index]; v.rt.Pair != nil && v.rt.Arrival != nil && d.InTurn() {
		v.takes++
		row, err = d.Deal(v.rt.Pair.turn(turnKey{d, v.paired, v.takes}), v.global(), &v.rand)
	} else {
		row, err = d.Next(v.global(), &v.rand)
	}
	if err != nil {
		return err
	}
	v.scope.Set(f.slot, row)
	return nil
}

// dealEach deals the rows of an iteration that begins. It returns false where there are no more.
func (v *VU) dealEach() bool {
	v.noRow = nil
	for _, f := range v.p.feeds {
		if !f.each {
			continue
		}
		switch err := v.deal(f); {
		case errors.Is(err, feeder.ErrEnd):
			v.rt.spent.Store(true)
			return false
		case err != nil:
			v.noRow = err
		}
	}
	return true
}

// withoutRow ends the iteration for want of a row: it fails, unless the rows have come to their end.
func (v *VU) withoutRow(err error) {
	if errors.Is(err, feeder.ErrEnd) {
		v.rt.spent.Store(true)
		v.interrupted()
		return
	}
	// A row belongs to no request: it counts for the next one, so that rates of failures show it.
	step := &v.p.steps[v.p.near(v.pc)]
	now := int64(v.rt.Now())
	r := load.Result{
		Step: step.index, Due: min(int64(v.due), now), Sent: now, Done: now, Cause: load.Input, Trace: v.traceID, Sampled: v.sampled,
	}
	v.rt.Sink.Record(v.users[step.target].ID, &r)
	if v.rt.Failed != nil {
		v.rt.Failed(v.p.Steps[step.index].Label, v.p.targets[step.target], &r, err)
	}
	if v.failure == load.None {
		v.failure = r.Cause
	}
	v.stop()
}
