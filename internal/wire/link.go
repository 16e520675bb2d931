package wire

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A Link is one VU's connection to one origin, for protocols that write and read
// it themselves. It is opened by the first exchange, and again by one that finds it
// closed by its peer, older than MaxAge, connected to an address that DNS has
// dropped, or broken by a failed exchange.
//
// Interrupt may be called from any goroutine. Everything else belongs to the VU.
type Link struct {
	redialer
	test func(fd uintptr) // isStale, bound once so that an exchange allocates nothing

	// Of the exchange under way.
	deadline       int64 // ns since zero
	begin          int64 // when the request began on the connection, ns since zero
	first          int64 // when the answer's first byte came, ns since zero; 0 before
	sent, received int64 // bytes
	fresh, stale   bool
	unasked        bool  // the peer may have spoken since the exchange before
	secured        int64 // ns of handshakes of StartTLS since begin
	greeted        int64 // ns of those that the protocol's own handshake took
	late           bool  // secured lies after the answer's first byte
}

// NewLink returns a link that is not open. The VU's number spreads the age of connections.
func NewLink(t *Transport, o Origin, vu int) *Link {
	l := &Link{}
	l.init(t, o, vu)
	l.test = l.isStale
	return l
}

// Admit waits by the deadline for the token of a further request that a step's answer asks for: the target's limit holds for it, too.
func (l *Link) Admit(deadline time.Duration, r *load.Result) error {
	err := l.redialer.again(errAgain, int64(deadline), r)
	if err != nil {
		r.Done = l.now()
	}
	return err
}

// Exchange performs one request by the deadline, a time since the transport's
// zero: do writes it with Write and reads its answer with Read. Exchange sets
// Sent, Done, Phases, SentBytes and ReceivedBytes of r.
//
// An error of do closes the connection. If the peer had closed a reused connection
// before it answered, do runs once more on a new one: for an idempotent request if
// no byte of an answer came, for any other only if the peer provably read nothing
// of it (SEMANTICS section 8).
func (l *Link) Exchange(deadline time.Duration, idempotent bool, r *load.Result, do func() error) error {
	l.unasked = false
	return l.exchange(deadline, idempotent, r, do)
}

// Listen is Exchange for a request that asks nothing before it reads: what has come since the exchange before is the
// begin of its answer, and no sign of a connection that is out of step.
func (l *Link) Listen(deadline time.Duration, r *load.Result, do func() error) error {
	l.unasked = true
	return l.exchange(deadline, false, r, do)
}

func (l *Link) exchange(deadline time.Duration, idempotent bool, r *load.Result, do func() error) error {
	l.deadline = int64(deadline)
	r.Sent = l.now()
	err := l.attempt(r, r.Sent, idempotent, true, do)
	if errors.Is(err, errRetry) {
		if err = l.redialer.again(err, l.deadline, r); err == nil {
			err = l.attempt(r, l.now(), idempotent, false, do)
		}
	}
	if err != nil {
		r.Done = l.now()
	}
	return err
}

// attempt performs the exchange; errRetry asks for a second attempt.
func (l *Link) attempt(r *load.Result, now int64, idempotent, mayRetry bool, do func() error) error {
	reused, err := l.connected(now, l.deadline, r)
	if err != nil {
		return err
	}
	if !reused {
		now = l.now()
	}
	l.fresh, l.begin, l.first, l.sent, l.received = !reused, now, 0, 0, 0
	l.secured, l.greeted, l.late = 0, 0, false
	l.before = l.nc.sent.Load()
	if err = l.prepare(now); err == nil {
		if err = do(); err != nil {
			if why := l.cancelled(); why != nil {
				err = why
			}
		}
	}
	r.SentBytes += l.sent
	r.ReceivedBytes += l.received
	if l.fresh && l.begin > now {
		r.Phases[load.PhaseConnect] += l.begin - now - l.greeted
	}
	r.Phases[load.PhaseTLS] += l.secured + l.greeted
	before, after := l.secured, int64(0)
	if l.late {
		before, after = 0, l.secured
	}
	if l.first > 0 {
		r.Phases[load.PhaseFirstByte] += l.first - l.begin - before
	}
	if err != nil {
		return l.settle(err, l.received, idempotent, mayRetry && reused)
	}
	l.used = l.now()
	r.Done = l.used
	if l.first > 0 {
		r.Phases[load.PhaseTransfer] += l.used - l.first - after
	} else {
		r.Phases[load.PhaseFirstByte] += l.used - l.begin - before
	}
	return nil
}

