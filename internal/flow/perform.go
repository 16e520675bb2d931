package flow

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
)

// A state is what a VU keeps for the constructs of its program: those without any do not pay for it.
type state struct {
	begun    time.Duration // when the iteration was due
	idle     time.Duration // that the iteration spent thinking
	paced    bool          // the rest of the iteration's pace was waited for
	attempts attempts
	loops    []loopState              // by loop
	groups   []groupState             // by group
	open     []int                    // where the groups under way began, the innermost last
	once     []bool                   // which once_per_vu are done
	branches atomic.Pointer[branches] // nil before the first parallel; of a branch never nil
}

// A loopState is where a VU is in a loop.
type loopState struct {
	made  int // passes that began
	most  int
	items []expr.Value  // of each
	until time.Duration // of during
	next  time.Duration // when the pace allows the next pass
}

// A groupState is where a VU is in a group.
type groupState struct {
	begun, idle time.Duration // of the VU when the group began
	before      load.Cause    // the failure before the group began
}

// near is the step that a failure names if the instruction at a place that fails is no request: the next one, or else
// the first.
func (p *Program) near(at int) int {
	for _, next := range p.code[at:] {
		if next.code == opRequest {
			return next.n
		}
	}
	return 0
}

// perform performs an instruction that is no request. It returns when the VU goes on, 0 for at once.
func (v *VU) perform(o *op) (wake time.Duration) {
	switch o.code {
	case opThink:
		if d := o.think.draw(&v.rand); d > 0 {
			v.due += d
			if v.inner != nil {
				v.inner.idle += d
			}
			return v.due
		}
	case opSet:
		v.assign(o.set)
	case opNext:
		if err := v.deal(o.feed); err != nil {
			v.withoutRow(err)
		}
	case opUnless:
		if holds, err := o.test.Holds(&v.scope); err != nil {
			v.fault(load.Extract, fmt.Errorf("when: %w", err))
		} else if !holds {
			v.pc = o.to
		}
	case opChance:
		if v.rand.Float64() >= o.share {
			v.pc = o.to
		}
	case opChoose:
		v.pc = o.pick.choose(v.rand.Float64())
	case opJump:
		v.pc = o.to
	case opLoop:
		if err := v.beginLoop(o.loop); err != nil {
			v.fault(load.Extract, fmt.Errorf("repeat: %w", err))
		}
	case opPass:
		return v.pass(o)
	case opGroup:
		v.inner.groups[o.group] = groupState{v.due, v.inner.idle, v.failure}
		v.inner.open = append(v.inner.open, v.pc-1)
		v.failure = load.None
	case opGroupEnd:
		v.endGroup(v.inner.open[len(v.inner.open)-1])
	case opFork:
		v.fork(o)
	case opOnce:
		if v.inner.once[o.n] {
			v.pc = o.to
		}
	case opOnceEnd:
		v.inner.once[o.n] = true
	case opCleanUp:
		if v.rt.Left != nil {
			v.rt.Left(Remnant{o.cleanup.program, slices.Clone(v.scope.Vars), o.cleanup.keep, o.cleanup.limit})
		}
	case opAdd:
		v.add(o.add)
	case opStop:
		v.quit = true
		v.leaveGroups()
		v.pc = v.end
	case opFail:
		text, err := o.text.Append(nil, &v.scope)
		if err != nil {
			v.fault(load.Input, err)
			return 0
		}
		v.fault(load.Expect, &failure{string(text)})
	case opRequest:
	}
	return 0
}

// A failure is what a fail of the flow says.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }

func (v *VU) assign(a *assignment) {
	var value expr.Value
	if a.json != nil {
		text, err := a.json.Append(nil, &v.scope)
		if err != nil {
			v.fault(load.Input, err)
			return
		}
		value = expr.FromJSON(string(text))
	} else {
		value = a.value.Value(&v.scope)
	}
	if err := value.Err(); err != nil {
		v.fault(load.Extract, fmt.Errorf("set: %w", err))
		return
	}
	v.scope.Set(a.slot, value)
}

// choose returns where a draw from [0, 1) leads.
func (c *choice) choose(draw float64) int {
	for i, upTo := range c.upTo {
		if draw < upTo {
			return c.to[i]
		}
	}
	return c.to[len(c.to)-1]
}

// passes returns how many passes there are to be, and the items of each.
func passes(s *expr.Scope, count, each *expr.Expression, atMost int) (most int, items []expr.Value, err error) {
	most = atMost
	switch {
	case count != nil:
		most, err = count.Count(s)
	case each != nil:
		items, err = each.List(s)
		most = len(items)
	}
	return min(most, atMost), items, err
}

func (v *VU) beginLoop(l *loop) (err error) {
	st := &v.inner.loops[l.index]
	*st = loopState{until: v.due + l.during}
	st.most, st.items, err = passes(&v.scope, l.count, l.each, l.atMost)
	return err
}

// pass begins the next pass of a loop, or leaves it. It returns when the pass begins, 0 for at once.
func (v *VU) pass(o *op) (wake time.Duration) {
	l, st := o.loop, &v.inner.loops[o.loop.index]
	// A pass that waits for its pace comes here again.
	if l.pace > 0 && st.made > 0 && v.due < st.next {
		v.inner.idle += st.next - v.due
		v.due = st.next
		v.pc--
		return v.due
	}
	over := st.made >= st.most || l.during > 0 && v.due >= st.until
	if !over && l.while != nil {
		holds, err := l.while.Holds(&v.scope)
		if err != nil {
			v.fault(load.Extract, fmt.Errorf("repeat while: %w", err))
			return 0
		}
		over = !holds
	}
	if over {
		st.items = nil
		v.pc = o.to
		return 0
	}
	if l.item >= 0 {
		v.scope.Set(l.item, st.items[st.made])
	}
	st.made++
	st.next = v.due + l.pace
	if l.pass >= 0 {
		v.scope.Set(l.pass, expr.Num(float64(st.made)))
	}
	return 0
}

// leaveGroups leaves the groups under way, as one does whose iteration stops and has not failed. Those in which a request
// failed are recorded; the others have no end to measure.
func (v *VU) leaveGroups() {
	s := v.inner
	for len(s.open) > 0 {
		at := s.open[len(s.open)-1]
		if v.failure != load.None {
			v.endGroup(at)
			continue
		}
		s.open = s.open[:len(s.open)-1]
		v.failure = s.groups[v.p.code[at].group].before
	}
}

// endGroup records the group that began at an instruction. It took as long as its requests and the time between them,
// without thinking.
func (v *VU) endGroup(at int) {
	v.inner.open = v.inner.open[:len(v.inner.open)-1]
	g := v.p.code[at].group
	st := &v.inner.groups[g]
	if r := (load.Result{
		Step: v.p.groupSteps[g], Due: int64(st.begun), Sent: int64(st.begun), Done: int64(v.due - (v.inner.idle - st.idle)),
		Cause: v.failure, Trace: v.traceID, Sampled: v.sampled,
	}); r.Done > r.Sent {
		v.rt.Sink.Record(v.users[0].ID, &r)
	}
	if st.before != load.None {
		v.failure = st.before
	}
}
