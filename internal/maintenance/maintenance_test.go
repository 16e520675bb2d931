package maintenance

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/state"
)

// disk keeps state in memory.
type disk struct {
	values map[string][]byte
	err    error
}

func (d *disk) States() (map[string][]byte, error) { return d.values, nil }

func (d *disk) PutState(key string, value []byte) {
	if d.err == nil {
		d.values[key] = value
	}
}

func (d *disk) FlushState() error { return d.err }

func newStore(t *testing.T, d *disk) *state.Store {
	t.Helper()
	s, err := state.Open(t.TempDir(), d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var noon = time.Date(2026, 12, 6, 12, 0, 0, 0, time.UTC) // a Sunday

func TestPlan(t *testing.T) {
	var configs struct {
		Maintenance []Config `yaml:"maintenance"`
	}
	var errs block.Errors
	block.Decode(block.Parse("x.yaml", []byte(`
maintenance:
  - {name: database, targets: [shop], weekdays: [sun], from: "11:00", to: "13:00"}
  - {name: night, from: "22:00", to: "04:00"}
`), &errs), &configs, &errs)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(configs.Maintenance)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		target   string
		from, to time.Duration // since noon
		want     bool
	}{
		{"shop", 0, time.Minute, true},
		{"shop", -2 * time.Hour, -time.Hour - time.Second, false},
		{"shop", -2 * time.Hour, -time.Minute, true}, // begins in between
		{"search", 0, time.Minute, false},
		{"search", 10 * time.Hour, 10*time.Hour + time.Second, true},
		{"shop", 24 * time.Hour, 24*time.Hour + time.Minute, false}, // Monday
		{"shop", 15 * time.Hour, 15*time.Hour + time.Minute, true},
	} {
		if got := p.During(c.target, noon.Add(c.from), noon.Add(c.to)); got != c.want {
			t.Errorf("%s from %v to %v in maintenance: %v, want %v", c.target, c.from, c.to, got, c.want)
		}
	}
	now := p.At(noon)
	if len(now) != 1 || now[0].Name != "database" || !now[0].Until.Equal(noon.Add(time.Hour)) || now[0].Covers("search") || !now[0].Covers("shop") {
		t.Errorf("at noon: %+v", now)
	}
	var none *Plan
	if none.During("shop", noon, noon) || none.At(noon) != nil {
		t.Error("a nil plan declares something")
	}
}

func TestPushedWindows(t *testing.T) {
	d := &disk{values: map[string][]byte{}}
	p := NewPushed(newStore(t, d))
	w, err := p.Push(Window{Name: "database", Targets: []string{"shop"}, Until: noon.Add(time.Hour)}, noon)
	if err != nil || w.ID == "" || !w.From.Equal(noon) {
		t.Fatalf("pushed %+v: %v", w, err)
	}
	later, err := p.Push(Window{Name: "all", From: noon.Add(2 * time.Hour), Until: noon.Add(3 * time.Hour)}, noon)
	if err != nil {
		t.Fatal(err)
	}

	p = NewPushed(newStore(t, d)) // a restart
	for _, c := range []struct {
		target   string
		from, to time.Duration
		want     bool
	}{
		{"shop", 0, time.Second, true},
		{"shop", -time.Minute, 0, false},
		{"shop", time.Hour, time.Hour + time.Second, false},
		{"search", 0, time.Hour, false},
		{"search", 0, 2*time.Hour + time.Second, true},
	} {
		if got := p.During(c.target, noon.Add(c.from), noon.Add(c.to)); got != c.want {
			t.Errorf("%s from %v to %v in maintenance: %v, want %v", c.target, c.from, c.to, got, c.want)
		}
	}
	if at, after := p.At(noon), p.After(noon); len(at) != 1 || at[0].ID != w.ID || len(after) != 1 || after[0].ID != later.ID {
		t.Errorf("at noon %+v, after it %+v", at, after)
	}

	if err := p.End(w.ID, noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if !p.During("shop", noon, noon.Add(time.Second)) || p.During("shop", noon.Add(time.Minute), noon.Add(time.Hour)) {
		t.Error("a window that was ended must hold until then, and not after it")
	}
	if err := p.End(later.ID, noon.Add(time.Minute)); err != nil || len(p.After(noon)) != 0 {
		t.Errorf("a window that was taken back: %v, still to come: %+v", err, p.After(noon))
	}
	if err := p.End(w.ID, noon.Add(2*time.Minute)); !errors.Is(err, ErrUnknown) {
		t.Errorf("ended twice: %v", err)
	}
}

func TestWhatIsNoWindow(t *testing.T) {
	d := &disk{values: map[string][]byte{}}
	p := NewPushed(newStore(t, d))
	for _, c := range []struct {
		w    Window
		want string
	}{
		{Window{Until: noon.Add(time.Hour)}, "name: is required"},
		{Window{Name: strings.Repeat("x", 129), Until: noon.Add(time.Hour)}, "at most 128 bytes, got 129"},
		{Window{Name: "x", Until: noon}, "until: must be after the beginning, 2026-12-06T12:00:00Z, got 2026-12-06T12:00:00Z"},
		{Window{Name: "x", From: noon.Add(time.Hour), Until: noon.Add(time.Minute)}, "until: must be after the beginning"},
		{Window{Name: "x", Until: noon.Add(31 * 24 * time.Hour)}, "lasts 30d at most, got 744h"},
	} {
		if _, err := p.Push(c.w, noon); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.w, err, c.want)
		}
	}
	for range mostPushed {
		if _, err := p.Push(Window{Name: "x", Until: noon.Add(time.Hour)}, noon); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Push(Window{Name: "x", Until: noon.Add(time.Hour)}, noon); !errors.Is(err, ErrFull) {
		t.Errorf("one more than %d: %v", mostPushed, err)
	}
	if _, err := p.Push(Window{Name: "x", Until: noon.Add(3 * time.Hour)}, noon.Add(2*time.Hour)); err != nil {
		t.Errorf("once the others are over: %v", err)
	}
	d.err = errors.New("disk full")
	if w, err := p.Push(Window{Name: "y", Until: noon.Add(3 * time.Hour)}, noon.Add(2*time.Hour)); !errors.Is(err, ErrNotKept) || w.ID == "" || !p.During("shop", noon.Add(2*time.Hour), noon.Add(3*time.Hour)) {
		t.Errorf("on a full disk: %+v, %v", w, err)
	}
}
