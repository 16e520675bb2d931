package load

import "slices"

// A MessageTiming is what is timed of the messages of a stream: a WebSocket, say, or
// a stream of events. Each is a series of its own beside its step, as a trend of
// durations is, so that whatever is said of metrics is said of it.
type MessageTiming uint8

// The timings.
const (
	FirstMessage  MessageTiming = iota // from the opening of the stream to its first message
	MessageGap                         // from one message to the next
	RoundTrip                          // from a message that was sent to the one that answers it
	PingRoundTrip                      // from a ping of the protocol to its pong
	Reconnect                          // from the loss of the stream to its next opening
	Lifetime                           // from the opening of the stream to its end
	NumMessageTimings
)

var messageTimingNames = [NumMessageTimings]string{
	"message_first", "message_gap", "message_round_trip", "message_ping", "message_reconnect", "stream_lifetime",
}

// String returns the name by which objectives speak of the timing.
func (t MessageTiming) String() string {
	if t < NumMessageTimings {
		return messageTimingNames[t]
	}
	return "unknown"
}

// MessageTimingNamed returns the timing of a name.
func MessageTimingNamed(name string) (t MessageTiming, ok bool) {
	i := slices.Index(messageTimingNames[:], name)
	return MessageTiming(max(i, 0)), i >= 0
}

// Series returns the name of the series that the timing is of a step's messages.
func (t MessageTiming) Series(step string) string { return step + " " + t.String() }

// A MessageDirection says which way a message went.
type MessageDirection uint8

// The directions.
const (
	Sent MessageDirection = iota
	Received
	NumMessageDirections
)

var messageDirectionNames = [NumMessageDirections]string{"sent", "received"}

// String returns the label value of d.
func (d MessageDirection) String() string {
	if d < NumMessageDirections {
		return messageDirectionNames[d]
	}
	return "unknown"
}

// A Message is what happened on a stream at one instant: mostly one message, with
// what is known once it is there. Its sender owns it and uses it again: a sink keeps
// no pointer.
type Message struct {
	// Step is the step that opened the stream, as Result.Step: all of a stream counts for it.
	Step int
	At   int64 // ns since the engine's zero

	Count [NumMessageDirections]uint64
	Bytes [NumMessageDirections]int64 // of payloads, before compression

	// Timed holds what ended at the instant, in ns; 0 for what did not, so that what took no time is 1.
	Timed [NumMessageTimings]int64

	// Missing is how many numbers of the stream's sequence the message skips. Reordered says that it comes after one
	// that skipped it, and was counted as missing then; Repeated that its number was there before.
	Missing             uint64
	Reordered, Repeated bool
	Unmet               bool // it did not meet the condition on every message

	// Closed says that the stream ended, for which the protocol's code is Code, 0 for an end without one.
	Closed bool
	Code   int32

	// Touched is as in Result: the run's sink sets it.
	Touched Disturbance
}

// Began returns the earliest instant that a timing of the message began at, but for that of a lifetime: what disturbed perfd
// while a stream was open says nothing of how long it was.
func (m *Message) Began() int64 { return m.At - max(0, slices.Max(m.Timed[:Lifetime])) }

// MessageCounts are sums over the messages of streams, as far as Message says it.
type MessageCounts struct {
	Count, Bytes                        [NumMessageDirections]uint64
	Missing, Reordered, Repeated, Unmet uint64
}

// Add adds other counts.
func (c *MessageCounts) Add(o *MessageCounts) {
	for i := range o.Count {
		c.Count[i] += o.Count[i]
		c.Bytes[i] += o.Bytes[i]
	}
	c.Missing += o.Missing
	c.Reordered += o.Reordered
	c.Repeated += o.Repeated
	c.Unmet += o.Unmet
}
