package wire

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// pooling returns n subjects that share connections to a server.
func pooling(t testing.TB, n, pool int, serve func(net.Conn)) (all []*subject, shared *Transport) {
	o := listen(t, serve).origin()
	first := newSubject(t, o)
	shared = first.t
	shared.Pool = pool
	for vu := range n {
		s := newSubject(t, o)
		s.counts = first.counts
		s.Agent = NewAgent(shared, vu)
		all = append(all, s)
	}
	t.Cleanup(shared.Close)
	return all, shared
}

func TestAgentsShareAPool(t *testing.T) {
	const pool, agents, each = 3, 20, 25
	var v visitors
	var mu sync.Mutex
	busy, most := 0, 0
	all, shared := pooling(t, agents, pool, func(c net.Conn) {
		v.receive(&noisy{c, func(by int) {
			mu.Lock()
			defer mu.Unlock()
			busy += by
			most = max(most, busy)
		}})
	})
	blocked := make([]int64, agents)
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			for range each {
				if err := s.do(time.Minute); err != nil {
					t.Error(err)
				}
				sum := int64(0)
				for _, ns := range s.r.Phases {
					sum += ns
				}
				if sum > s.r.Duration() {
					t.Errorf("phases %v are longer than their request, %d", s.r.Phases, s.r.Duration())
				}
				blocked[i] += s.r.Phases[load.PhaseBlocked]
			}
		})
	}
	wg.Wait()
	from, requests := v.seen()
	sum := 0
	for _, n := range requests {
		sum += n
	}
	if len(from) != pool || sum != agents*each || most > pool {
		t.Errorf("%d connections, %d requests, %d at once, want %d, %d and at most %d", len(from), sum, most, pool, agents*each, pool)
	}
	waited := int64(0)
	for _, ns := range blocked {
		waited += ns
	}
	if waited == 0 {
		t.Error("nobody was blocked")
	}
	shared.Close()
	if opened, closed := shared.Counts.Opened.Load(), shared.Counts.Closed[load.ClosedEnd].Load(); opened != pool || closed != pool {
		t.Errorf("opened %d connections and closed %d, want %d", opened, closed, pool)
	}
}

// A noisy connection tells when a request has begun to be read and when it is answered.
type noisy struct {
	net.Conn
	tell func(by int)
}

func (n *noisy) Read(p []byte) (int, error) {
	k, err := n.Conn.Read(p)
	if k == 1 && p[0] == 'G' {
		n.tell(1)
	}
	return k, err
}

func (n *noisy) Write(p []byte) (int, error) {
	n.tell(-1)
	return n.Conn.Write(p)
}

func TestAPooledConnectionOutlivesItsBorrowers(t *testing.T) {
	answer, asked := make(chan bool), make(chan bool, 10)
	serve := func(c net.Conn) {
		for readHead(c) {
			asked <- true
			if !<-answer {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
		}
	}
	all, shared := pooling(t, 3, 1, serve)
	one, two, three := all[0], all[1], all[2]
	begin := func(s *subject, timeout time.Duration) <-chan error {
		done := make(chan error, 1)
		go func() { done <- s.do(timeout) }()
		return done
	}
	inLine := func(n int) {
		t.Helper()
		p := shared.pool(one.origin)
		for began := time.Now(); ; time.Sleep(time.Millisecond) {
			p.mu.Lock()
			is := len(p.line)
			p.mu.Unlock()
			if is == n {
				return
			}
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%d agents wait, want %d", is, n)
			}
		}
	}

	// An agent that waits longer than its request may take fails, all of it blocked.
	first := begin(one, time.Minute)
	<-asked
	err := two.do(20 * time.Millisecond)
	if Classify(err) != load.Timeout || two.r.Phases[load.PhaseBlocked] < int64(20*time.Millisecond) || two.r.Phases[load.PhaseBlocked] > two.r.Duration() {
		t.Errorf("%v after %d ns, %d of them blocked, want a timeout that was blocked", err, two.r.Duration(), two.r.Phases[load.PhaseBlocked])
	}
	inLine(0)

	// One that is interrupted while it waits leaves the line to the next.
	second, third := begin(two, time.Minute), begin(three, time.Minute)
	inLine(2)
	two.Interrupt()
	if err := <-second; Classify(err) != load.Canceled {
		t.Errorf("interrupted in the line: %v", err)
	}
	inLine(1)
	answer <- true
	if err := <-first; err != nil {
		t.Error(err)
	}
	<-asked

	// One that is interrupted while it has the connection takes it with it, and no more.
	three.Interrupt()
	if err := <-third; Classify(err) != load.Canceled {
		t.Errorf("interrupted in an exchange: %v", err)
	}
	answer <- false
	first = begin(one, time.Minute)
	<-asked
	answer <- true
	if err := <-first; err != nil {
		t.Errorf("on the connection after the one that was interrupted: %v", err)
	}
	if opened := shared.Counts.Opened.Load(); opened != 2 {
		t.Errorf("opened %d connections, want 2", opened)
	}
}

func TestAPoolAllocatesNothing(t *testing.T) {
	text := []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	all, _ := pooling(t, 1, 2, func(c net.Conn) {
		for p := make([]byte, 1<<10); ; { // a request comes in one piece
			if _, err := c.Read(p); err != nil {
				return
			}
			if _, err := c.Write(text); err != nil {
				return
			}
		}
	})
	if err := all[0].do(time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(200, func() { _ = all[0].do(time.Minute) }); n > 0 {
		t.Errorf("a request allocates %v times, want 0", n)
	}
}
