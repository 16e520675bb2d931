package flow

import (
	"slices"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// watch is a protocol whose requests last for three seconds, at whose ends they look again, on a session that is attended.
type watch struct{}

func (*watch) Compile(*protocol.Compiler) protocol.Step { return watchStep{} }

type watchStep struct{}

func (watchStep) Timings() []load.MessageTiming {
	return []load.MessageTiming{load.MessageGap, load.RoundTrip}
}

func (watchStep) Do(c *protocol.Call) {
	shared, _ := c.VU.Env.Shared(protocol.Key{}, nil)
	w := shared.(*wire)
	held, err := c.VU.Session(protocol.Key{Kind: "watch"}, func(*protocol.VU) (protocol.Session, error) { return &watchSession{w: w}, nil })
	if err != nil {
		panic(err)
	}
	s := held.(*watchSession)
	if s.looks++; s.looks == 1 {
		c.Result.Sent = int64(w.now)
	}
	if s.looks <= 3 {
		c.Again = w.now + time.Second
		return
	}
	s.looks = 0
	c.Messages.Message(c.VU.ID, &load.Message{Step: c.Result.Step, Count: [2]uint64{load.Received: 3}})
	c.Result.Done = int64(w.now)
	c.Response = &fakeAnswer{code: 200}
}

type watchSession struct {
	w     *wire
	looks int
}

func (s *watchSession) Attend()    { s.w.sent = append(s.w.sent, "attended") }
func (s *watchSession) Interrupt() {}
func (s *watchSession) Close()     {}

// messageSink notes the steps of messages.
type messageSink struct{ steps []int }

func (s *messageSink) Message(_ int, m *load.Message) { s.steps = append(s.steps, m.Step) }

func watching(t *testing.T, text string) (*Program, error) {
	t.Helper()
	var errs block.Errors
	var d document
	block.Decode(block.Parse("f", []byte(text), &errs), &d, &errs)
	return Compile(&d.Flow, Options{
		Scenario: "s", Target: block.Text{S: "shop"}, Errors: &errs,
		Kinds:   []protocol.Kind{fakeKind, {Name: "watch", Step: func() protocol.Config { return &watch{} }}},
		Targets: map[string]*Target{"shop": {Defaults: func(string) any { return nil }}},
	}), errs.Err()
}

const watchFlow = `
flow:
  - {name: before, fake: {}}
  - {name: live, watch: {}}
  - {think: 1s}
  - {name: after, fake: {}}
`

// A request that lasts holds no goroutine, is one result, and its session is attended meanwhile and while the VU thinks.
func TestARequestThatLasts(t *testing.T) {
	p, err := watching(t, watchFlow)
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, s := range p.Steps {
		labels = append(labels, s.Label)
	}
	if want := []string{"before", "live", "live message_gap", "live message_round_trip", "after"}; !slices.Equal(labels, want) {
		t.Errorf("steps %q, want %q", labels, want)
	}
	if m := p.Steps[3].Metric; !p.Steps[1].Messages || m == nil || m.Step != "live" || m.Timing != load.RoundTrip || p.Requests != 3 {
		t.Errorf("live %+v, its round trips %+v, %d requests", p.Steps[1], m, p.Requests)
	}
	f := newPerformer()
	sink := &messageSink{}
	f.rt.Messages = sink
	wakes := f.iterate(p.NewVU(0, f.rt), 0)
	const ms = time.Millisecond
	if want := []time.Duration{1010 * ms, 2010 * ms, 3010 * ms, 4010 * ms}; !slices.Equal(wakes, want) {
		t.Errorf("woken at %v, want %v", wakes, want)
	}
	if want := []string{"", "attended", "attended", "attended", "attended", ""}; !slices.Equal(f.sent, want) {
		t.Errorf("on the wire %q, want %q", f.sent, want)
	}
	if len(f.results) != 3 || f.results[1].Step != 1 || f.results[1].Duration() != int64(3*time.Second) || f.results[2].Step != 4 {
		t.Errorf("results %+v", f.results)
	}
	if !slices.Equal(sink.steps, []int{1}) {
		t.Errorf("messages of steps %v, want 1", sink.steps)
	}
}

func TestARequestThatLastsIsCutOff(t *testing.T) {
	p, err := watching(t, watchFlow)
	if err != nil {
		t.Fatal(err)
	}
	for name, cut := range map[string]func(v *VU){
		"closed":      func(v *VU) { v.Close() },
		"interrupted": func(v *VU) { v.Interrupt(); v.Go() },
	} {
		f := newPerformer()
		f.rt.Messages = &messageSink{}
		v := p.NewVU(0, f.rt)
		v.Begin(0)
		v.Go()
		f.now = 1500 * time.Millisecond
		cut(v)
		if n := len(f.results); n != 2 || f.results[1].Cause != load.Canceled || f.results[1].Done != int64(f.now) {
			t.Errorf("%s: results %+v", name, f.results)
		}
		v.Close()
		if len(f.results) != 2 {
			t.Errorf("%s: another result when it is closed", name)
		}
	}
}

func TestATimingOfMessagesIsNoMetricOfAScenario(t *testing.T) {
	if _, err := compile(t, "metrics: {message_gap: trend}\nflow: [{name: a, fake: {}}]"); err == nil {
		t.Error("a metric may be called message_gap")
	}
}
