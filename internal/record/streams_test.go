package record

import (
	"slices"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// messages describes a step that opens streams, and what is timed of their messages.
func messages() Scenario {
	info := Scenario{Name: "s", Steps: []Series{{Step: "live", Target: "t", Protocol: "websocket", Messages: true}}}
	for timing := range load.NumMessageTimings {
		s := own(timing.Series("live"), &load.Metric{Type: load.MetricTrend, Unit: load.UnitSeconds, Step: "live", Timing: timing})
		s.Limits = []time.Duration{300 * time.Millisecond}
		info.Steps = append(info.Steps, s)
	}
	return info
}

func TestMessages(t *testing.T) {
	var windows []*load.Window
	r := New(Options{Windows: func(w *load.Window) { windows = append(windows, w) }})
	s := open(t, r, messages())
	const ms = int64(time.Millisecond)
	received := func(n uint64, size int64) load.Message {
		return load.Message{Count: [2]uint64{load.Received: n}, Bytes: [2]int64{load.Received: size}}
	}
	for vu := range 8 {
		first := received(1, 100)
		first.Timed[load.FirstMessage] = 250 * ms
		s.Message(vu, &first)
		next := received(1, 50)
		next.Timed[load.MessageGap], next.Missing, next.Reordered = 500*ms, 3, true
		s.Message(vu, &next)
		late := received(1, 50)
		late.Timed[load.MessageGap], late.Touched, late.Repeated, late.Unmet = 1000*ms, load.ByGap, true, true
		s.Message(vu, &late)
		s.Message(vu, &load.Message{Count: [2]uint64{load.Sent: 1}, Bytes: [2]int64{load.Sent: 7}})
		end := load.Message{Closed: true, Code: 1001}
		end.Timed[load.Lifetime] = 3000 * ms
		s.Message(vu, &end)
	}
	for name, want := range map[string]map[string]float64{
		"perfd_messages_total":           {"direction=received,scenario=s,step=live": 24, "direction=sent,scenario=s,step=live": 8},
		"perfd_message_bytes_total":      {"direction=received,scenario=s,step=live": 1600, "direction=sent,scenario=s,step=live": 56},
		"perfd_messages_missing_total":   {"scenario=s,step=live": 24},
		"perfd_messages_reordered_total": {"scenario=s,step=live": 8},
		"perfd_messages_repeated_total":  {"scenario=s,step=live": 8},
		"perfd_messages_unmet_total":     {"scenario=s,step=live": 8},
		"perfd_stream_closes_total":      {"code=1001,scenario=s,step=live": 8},
	} {
		got := gathered(t, r, name)
		if len(got) != len(want) {
			t.Errorf("%s has %d series, want %d", name, len(got), len(want))
		}
		for labels, n := range want {
			if v := got[labels].GetCounter().GetValue(); v != n {
				t.Errorf("%s{%s} = %v, want %v", name, labels, v, n)
			}
		}
	}
	for name, want := range map[string]struct {
		count uint64
		sum   float64
	}{
		"perfd_message_first_seconds": {8, 2}, "perfd_message_gap_seconds": {16, 12}, "perfd_message_round_trip_seconds": {},
		"perfd_message_ping_seconds": {}, "perfd_message_reconnect_seconds": {}, "perfd_stream_lifetime_seconds": {8, 24},
	} {
		h := gathered(t, r, name)["scenario=s,step=live"].GetHistogram()
		if h == nil || h.GetSampleCount() != want.count || h.GetSampleSum() != want.sum {
			t.Errorf("%s holds %d with the sum %v, want %d and %v", name, h.GetSampleCount(), h.GetSampleSum(), want.count, want.sum)
		}
	}
	for _, name := range []string{"perfd_custom_duration_seconds", "perfd_custom_info"} {
		if got := gathered(t, r, name); len(got) != 0 {
			t.Errorf("%s shows what perfd times itself: %v", name, got)
		}
	}
	r.Flush()
	counted := load.MessageCounts{Count: [2]uint64{8, 24}, Bytes: [2]uint64{56, 1600}, Missing: 24, Reordered: 8, Repeated: 8, Unmet: 8}
	if i := slices.IndexFunc(windows, func(w *load.Window) bool { return w.Step == "live" }); i < 0 || windows[i].Messages == nil || *windows[i].Messages != counted {
		t.Errorf("the window of the step has not %+v", counted)
	}
	for _, w := range windows {
		if w.Messages != nil && w.Step != "live" {
			t.Errorf("the window of %q has messages", w.Step)
		}
		if w.Step != "live message_gap" {
			continue
		}
		// What perfd itself disturbed is no evidence.
		if w.Requests != 16 || w.ResponseTime.Count() != 8 || len(w.Touched) != 1 || w.Touched[0].Count != 8 || w.Good[0] != 0 {
			t.Errorf("window of gaps: %+v", w)
		}
		return
	}
	t.Error("there is no window of gaps")
}

// TestClosesBeyondTheCapAreCounted keeps the number of series bounded, and says how much they leave out.
func TestClosesBeyondTheCapAreCounted(t *testing.T) {
	r := New(Options{Caps: Caps{Codes: 2}})
	s := open(t, r, messages())
	for i := range 10 {
		s.Message(i, &load.Message{Closed: true, Code: int32(4000 + i%5)})
	}
	total := 0.0
	for _, m := range gathered(t, r, "perfd_stream_closes_total") {
		total += m.GetCounter().GetValue()
	}
	others := gathered(t, r, "perfd_stream_closes_total")["code=other,scenario=s,step=live"].GetCounter().GetValue()
	if over := gathered(t, r, "perfd_label_overflow_total")["label=code"].GetCounter().GetValue(); total != 10 || others != 6 || over != 6 {
		t.Errorf("%v closes, %v of them with other codes, and %v beyond the cap; want 10, 6 and 6", total, others, over)
	}
}

func TestMessagesAllocateNothing(t *testing.T) {
	s := open(t, New(Options{}), messages())
	m := load.Message{Count: [2]uint64{load.Received: 1}, Bytes: [2]int64{load.Received: 50}}
	m.Timed[load.MessageGap] = 1e6
	if n := testing.AllocsPerRun(1000, func() { s.Message(1, &m) }); n > 0 {
		t.Errorf("a message allocates %v times, want 0", n)
	}
}

func BenchmarkMessage(b *testing.B) {
	s, err := New(Options{}).Open(messages())
	if err != nil {
		b.Fatal(err)
	}
	m := load.Message{Count: [2]uint64{load.Received: 1}, Bytes: [2]int64{load.Received: 50}}
	m.Timed[load.MessageGap] = 1e6
	for b.Loop() {
		s.Message(1, &m)
	}
}
