package wire

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// A Poller waits for many streams at once, in one goroutine: a stream that nobody reads costs no goroutine while it is
// idle. It is safe for concurrent use. Streams over TLS cannot be waited for, whose bytes are read before they are known to be a whole
// record.
type Poller struct {
	waiter
	places [maxPlaces]atomic.Pointer[places] // of watches, by descriptor
	done   chan struct{}

	mu  sync.Mutex
	due timers
}

const (
	placesEach = 256
	maxPlaces  = 1 << 12 // a million descriptors, which is more than Linux lets a process have unless it is asked
)

type places [placesEach]atomic.Pointer[Watch]

// A Watch is the place of one stream in a Poller. Its owner is who waits for the stream.
type Watch struct {
	// Ready is called in the poller's goroutine, when something can be read or when the watch is due. It must not wait. It may
	// be called once more after Unwatch, and for the sake of another stream with the same descriptor.
	Ready func()

	fd    int
	at    time.Time // when it is due
	place int       // in timers, from 1; 0 for none
}

// NewPoller returns a poller, where the platform has one.
func NewPoller() (*Poller, error) {
	p := &Poller{done: make(chan struct{})}
	if err := p.open(); err != nil {
		return nil, err
	}
	go p.run()
	return p, nil
}

// Close ends the poller's goroutine. Nobody may watch or unwatch any more.
func (p *Poller) Close() error {
	err := p.waiter.Close()
	<-p.done
	return err
}

func (p *Poller) run() {
	defer close(p.done)
	for {
		list, err := p.wait()
		if err != nil {
			return
		}
		for _, fd := range list {
			if w := p.at(int(fd)); w != nil {
				w.Ready()
			}
		}
		for w := p.next(); w != nil; w = p.next() {
			w.Ready()
		}
	}
}

// at returns the watch of a descriptor, nil for none.
func (p *Poller) at(fd int) *Watch {
	if all := p.places[fd/placesEach].Load(); all != nil {
		return all[fd%placesEach].Load()
	}
	return nil
}

// Watchable reports whether a poller can wait for the stream now.
func (s *Stream) Watchable() bool { return s.nc != nil && s.tls == nil && s.stopped() == nil }

// Watch calls w.Ready whenever the stream, which is Watchable, can be read, until Unwatch.
func (p *Poller) Watch(s *Stream, w *Watch) error {
	if w.fd = s.fd; w.fd >= placesEach*maxPlaces {
		return errNoPlace
	}
	all := &p.places[w.fd/placesEach]
	if all.Load() == nil {
		all.CompareAndSwap(nil, &places{})
	}
	all.Load()[w.fd%placesEach].Store(w)
	if err := p.add(w.fd); err != nil {
		all.Load()[w.fd%placesEach].Store(nil)
		return err
	}
	return nil
}

// Unwatch ends a watch of a stream that is open.
func (p *Poller) Unwatch(w *Watch) {
	p.remove(w.fd)
	p.places[w.fd/placesEach].Load()[w.fd%placesEach].CompareAndSwap(w, nil)
	p.SetDue(w, time.Time{})
}

// SetDue has w.Ready called at an instant, in place of the one that was set; the zero time is none.
func (p *Poller) SetDue(w *Watch, at time.Time) {
	if at.IsZero() && w.at.IsZero() { // both are the owner's
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.at = at; w.place > 0 {
		if at.IsZero() {
			heap.Remove(&p.due, w.place-1)
		} else {
			heap.Fix(&p.due, w.place-1)
		}
	} else if !at.IsZero() {
		heap.Push(&p.due, w)
	}
	if w.place == 1 {
		p.wake(w.at)
	}
}

// next returns a watch that is due, nil for none.
func (p *Poller) next() *Watch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.due) == 0 {
		return nil
	}
	w := p.due[0]
	if time.Now().Before(w.at) {
		p.wake(w.at)
		return nil
	}
	heap.Pop(&p.due)
	return w
}

// timers is a heap of the watches that are due, by when.
type timers []*Watch

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }

func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i+1, j+1
}

func (t *timers) Push(x any) {
	w := x.(*Watch) //nolint:forcetypeassert // heap has no other
	*t = append(*t, w)
	w.place = len(*t)
}

func (t *timers) Pop() any {
	last := len(*t) - 1
	w := (*t)[last]
	(*t)[last], *t = nil, (*t)[:last]
	w.place = 0
	return w
}
