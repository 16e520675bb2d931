package expr

import (
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// streamed is an answer on a stream.
type streamed struct {
	answer
	s Stream
}

func (s *streamed) Stream() *Stream { return &s.s }

func TestWhatHappenedOnAStream(t *testing.T) {
	r := &streamed{s: Stream{Sent: 1, Received: 2, Missing: 3, Reordered: 4, Repeated: 5, Unmet: 6, Reconnects: 7, First: time.Second, RoundTrip: 20 * time.Millisecond}}
	for _, text := range []string{
		`stream.sent == 1`, `stream.received == 2`, `stream.missing == 3`, `stream.reordered == 4`, `stream.repeated == 5`, `stream.unmet == 6`,
		`stream.reconnects == 7`, `stream.first == 1s`, `stream.round_trip < 50ms`, `stream.gap == nil`,
	} {
		var errs block.Errors
		c := ParseCondition(block.Text{S: text}, NewSymbols(nil), &errs)
		if err := errs.Err(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if ok, err := c.Eval(&Scope{}, r); !ok || err != nil {
			t.Errorf("%s: %v, %v", text, ok, err)
		}
		if _, err := c.Eval(&Scope{}, answer{}); err == nil {
			t.Errorf("%s holds of an answer that is no stream", text)
		}
	}
	for text, hint := range map[string]string{
		`stream.recieved == 1`: `did you mean "received"?`,
		`stream == 1`:          "write stream.received, or another of sent, received, missing, reordered, repeated, unmet, reconnects, first, gap, round_trip",
	} {
		var errs block.Errors
		ParseCondition(block.Text{S: text}, NewSymbols(nil), &errs)
		if errs.Len() != 1 || errs.Mistakes()[0].Hint != hint {
			t.Errorf("%s: %+v, want the hint %q", text, errs.Err(), hint)
		}
	}
	s := NewSymbols(nil)
	scope := &Scope{}
	scope.Set(s.Declare("stream", Any), FromJSON(`{"sent":9}`))
	var errs block.Errors
	if ok, _ := ParseCondition(block.Text{S: "stream.sent == 9"}, s, &errs).Eval(scope, r); !ok {
		t.Error("a variable named stream is not read")
	}
}
