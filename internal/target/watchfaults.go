package target

import (
	"log/slog"
	"time"
)

// sayEvery is the shortest time between two log lines about the same fault.
const sayEvery = time.Minute

// A fault is what kind of failure a read met.
type fault int

const (
	unanswered fault = iota // no connection, no answer, an answer too long
	refused                 // an answer that is no success
	unreadable              // an answer that does not hold what was asked for
	numFaults
)

var faultNames = [numFaults]string{"unanswered", "refused", "unreadable"}

// A readError is a failed read.
type readError struct {
	fault fault
	err   error
}

func (e *readError) Error() string { return e.err.Error() }

// A complaint says in the log that reads fail: the first of a kind, then one a
// minute, and one when it is well again. It is for one goroutine.
type complaint struct {
	log     *slog.Logger
	said    [numFaults]time.Time
	skipped [numFaults]int
	open    bool // a line about a failure is the last one
}

func (c *complaint) failed(f fault, err error, now time.Time) {
	if last := c.said[f]; !last.IsZero() && now.Sub(last) < sayEvery {
		c.skipped[f]++
		return
	}
	c.log.Warn("the target could not be read", "fault", faultNames[f], "err", err, "more_since_last_line", c.skipped[f])
	c.said[f], c.skipped[f], c.open = now, 0, true
}

func (c *complaint) well() {
	if c.open {
		c.log.Info("the target can be read again")
		c.open = false
	}
}
