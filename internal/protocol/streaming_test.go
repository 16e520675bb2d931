package protocol

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
)

// told keeps what a Tally records.
type told []load.Message

func (m *told) Message(_ int, x *load.Message) { *m = append(*m, *x) }

func parse(t *testing.T, texts ...string) (blocks []block.Text, k *Compiler) {
	t.Helper()
	for _, s := range texts {
		x := block.Text{S: s}
		if s != "" {
			x.Path = "step"
		}
		blocks = append(blocks, x)
	}
	return blocks, &Compiler{Symbols: expr.NewSymbols(nil), Errors: &block.Errors{}}
}

func TestATallyCountsAndTimesMessages(t *testing.T) {
	texts, k := parse(t, "json.seq", "json.seq != 9")
	rules := ParseStreamRules(texts[0], "", texts[1], k.Errors)
	if err := k.Errors.Err(); err != nil {
		t.Fatal(err)
	}
	var got told
	var tally Tally
	tally.Begin(&Call{VU: &VU{}, Messages: &got}, rules)
	tally.Opened(5, false)
	for _, m := range []struct {
		at  int64
		seq string
	}{{10, "1"}, {25, "2"}, {27, "5"}, {60, "4"}, {61, "4"}, {62, "9"}, {63, "200"}, {64, "1"}, {65, "2"}} {
		tally.Received(m.at, 100, []byte(`{"seq": `+m.seq+`}`))
		tally.Record()
	}
	want := expr.Stream{
		Received: 9, Missing: 2 + 3 + 190, Reordered: 1, Repeated: 1, Unmet: 1, First: 5, LongestGap: 33,
	}
	if diff := cmp.Diff(want, tally.Since); diff != "" {
		t.Errorf("what the next step reads (-want +got):\n%s", diff)
	}
	var gaps []int64
	for _, m := range got {
		gaps = append(gaps, m.Timed[load.FirstMessage]+m.Timed[load.MessageGap])
	}
	if diff := cmp.Diff([]int64{5, 15, 2, 33, 1, 1, 1, 1, 1}, gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if m := got[2]; m.Missing != 2 || m.Bytes[load.Received] != 100 || m.At != 27 {
		t.Errorf("the third message is %+v, want two missing before it", m)
	}
	if err := tally.Judged(); err == nil {
		t.Error("a message that does not meet the condition is not judged")
	}
}

// A sequence is one of each connection or of the stream: numbers that begin anew are no repetitions, and those that go on are missing.
func TestASequencePerConnectionOrStream(t *testing.T) {
	for _, c := range []struct {
		name, per         string
		resumes           bool
		first, again      []int
		missing, repeated uint64
	}{
		{"begins anew", "", false, []int{1, 2, 3}, []int{1, 2, 4}, 1, 0},
		{"begins anew, by the key", PerConnection, true, []int{1, 2, 3}, []int{1, 2, 4}, 1, 0},
		{"goes on, as the server was asked", "", true, []int{1, 2, 3}, []int{3, 6}, 2, 1},
		{"goes on, by the key", PerStream, false, []int{1, 2, 3}, []int{5, 6}, 1, 0},
	} {
		texts, k := parse(t, "json.seq", "")
		var tally Tally
		tally.Begin(&Call{VU: &VU{}}, ParseStreamRules(texts[0], c.per, texts[1], k.Errors))
		take := func(numbers []int) {
			for _, n := range numbers {
				tally.Received(1, 1, fmt.Appendf(nil, `{"seq": %d}`, n))
				tally.Record()
			}
		}
		tally.Opened(1, false)
		take(c.first)
		tally.Opened(2, c.resumes)
		take(c.again)
		if got := tally.Since; got.Missing != c.missing || got.Repeated != c.repeated || got.Reordered != 0 {
			t.Errorf("%s: %d missing, %d repeated, %d late; want %d, %d, 0", c.name, got.Missing, got.Repeated, got.Reordered, c.missing, c.repeated)
		}
	}
}

func TestMessagesWaitInTheirOrder(t *testing.T) {
	var tally Tally
	for i := range mostWaiting + 3 {
		tally.Keep([]byte{byte(i)})
	}
	is := func(n byte) func([]byte) bool { return func(p []byte) bool { return p[0] == n } }
	if p, ok := tally.Take(nil, func([]byte) bool { return true }); !ok || p[0] != 3 {
		t.Errorf("the oldest that waits is %v, want the fourth", p)
	}
	if p, ok := tally.Take(nil, is(7)); !ok || p[0] != 7 {
		t.Errorf("%v, %t; want message 7", p, ok)
	}
	if p, ok := tally.Take(nil, is(6)); ok {
		t.Errorf("%v waited behind one that was taken", p)
	}
	if p, ok := tally.Take(nil, func([]byte) bool { return true }); ok {
		t.Errorf("%v waits after none was the one that was wanted", p)
	}
}

func TestWhichMessageIsWanted(t *testing.T) {
	for _, c := range []struct {
		receive, echo, sent, message string
		want                         bool
	}{
		{"any", "", "", "x", true},
		{"json.n == 2", "", "", `{"n": 2}`, true},
		{"json.n == 2", "", "", `{"n": 3}`, false},
		{"", "body", "abc", "abc", true},
		{"", "body", "abc", "abd", false},
		{"", "json.id", `{"id": 7, "a": 1}`, `{"id": 7}`, true},
		{"", "json.id", `{"id": 7}`, `{"id": 8}`, false},
		{"", "json.id", `{"id": 7}`, `{"other": 7}`, false},
	} {
		texts, k := parse(t, c.receive, c.echo)
		w := ParseWanted(texts[0], texts[1], k)
		if err := k.Errors.Err(); err != nil {
			t.Fatal(err)
		}
		var scope expr.Scope
		var own, room []byte
		var err error
		if w.Echoes {
			if own, err = w.AppendOwn(nil, &scope, &messageView{body: []byte(c.sent)}); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.Is(&scope, &messageView{body: []byte(c.message)}, own, &room); got != c.want {
			t.Errorf("receive %q echo %q of %q: %q is it: %t", c.receive, c.echo, c.sent, c.message, got)
		}
	}
	texts, k := parse(t, "", "json.id")
	w := ParseWanted(texts[0], texts[1], k)
	if _, err := w.AppendOwn(nil, &expr.Scope{}, &messageView{body: []byte(`{}`)}); err == nil {
		t.Error("a message that lacks the value to be echoed can be sent")
	}
}

func TestWaitsAndTransfersOfARequestOnAStream(t *testing.T) {
	for _, c := range []struct {
		name            string
		connect, first  int64
		wait, transfers int64
	}{
		{"a message comes", 0, 130, 30, 70},
		{"after an opening", 20, 130, 10, 70},
		{"nothing comes", 0, 0, 100, 0},
		{"nothing since the opening", 50, 120, 50, 0},
		{"the opening is all of it", 150, 0, 0, 0},
	} {
		r := load.Result{Sent: 100, Done: 200}
		r.Phases[load.PhaseConnect] = c.connect
		SplitWait(&r, c.first)
		if r.Phases[load.PhaseFirstByte] != c.wait || r.Phases[load.PhaseTransfer] != c.transfers {
			t.Errorf("%s: %d to the first byte and %d after it, want %d and %d", c.name, r.Phases[load.PhaseFirstByte], r.Phases[load.PhaseTransfer], c.wait, c.transfers)
		}
	}
}

func TestWaitsBeforeReconnectsGrow(t *testing.T) {
	r := Reconnect{BackOff: block.Duration(100 * time.Millisecond), MaxWait: block.Duration(time.Second)}
	source := NewSource(3)
	for attempt, most := range []int64{1e8, 2e8, 4e8, 8e8, 1e9, 1e9} {
		longest := int64(0)
		for range 2000 {
			longest = max(longest, r.Wait(attempt+1, source.Draw()))
		}
		if longest > most || longest < most*9/10 {
			t.Errorf("the longest of 2000 waits before attempt %d is %d ns, want nearly %d", attempt+1, longest, most)
		}
	}
	if a, b := NewSource(1), NewSource(2); a.Draw() == b.Draw() {
		t.Error("two users draw the same")
	}
}