// prepare makes reads and writes end by the deadline, and tests a reused connection.
func (l *Link) prepare(now int64) error {
	if err := l.arm(now); err != nil || l.fresh || l.unasked {
		return err
	}
	l.stale = false
	if err := l.raw.Control(l.test); err != nil {
		return err
	}
	if l.stale {
		return errStale
	}
	return nil
}

// isStale sets stale if the peer has closed the connection or has sent unasked
// bytes, which would be taken for the next answer.
func (l *Link) isStale(fd uintptr) {
	if l.tls == nil {
		l.stale = ended(fd)
	} else {
		l.stale = hungUp(fd)
	}
}

// arm makes reads and writes return by the deadline. Setting deadlines for each
// exchange costs too much, so that those which are set already stay if they are
// early enough; again sets the next when they fire. A TLS connection cannot be used
// after a timeout, so that there the deadlines are always exact.
func (l *Link) arm(now int64) error {
	if l.tls == nil && l.armed > now && l.armed <= l.deadline {
		return nil
	}
	l.armed = l.deadline
	if err := l.nc.SetDeadline(l.at(l.armed)); err != nil {
		return err
	}
	return l.cancelled()
}

// again reports whether a read or write that failed is to be continued, because
// the deadline of an earlier exchange ended it.
func (l *Link) again(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || l.tls != nil || l.cancelled() != nil {
		return false
	}
	now := l.now()
	if now >= l.deadline {
		return false
	}
	l.armed = 0
	return l.arm(now) == nil
}

// Fresh reports whether the connection was opened by the exchange under way, so
// that the protocol's own handshake, where it has one, is due.
func (l *Link) Fresh() bool { return l.fresh }

// Established ends the protocol's own handshake on a fresh connection: the time
// since it was opened counts as PhaseConnect, and what follows is the request.
func (l *Link) Established() {
	l.begin, l.first = l.now(), 0
	l.greeted, l.secured, l.late = l.greeted+l.secured, 0, false
}

// Secured reports whether the connection is one of TLS.
func (l *Link) Secured() bool { return l.tls != nil }

// StartTLS opens TLS on the connection in an exchange, when peers that began in plaintext have agreed to. The time that it
// takes is PhaseTLS. What was read and not used must be nothing: it was sent by whoever is between.
func (l *Link) StartTLS() error {
	begin := l.now()
	l.armed = 0 // the handshake ends with its context
	if err := l.nc.SetDeadline(l.at(l.deadline)); err != nil {
		return err
	}
	err := l.interruptible(l.deadline, func(ctx context.Context) error { return l.handshake(ctx, l.nc) })
	l.secured += l.now() - begin
	l.late = l.first > 0
	if err != nil {
		return err
	}
	return l.arm(l.now())
}

// Write writes all of p in an exchange, or returns an error.
func (l *Link) Write(p []byte) (n int, err error) {
	for {
		var m int
		if l.tls == nil {
			m, err = l.nc.Write(p[n:])
		} else {
			m, err = l.tls.Write(p[n:])
		}
		n += m
		l.sent += int64(m)
		if err == nil || !l.again(err) {
			return n, err
		}
	}
}

// Read reads up to len(p) bytes of the answer in an exchange.
func (l *Link) Read(p []byte) (n int, err error) {
	for {
		if l.tls == nil {
			n, err = l.nc.Read(p)
		} else {
			n, err = l.tls.Read(p)
		}
		if n > 0 {
			l.received += int64(n)
			if l.first == 0 {
				l.first = l.now()
			}
		}
		if n > 0 || err == nil || !l.again(err) {
			return n, err
		}
	}
}

// ReadBy is Read that ends at a time, with os.ErrDeadlineExceeded, where that comes before the exchange's deadline. Writes
// and reads can follow.
func (l *Link) ReadBy(p []byte, by time.Duration) (n int, err error) {
	whole := l.deadline
	if int64(by) >= whole {
		return l.Read(p)
	}
	l.deadline = int64(by)
	if err = l.arm(l.now()); err == nil {
		n, err = l.Read(p)
	}
	l.deadline, l.armed = whole, 0
	if again := l.arm(l.now()); again != nil {
		err = again
	}
	return n, err
}

// Arrived reports whether something has come in an exchange that was not read of the network yet.
func (l *Link) Arrived() bool {
	came := false
	err := l.raw.Control(func(fd uintptr) { came = ended(fd) })
	return err != nil || came
}

// Now returns the time since the transport's zero in ns.
func (l *Link) Now() int64 { return l.now() }
