package protocol

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
)

const (
	mostWaiting = 64       // messages that wait to be received
	mostKept    = 64 << 10 // bytes of these
	remembered  = 64       // numbers of a sequence below the highest of which it is known whether they came
)

// StreamRules are what every message of a stream is held against. They read the
// message only: messages come while the virtual user does something else.
type StreamRules struct {
	Sequence *expr.Extraction // the number of a message in the stream's sequence; nil for none
	Per      string           // what has a sequence, as of sequence_per; empty where the opening says it
	Each     *expr.Condition  // that every message must meet; nil for none
}

// What has a sequence of numbers of its own: each connection, or the stream on all connections that it has after losses.
const (
	PerConnection = "connection"
	PerStream     = "stream"
)

// ValidateSequence checks the keys sequence and sequence_per of the block of a stream.
func ValidateSequence(at *block.Node, errs *block.Errors) {
	n := at.Get("sequence_per")
	if n == nil {
		return
	}
	if known := []string{PerConnection, PerStream}; !slices.Contains(known, n.Scalar) {
		errs.Add(n.Pos, n.Path, "must be connection or stream, got %s", n.Found()).Hint = block.Nearest(n.Scalar, known)
	} else if at.Get("sequence") == nil {
		errs.Add(n.Pos, n.Path, "is said of a sequence, and there is none").Hint = "write sequence: json.seq"
	}
}

// ParseStreamRules compiles the rules of a stream. Empty texts are none.
func ParseStreamRules(sequence block.Text, per string, each block.Text, errs *block.Errors) (r StreamRules) {
	none := expr.NewSymbols(nil)
	r.Per = per
	if sequence.Path != "" {
		r.Sequence = expr.ParseExtraction(sequence, none, errs)
	}
	if each.Path != "" {
		r.Each = expr.ParseCondition(each, none, errs)
	}
	return r
}

// A Tally is the account of one stream's messages. What happens goes to a MessageSink
// at once and, added up, to the expressions of the next request. The messages that
// nobody has received yet wait in it. It belongs to whoever owns the stream.
type Tally struct {
	// Event is what happened at the instant under way. Record passes it on.
	Event load.Message
	// Since is what happened since the request before the one under way.
	Since expr.Stream

	rules        StreamRules
	sink         MessageSink // nil for nobody
	vu           int
	opened, last int64  // when the stream was opened, and its last message came, 0 for none
	high         int64  // the highest number of the sequence
	seen         uint64 // bit i: high - i came
	numbered     bool   // there was a number
	scope        *expr.Scope
	view         messageView

	waiting []byte // messages that wait to be received, one after the other
	lengths []int32
}

// A messageView is a message as the rules of its stream read it.
type messageView struct {
	body   []byte
	size   int64
	fields func(name string) (string, bool) // nil for none
}

func (v *messageView) Code() int               { return 0 }
func (v *messageView) Body() []byte            { return v.body }
func (v *messageView) Duration() time.Duration { return 0 }
func (v *messageView) Size() int64             { return v.size }
func (v *messageView) Sum() uint64             { return 0 }

// Header returns a field of the message.
func (v *messageView) Header(name string) (string, bool) {
	if v.fields == nil {
		return "", false
	}
	return v.fields(name)
}

// Begin makes the account that of a stream which the call opens.
func (t *Tally) Begin(c *Call, rules StreamRules) {
	*t = Tally{Event: load.Message{Step: c.Result.Step}, Since: t.Since, rules: rules, sink: c.Messages, vu: c.VU.ID}
	if rules.Sequence != nil || rules.Each != nil {
		t.scope = &expr.Scope{}
	}
}

// Fields says how the rules read a field, such as an id, of the message that came last. Begin forgets it.
func (t *Tally) Fields(read func(name string) (string, bool)) { t.view.fields = read }

