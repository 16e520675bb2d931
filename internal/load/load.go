// Package load holds the domain types that all packages of perfd share: what
// happened to one request (Result), to one pass through a flow (Iteration) and
// to all requests of a step over an interval (Window).
//
// It knows nothing of configuration, protocols or outputs, and imports the
// standard library and hist only.
//
// Times inside a run are int64 nanoseconds since the engine's zero, read from
// the monotonic clock. Wall-clock times are time.Time.
package load

import "sync/atomic"

// A Cause says why a request failed. The set is closed, so that a label made of
// it stays bounded.
type Cause uint8

// The causes. None means that the request was answered and met its expect.
const (
	None         Cause = iota
	Timeout            // no complete answer within the step's timeout
	DNS                // the host's name was not resolved
	Refused            // the connection was refused
	Unreachable        // no route to the host or network
	Reset              // the peer reset the connection
	Closed             // the peer closed the connection before the answer
	TLS                // the handshake or a certificate failed
	Status             // answered, and the default expectation on the status was not met
	Check              // the protocol's own integrity check of the answer failed; HTTP has none, and its count stays 0
	Expect             // answered, and the step's own expect was not met
	Extract            // answered, and a value could not be extracted
	Protocol           // the answer broke the rules of the protocol
	Partial            // the answer ended before its end, or arrived in part
	Overload           // perfd did not send: guard, limit or a resource of its own
	Canceled           // cancelled by perfd's own stop; counted in no histogram
	Internal           // a fault of perfd itself
	Input              // not sent: a value that the request needs is missing or cannot stand in it
	NoCredential       // not sent: perfd had no credential for it
	StreamReset        // the peer reset the stream of the request, and not the connection
	GoAway             // the peer takes no more requests on the connection, or ended it for a reason that it gave
	NumCauses
)

var causeNames = [NumCauses]string{
	"", "timeout", "dns", "refused", "unreachable", "reset", "closed", "tls", "status",
	"check", "expect", "extract", "protocol", "partial", "overload", "canceled", "internal",
	"input", "credential", "stream_reset", "go_away",
}

// String returns the label value of c, the empty string for None.
func (c Cause) String() string {
	if c < NumCauses {
		return causeNames[c]
	}
	return causeNames[Internal]
}

// A Reason says why an arrival was dropped (SEMANTICS section 2).
type Reason uint8

// The reasons. NoFreeVU is caused by the target, the others by perfd.
const (
	NoFreeVU          Reason = iota // most VUs were waiting for the target
	VUCap                           // most VUs were thinking or pacing
	Late                            // perfd was too late to start the iteration
	RateCap                         // the limit on requests left no token for the first step
	Backoff                         // the target was in distress
	Paused                          // load was paused
	Shutdown                        // the run ended
	WithoutCredential               // perfd had no credential for a step
	NumReasons
)

var reasonNames = [NumReasons]string{
	"no_free_vu", "vu_cap", "late", "rate_cap", "backoff", "paused", "shutdown", "credential",
}

// String returns the label value of r.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// A Phase is one timed part of a request. The phases of one request lie one
// after another between Sent and Done.
type Phase uint8

// The phases.
const (
	PhaseDNS       Phase = iota // resolving the host's name
	PhaseConnect                // opening the connection
	PhaseTLS                    // TLS handshake
	PhaseFirstByte              // from the request's first byte written to the answer's first byte
	PhaseTransfer               // from the answer's first byte to its last
	PhaseBlocked                // waiting for a connection of a pool or for a stream of one, before the others
	NumPhases
)

var phaseNames = [NumPhases]string{"dns", "connect", "tls", "first_byte", "transfer", "blocked"}

// String returns the label value of p.
func (p Phase) String() string {
	if p < NumPhases {
		return phaseNames[p]
	}
	return "unknown"
}

// A CloseReason says why a connection of a VU was closed.
type CloseReason uint8

