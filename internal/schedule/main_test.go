package schedule

import (
	"testing"
	"time"
	_ "time/tzdata" // the tests must not depend on the machine's time zones

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/block"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// decode reads a block as the configuration does.
func decode[T any](t testing.TB, text string) (T, error) {
	t.Helper()
	var errs block.Errors
	var into T
	if n := block.Parse("perfd.yaml", []byte(text), &errs); n != nil {
		block.Decode(n, &into, &errs)
	}
	return into, errs.Err()
}

func must[T any](t testing.TB, text string) T {
	t.Helper()
	v, err := decode[T](t, text)
	if err != nil {
		t.Fatalf("decode %s: %v", text, err)
	}
	return v
}

// compile returns the schedule of a block.
func compile(t testing.TB, text string, o Options) *Schedule {
	t.Helper()
	s, err := New(must[Config](t, text), o)
	if err != nil {
		t.Fatalf("New(%s): %v", text, err)
	}
	return s
}

func compileBlackouts(t testing.TB, text string) *Blackouts {
	t.Helper()
	b, err := NewBlackouts(must[[]Blackout](t, text))
	if err != nil {
		t.Fatalf("NewBlackouts(%s): %v", text, err)
	}
	return b
}

// at reads an instant, with its offset: "2026-03-29 01:30 +01:00".
func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse("2006-01-02 15:04 -07:00", text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// shown writes an instant as the wall clock of a zone shows it, with its offset.
func shown(v time.Time, loc *time.Location) string {
	if v.IsZero() {
		return "never"
	}
	return v.In(loc).Format("2006-01-02 15:04 -07:00")
}
