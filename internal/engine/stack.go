package engine

import "sync/atomic"

// A stack is a list that any number of goroutines push to and one goroutine at a
// time takes from, without a lock. With a single taker no node can be removed and
// pushed again between the taker's two reads of the head (the ABA problem).
//
// It fills a cache line of its own, so that two stacks do not share one.
type stack[T any, P linked[T]] struct {
	head atomic.Pointer[T]
	_    [64 - 8]byte
}

// A linked node has room for the link of one stack at a time.
type linked[T any] interface {
	*T
	link() **T
}

func (s *stack[T, P]) push(x *T) {
	for {
		head := s.head.Load()
		*P(x).link() = head
		if s.head.CompareAndSwap(head, x) {
			return
		}
	}
}

// pop returns nil when the stack is empty.
func (s *stack[T, P]) pop() *T {
	for {
		head := s.head.Load()
		if head == nil || s.head.CompareAndSwap(head, *P(head).link()) {
			return head
		}
	}
}

// take empties the stack and returns its top; the nodes stay linked.
func (s *stack[T, P]) take() *T {
	if s.head.Load() == nil {
		return nil
	}
	return s.head.Swap(nil)
}