// The reasons.
const (
	ClosedByPeer   CloseReason = iota // the peer closed the idle connection
	ClosedStale                       // the peer closed a reused connection before the answer's first byte; the request was sent once more
	ClosedByAnswer                    // the answer asked for it, or ended with the connection
	ClosedAge                         // older than connections.max_age, or its address is no longer in DNS
	ClosedError                       // a request on it failed or was cancelled
	ClosedEnd                         // its VU ended
	ClosedRequests                    // it took as many requests as connections.max_requests allows
	NumCloseReasons
)

var closeReasonNames = [NumCloseReasons]string{
	"peer", "stale", "answer", "age", "error", "end", "requests",
}

// String returns the label value of r.
func (r CloseReason) String() string {
	if r < NumCloseReasons {
		return closeReasonNames[r]
	}
	return "unknown"
}

// IsServerFault reports whether an answer's code says that the server failed, and not that it refused: the codes of HTTP from
// 500 on and, below 100, those statuses of google.rpc.Code that HTTP has such codes for, except of a method that is not there.
func IsServerFault(code int32) bool {
	switch code {
	case 2, 4, 13, 14, 15: // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS
		return true
	}
	return code >= 500 && code < 600
}

// A TraceID names the trace of one iteration (W3C trace context).
type TraceID [16]byte

// GroupProtocol stands in the place of a protocol where what is measured is no
// request but a group of steps as a whole.
const GroupProtocol = "group"

// A SpanID names the span of one request.
type SpanID [8]byte

// A Result is what happened to one request. Its sender owns it and uses it
// again for the next request: a sink reads it during Record and keeps no pointer.
type Result struct {
	Step int // index in the steps of the flow's Program

	Due, Sent, Done int64 // ns since the engine's zero; Due ≤ Sent ≤ Done

	Cause   Cause
	Code    int32 // the protocol's answer code; 0 where there was no answer, or where that is a code: Coded says so
	Version uint8 // of the protocol, where its answers are of several: 2 is HTTP/2; 0 is the usual one
	Coded   bool  // there was an answer whose code is Code, which may be 0

	Phases [NumPhases]int64 // ns
	Waited int64            // ns spent before Sent on perfd's account: waiting for a token of a rate limit, reading descriptors

	SentBytes, ReceivedBytes int64 // of all attempts

	// Retries counts the attempts before the one that Cause, Code and Phases are of. Sent
	// is of the first attempt.
	Retries uint32

	Checks, ChecksFailed uint64 // bit i is the step's i-th check: evaluated, failed

	Trace   TraceID
	Span    SpanID
	Sampled bool // the trace was sampled when its iteration began, and the request's traceparent says so

	// Touched says how perfd itself disturbed the request. The flow leaves it; the
	// run's sink sets it before it records the result.
	Touched Disturbance
}

// Duration returns Done − Sent in nanoseconds: how long the target took.
func (r *Result) Duration() int64 { return r.Done - r.Sent }

// ResponseTime returns Done − Due in nanoseconds: how long a user would have waited.
func (r *Result) ResponseTime() int64 { return r.Done - r.Due }

// An Outcome says how an iteration ended.
type Outcome uint8

// The outcomes.
const (
	Completed   Outcome = iota // reached its end
	Stopped                    // ended early by a failed step (on_failure, extract)
	Interrupted                // cancelled by perfd's own stop
)

// An Iteration is one pass of a VU through its flow.
type Iteration struct {
	VU              int
	Due, Start, End int64 // ns since the engine's zero
	Outcome         Outcome
	Trace           TraceID
	Sampled         bool // as in Result; set in a Trace only
}

// Connections counts the connections of one scenario, of all its VUs.
type Connections struct {
	Opened atomic.Uint64
	Closed [NumCloseReasons]atomic.Uint64
	// Ignored datagrams came and were no answer to the request under way.
	Ignored atomic.Uint64
	// Stalls counts how often a request waited because its peer took no more of a body.
	Stalls atomic.Uint64
	// VersionChanges counts the connections that spoke another version of their protocol than the one before them to the same host.
	VersionChanges atomic.Uint64
}
