package engine

import (
	"sync"
	"sync/atomic"
	"time"
)

// A slot is the place of one VU. It outlives the VU: an interrupted VU is closed
// and another takes its slot when it is needed.
//
// The state also says who owns the slot's plain fields: a worker in opening,
// active and interrupted, the loop in all others. An owner hands a slot over with
// an atomic operation after its last write: a change of state, or a push to the
// inbox for the states in which a slot rests (thinking, waiting, missing).
//
//	state        next         who, when
//	vacant       opening      loop: a turn for a slot without VU
//	                          worker: the slot it just vacated is wanted again (closed plan)
//	             missing      loop: a turn that comes later, because many begin at once (closed plan)
//	             free         loop: made before the first arrival (open plan)
//	opening      active       worker: the VU is made
//	             missing      worker: it could not be made (closed plan)
//	             vacant       worker: it could not be made (open plan), or is not wanted any more
//	             interrupted  loop: pause, end of a grace, Kill
//	free         active       loop: an arrival (open plan)
//	             vacant       loop: the run is over
//	active       active       worker: the next iteration begins at once (closed plan)
//	             free         worker: the iteration ended, or was too late to begin (open plan)
//	             thinking     worker: Go returned a wake time in mid-iteration
//	             waiting      worker: the next iteration was not admitted (closed plan)
//	             interrupted  loop: pause, end of a grace, Kill
//	                          worker: the plan has no more turns for the slot (closed plan)
//	thinking     active       loop: its wake time was reached
//	waiting      active       loop: its wake time was reached
//	missing      opening      loop: its wake time was reached
//	the three    vacant       loop: pause, end of a grace, Kill; waiting and missing also when the plan has no more turns
//	             interrupted  loop: likewise, as long as the slot is in the loop's inbox
//	interrupted  vacant       worker, or the loop where it finds the slot in its inbox
type slot struct {
	vu   VU
	next *slot // of the stack it is in
	// index counts the shard's slots from 0; it is the id of each VU that the slot has.
	index int
	state atomic.Uint32
	begun bool // in mid-iteration

	wake       time.Duration // when a rest ends
	due, start time.Duration // of the iteration that is under way or comes next
	sitOut     time.Duration // how long it waits when the next iteration is not admitted
	leave      time.Duration // end of the grace of a ramp-down, 0 for none; the loop's in all states

	started atomic.Uint64 // iterations that started on all VUs of the slot
}

// The states of a slot.
const (
	vacant uint32 = iota
	opening
	free
	active
	thinking
	waiting
	missing
	interrupted
)

func (s *slot) link() **slot              { return &s.next }
func (s *slot) is(state uint32) bool      { return s.state.Load() == state }
func (s *slot) move(from, to uint32) bool { return s.state.CompareAndSwap(from, to) }

// slots are all slots of an engine. Only the loop adds to the list, and only the
// loop may read it without the lock.
type slots struct {
	mu  sync.Mutex
	all []*slot
}

// add makes the next slot.
func (l *slots) add() *slot {
	s := &slot{index: len(l.all)}
	l.mu.Lock()
	l.all = append(l.all, s)
	l.mu.Unlock()
	return s
}

// count adds up what the slots do.
func (l *slots) count(st *Stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		st.Started += s.started.Load()
		switch s.state.Load() {
		case free, waiting:
			st.VUs++
		case active, interrupted:
			st.VUs++
			st.Busy++
		case thinking:
			st.VUs++
			st.Busy++
			st.Thinking++
		}
	}
}