// Opened says that the stream was opened, or opened again. Resumes says that the server was asked to go on after the
// last message that came; unless the rules say otherwise, it numbers messages from the begin of each connection where it was not.
func (t *Tally) Opened(at int64, resumes bool) {
	t.opened, t.last = at, 0
	if per := t.rules.Per; per != PerStream && (per == PerConnection || !resumes) {
		t.numbered = false
	}
}

// Reconnected records that the stream, which was lost at an instant, is open again.
func (t *Tally) Reconnected(lost int64) {
	t.Event.At = t.opened
	t.Event.Timed[load.Reconnect] = max(1, t.opened-lost)
	t.Since.Reconnects++
	t.Record()
}

// Sent notes messages that were sent, of so many bytes in all.
func (t *Tally) Sent(at int64, n uint64, size int64) {
	t.Event.At, t.Event.Count[load.Sent], t.Event.Bytes[load.Sent] = at, n, size
	t.Since.Sent += n
}

// Unsent takes back what Sent noted and Record has not passed on.
func (t *Tally) Unsent() {
	t.Since.Sent -= t.Event.Count[load.Sent]
	t.Event = load.Message{Step: t.Event.Step}
}

// Answered notes that the message under way answers one that was sent at an instant.
func (t *Tally) Answered(sent, at int64) {
	t.Event.Timed[load.RoundTrip] = max(1, at-sent)
	t.Since.RoundTrip = time.Duration(t.Event.Timed[load.RoundTrip])
}

// Closed records the end of the stream.
func (t *Tally) Closed(at int64, code int32) {
	t.Event.At, t.Event.Closed, t.Event.Code = at, true, code
	t.Event.Timed[load.Lifetime] = max(1, at-t.opened)
	t.Record()
}

// Record passes on what Event says, and empties it.
func (t *Tally) Record() {
	if t.sink != nil {
		t.sink.Message(t.vu, &t.Event)
	}
	t.Event = load.Message{Step: t.Event.Step}
}

// Reads reports whether the rules read bodies.
func (t *Tally) Reads() bool {
	return t.rules.Sequence != nil && t.rules.Sequence.Keep().Body || t.rules.Each != nil && t.rules.Each.Keep().Body
}

// Received notes in Event what is known of a message of so many bytes. Its body is as expressions read it.
func (t *Tally) Received(at int64, size int, body []byte) {
	m := &t.Event
	m.At, m.Count[load.Received], m.Bytes[load.Received] = at, 1, int64(size)
	t.Since.Received++
	if t.last == 0 {
		m.Timed[load.FirstMessage] = max(1, at-t.opened)
		t.Since.First = time.Duration(m.Timed[load.FirstMessage])
	} else {
		m.Timed[load.MessageGap] = max(1, at-t.last)
		t.Since.LongestGap = max(t.Since.LongestGap, time.Duration(m.Timed[load.MessageGap]))
	}
	t.last = at
	if t.scope == nil {
		return
	}
	t.view.body, t.view.size = body, int64(size)
	if t.rules.Sequence != nil {
		if v, err := t.rules.Sequence.Eval(t.scope, &t.view); err == nil {
			if n, ok := v.Measure(); ok {
				t.number(int64(n))
			} else if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
				t.number(n)
			}
		}
	}
	if t.rules.Each != nil {
		if ok, _ := t.rules.Each.Eval(t.scope, &t.view); !ok {
			m.Unmet = true
			t.Since.Unmet++
		}
	}
	t.scope.Answered()
	t.view.body = nil
}

// number compares a number of the sequence with those before it. One that is far below begins a new sequence.
func (t *Tally) number(n int64) {
	if !t.numbered || n <= t.high-remembered {
		t.numbered, t.high, t.seen = true, n, ^uint64(0)
		return
	}
	if n > t.high {
		skipped := uint64(n - t.high - 1)
		t.Event.Missing = skipped
		t.Since.Missing += skipped
		if skipped >= remembered {
			t.seen = 0
		}
		t.seen = t.seen<<(skipped+1) | 1
		t.high = n
		return
	}
	bit := uint64(1) << uint64(t.high-n)
	if t.seen&bit != 0 {
		t.Event.Repeated = true
		t.Since.Repeated++
		return
	}
	t.seen |= bit
	t.Event.Reordered = true
	t.Since.Reordered++
}

