package protocol

import (
	"bytes"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
)

const (
	// Reopening is how long one attempt to open a stream again may take while nobody waits, in ns.
	Reopening = int64(10 * time.Second)
	// LookAgain is how often a step that listens looks whether its stream is still there, in ns.
	LookAgain = int64(time.Second)
)

// A Source makes random numbers of a stream's own: what comes while a VU thinks must not change what the VU draws.
type Source uint64

// NewSource returns the source of a VU's stream.
func NewSource(vu int) Source { return Source(uint64(vu)<<32 | 0x9e3779b9) }

// Draw returns the next number (xorshift64*, Vigna, "An experimental exploration of Marsaglia's xorshift generators,
// scrambled", ACM Transactions on Mathematical Software 42 (2016)).
func (s *Source) Draw() uint64 {
	*s ^= *s >> 12
	*s ^= *s << 25
	*s ^= *s >> 27
	return uint64(*s) * 2685821657736338717
}

// Explained returns the instant until which the phases of a request say where its time went.
func Explained(r *load.Result) int64 {
	at := r.Sent
	for _, d := range r.Phases {
		at += d
	}
	return at
}

// SplitWait divides what a request on a stream took after its opening, whose phases are known: into the wait for the first
// that came, at an instant, and what followed it. Where nothing came since, all of it was a wait.
func SplitWait(r *load.Result, first int64) {
	began := Explained(r)
	if first >= began && first <= r.Done {
		r.Phases[load.PhaseFirstByte] += first - began
		r.Phases[load.PhaseTransfer] += r.Done - first
	} else {
		r.Phases[load.PhaseFirstByte] += max(0, r.Done-began)
	}
}

// Wanted is the message that a step on a stream waits for.
type Wanted struct {
	Receives bool
	receive  *expr.Condition  // that it meets; nil for any
	Echoes   bool             // it answers the message that the step sends
	echo     *expr.Extraction // whose value both have; nil is the body
}

// ParseWanted compiles the keys receive, "any" or a condition, and echo, "body" or an extraction. Empty texts are none.
func ParseWanted(receive, echo block.Text, k *Compiler) (w Wanted) {
	if w.Receives = receive.Path != ""; w.Receives && receive.S != "any" {
		w.receive = expr.ParseCondition(receive, k.Symbols, k.Errors)
	}
	if w.Echoes = echo.Path != ""; w.Echoes && echo.S != "body" {
		w.echo = expr.ParseExtraction(echo, k.Symbols, k.Errors)
	}
	return w
}

// Reads reports whether bodies are read to find the message.
func (w *Wanted) Reads() bool { return w.Echoes || w.receive != nil && w.receive.Keep().Body }

// AppendOwn appends the value of a message that is sent, which the answer must have too. An error is an *expr.ValueError.
func (w *Wanted) AppendOwn(dst []byte, scope *expr.Scope, sent expr.Response) ([]byte, error) {
	if w.echo == nil {
		return append(dst, sent.Body()...), nil
	}
	v, err := w.echo.Eval(scope, sent)
	scope.Answered()
	if err != nil {
		return dst, &expr.ValueError{Text: "the message that is sent: " + err.Error()}
	}
	return v.Append(dst), nil
}

// Is reports whether a message is the one that the step waits for, which answers the one with the value own.
func (w *Wanted) Is(scope *expr.Scope, m expr.Response, own []byte, room *[]byte) bool {
	switch {
	case w.Echoes && w.echo == nil:
		return bytes.Equal(m.Body(), own)
	case w.receive == nil && !w.Echoes:
		return true
	}
	defer scope.Answered()
	if !w.Echoes {
		ok, _ := w.receive.Eval(scope, m)
		return ok
	}
	v, err := w.echo.Eval(scope, m)
	if err != nil {
		return false
	}
	*room = v.Append((*room)[:0])
	return bytes.Equal(*room, own)
}
