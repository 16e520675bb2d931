package target

import (
	"log/slog"
	"time"
)

// sayEvery is the shortest time between two log lines about the same fault.
const sayEvery = time.Minute

// A fault is a kind of failure of a read.
type fault int

const (
	unanswered fault = iota // no connection, no answer, or too long an answer
	refused                 // the answer is not a success
	unreadable              // the answer does not hold what is configured
	numFaults
)

var faultNames = [numFaults]string{"unanswered", "refused", "unreadable"}

// A readError is a failed read.
type readError struct {
	fault fault
	err   error
}

func (e *readError) Error() string { return e.err.Error() }

// A complaint logs the failures of a read: the first of each kind, then one a
// minute, and one line when the read succeeds again. It is not safe for concurrent use.
type complaint struct {
	log     *slog.Logger
	said    [numFaults]time.Time
	skipped [numFaults]int
	open    bool // the last line is about a failure
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
