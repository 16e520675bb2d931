package engine

import (
	"sync"
	"sync/atomic"
	"time"
)

// A seat is the place of one VU. It outlives the VU: an interrupted VU is closed
// and another takes its seat when it is needed.
//
// The state also says who owns the seat's plain fields: a worker in opening,
// active and condemned, the loop in all others. An owner hands a seat over with
// an atomic operation after its last write: a change of state, or a push to the
// inbox, through which seats come to rest (thinking, waiting, missing).
//
//	state      next       who, when
//	vacant     opening    loop: a turn for a seat without VU
//	                      worker: the seat it just vacated is wanted again (closed plan)
//	           free       loop: made before the first arrival (open plan)
//	opening    active     worker: the VU is made
//	           missing    worker: it could not be made (closed plan)
//	           vacant     worker: it could not be made (open plan), or is no longer wanted
//	           condemned  loop: pause, end of a grace, Kill
//	free       active     loop: an arrival (open plan)
//	           vacant     loop: the run is over
//	active     active     worker: the next iteration begins at once (closed plan)
//	           free       worker: the iteration ended, or was too late to begin (open plan)
//	           thinking   worker: Go returned a wake time in mid-iteration
//	           waiting    worker: the next iteration was not admitted (closed plan)
//	           condemned  loop: pause, end of a grace, Kill
//	                      worker: the plan has no more turns for the seat (closed plan)
//	thinking   active     loop: its wake time has come
//	waiting    active     loop: its wake time has come
//	missing    opening    loop: its wake time has come
//	the three  vacant     loop: pause, end of a grace, Kill; waiting and missing also when the plan has no more turns
//	           condemned  loop: likewise, as long as the seat is in the loop's inbox
//	condemned  vacant     worker, or the loop where it finds the seat in its inbox
type seat struct {
	vu   VU
	next *seat // of the stack it is in
	// index counts the shard's seats from 0; it is the id of each VU that sits here.
	index int
	state atomic.Uint32
	begun bool // in mid-iteration

	wake       time.Duration // when a rest ends
	due, start time.Duration // of the iteration that is under way or comes next
	sitOut     time.Duration // how long it waits when the next iteration is not admitted
	leave      time.Duration // end of the grace of a ramp-down, 0 for none; the loop's in all states

	started atomic.Uint64 // iterations of all VUs that sat here
}

// The states of a seat.
const (
	vacant uint32 = iota
	opening
	free
	active
	thinking
	waiting
	missing
	condemned
)

func (s *seat) link() **seat              { return &s.next }
func (s *seat) is(state uint32) bool      { return s.state.Load() == state }
func (s *seat) move(from, to uint32) bool { return s.state.CompareAndSwap(from, to) }

// seats are all seats of an engine. Only the loop adds to them, so it alone may
// read the list without the lock.
type seats struct {
	mu  sync.Mutex
	all []*seat
}

// add makes the next seat.
func (l *seats) add() *seat {
	s := &seat{index: len(l.all)}
	l.mu.Lock()
	l.all = append(l.all, s)
	l.mu.Unlock()
	return s
}

func (l *seats) count(st *Stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		st.Started += s.started.Load()
		switch s.state.Load() {
		case free, waiting:
			st.VUs++
		case active, condemned:
			st.VUs++
			st.Busy++
		case thinking:
			st.VUs++
			st.Busy++
			st.Thinking++
		}
	}
}
