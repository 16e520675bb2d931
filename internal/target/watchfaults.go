package target

import (
	"errors"
	"log/slog"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/wire"
)

const (
	// sayEvery is the shortest time between two log lines about the same fault, of a read that fails and recovers in turns.
	sayEvery = time.Minute
	// longestReason bounds an error in a log line, in bytes: parts of it may come from the target.
	longestReason = 500
)

// A fault is a kind of failure of a read.
type fault int

const (
	notAllowed fault = iota // the guard refused the address
	dnsFailed               // the name was not resolved
	tlsFailed               // the handshake failed, or the certificate is not trusted
	timedOut                // no whole answer in time
	unanswered              // no connection, or no answer on it
	redirected              // a redirect leads where a watch does not go
	badStatus               // the answer is not a success
	tooLarge                // the answer is longer than is read
	unreadable              // the answer does not hold what is configured
	uncredited              // perfd had no credential for the request
	numFaults
)

var faultNames = [numFaults]string{"guard", "dns", "tls", "timeout", "unanswered", "redirect", "status", "too_large", "unreadable", "credential"}

// A readError is a failed read.
type readError struct {
	fault fault
	err   error
}

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// faultOf returns the kind of a failed read.
func faultOf(err error) fault {
	if e, ok := errors.AsType[*readError](err); ok {
		return e.fault
	}
	if _, ok := errors.AsType[*wire.RefusedError](err); ok {
		return notAllowed
	}
	switch wire.Classify(err) {
	case load.DNS:
		return dnsFailed
	case load.TLS:
		return tlsFailed
	case load.Timeout:
		return timedOut
	}
	return unanswered
}

// A complaint logs the failures of a read: one line when it breaks or breaks in
// another way, however long that lasts, and one when it succeeds again. It is not
// safe for concurrent use.
type complaint struct {
	log      *slog.Logger
	said     [numFaults]time.Time // the last line about each
	open     bool                 // the last line is about a failure,
	is       fault                // of this kind
	failures int                  // since the last success
}

func (c *complaint) failed(err error, now time.Time) {
	f := faultOf(err)
	c.failures++
	if last := c.said[f]; c.open && c.is == f || !last.IsZero() && now.Sub(last) < sayEvery {
		return
	}
	c.log.Warn("the target could not be read", "fault", faultNames[f], "err", shortened(err.Error(), longestReason))
	c.said[f], c.open, c.is = now, true, f
}

func (c *complaint) well() {
	if c.open {
		c.log.Info("the target can be read again", "failures", c.failures)
	}
	c.open, c.failures = false, 0
}