// Judged returns what is wrong with the messages that came since the request before, an *UnmetError.
func (t *Tally) Judged() error {
	if n := t.Since.Unmet; n > 0 {
		return &UnmetError{n, t.rules.Each}
	}
	return nil
}

// An UnmetError says how many messages did not meet the condition on all.
type UnmetError struct {
	n    uint64
	each *expr.Condition
}

func (e *UnmetError) Error() string { return fmt.Sprintf("%d messages are not: %s", e.n, e.each) }

// Cause returns load.Expect.
func (*UnmetError) Cause() load.Cause { return load.Expect }

// Keep keeps a message until it is received. The oldest give way; one that is too large is not kept.
func (t *Tally) Keep(payload []byte) {
	if len(payload) > mostKept {
		return
	}
	for len(t.lengths) > 0 && (len(t.lengths) >= mostWaiting || len(t.waiting)+len(payload) > mostKept) {
		t.forget(1)
	}
	t.waiting = append(t.waiting, payload...)
	t.lengths = append(t.lengths, int32(len(payload)))
}

// Take appends the first message that waits and is the one that is wanted, and reports whether there is one. It and
// those before it wait no longer; all do not if none is.
func (t *Tally) Take(dst []byte, wanted func([]byte) bool) ([]byte, bool) {
	from := 0
	for i, n := range t.lengths {
		to := from + int(n)
		if wanted(t.waiting[from:to]) {
			dst = append(dst, t.waiting[from:to]...)
			t.forget(i + 1)
			return dst, true
		}
		from = to
	}
	t.waiting, t.lengths = nil, nil
	return dst, false
}

// forget removes the first n messages that wait.
func (t *Tally) forget(n int) {
	size := 0
	for _, l := range t.lengths[:n] {
		size += int(l)
	}
	t.waiting = slices.Delete(t.waiting, 0, size)
	if t.lengths = slices.Delete(t.lengths, 0, n); len(t.lengths) == 0 {
		t.waiting, t.lengths = nil, nil
	}
}

// Reconnect is the block that says how a stream that was lost is opened again.
type Reconnect struct {
	Attempts int            `yaml:"attempts" doc:"How often to try at most after each loss (default: without end)."`
	BackOff  block.Duration `yaml:"back_off" doc:"Longest wait before the first attempt; it doubles with each, and each wait is drawn at random up to it (default 100ms)."`
	MaxWait  block.Duration `yaml:"max_wait" doc:"Longest wait before any attempt (default 10s)."`
}

const minReconnect = time.Millisecond

// Validate checks what needs no other part of the configuration.
func (r *Reconnect) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("attempts"); n != nil && r.Attempts < 1 {
		errs.Add(n.Pos, n.Path, "must be 1 or more, got %s", n.Scalar).Hint = "leave reconnect out for none"
	}
	for key, d := range map[string]block.Duration{"back_off": r.BackOff, "max_wait": r.MaxWait} {
		if n := at.Get(key); n != nil && d.D() < minReconnect {
			errs.Add(n.Pos, n.Path, "must be at least %s, got %s", minReconnect, n.Scalar)
		}
	}
}

// Wait returns the wait before an attempt, of which the first is 1, in ns. It is drawn by a random number with full jitter:
// streams that were lost together do not come back together.
func (r *Reconnect) Wait(attempt int, random uint64) int64 {
	wait, most := int64(100*time.Millisecond), int64(10*time.Second)
	if r.BackOff > 0 {
		wait = int64(r.BackOff)
	}
	if r.MaxWait > 0 {
		most = int64(r.MaxWait)
	}
	for ; attempt > 1 && wait < most; attempt-- {
		wait *= 2
	}
	return int64(random%uint64(min(wait, most))) + 1
}
