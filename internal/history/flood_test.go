package history

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/perfd/perfd/internal/load"
)

func released(i int) load.Event {
	return load.Event{At: zero.Add(time.Duration(i) * time.Second), Kind: load.ReleaseChanged, Target: "t", Release: fmt.Sprintf("r%06d", i), Previous: strings.Repeat("x", 100)}
}

// Events that wait are written together: ten thousand cost about what one does.
func TestEventsAreWrittenTogether(t *testing.T) {
	syncs := func(n int, keep func(h *History, i int)) time.Duration {
		h := opened(t, Options{})
		began := time.Now()
		for i := range n {
			keep(h, i)
		}
		must(t, h.Flush())
		return time.Since(began)
	}
	one := syncs(200, func(h *History, i int) { must(t, h.Event(released(i))) })
	many := syncs(200, func(h *History, i int) { must(t, h.AddEvent(released(i))) })
	if many > one/3 {
		t.Errorf("200 events took %v together, %v one by one", many, one)
	}
	h := opened(t, Options{})
	for i := range maxChanges {
		must(t, h.AddEvent(released(i)))
	}
	must(t, h.Flush())
	if got, err := h.Events(time.Time{}, time.Time{}); err != nil || len(got) != maxChanges {
		t.Errorf("%d events kept, %v; want %d", len(got), err, maxChanges)
	}
}

// The file stays within its share, the oldest events go and are counted, and findings and state stay.
func TestTheLedgerKeepsToItsShare(t *testing.T) {
	const most = 16 << 20
	for _, c := range []struct {
		name   string
		events int
		lot    int // written at once
	}{
		{"small lots", 30_000, 200},
		{"large lots", 40_000, 5000},
		{"nothing to drop", 500, 50},
	} {
		if testing.Short() && c.lot > 1000 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			lost := 0
			h := opened(t, Options{MaxBytes: most, Fault: func(err error) {
				n := 0
				if _, serr := fmt.Sscanf(err.Error(), "%d events lost", &n); serr != nil {
					t.Errorf("Fault(%v)", err)
				}
				lost += n
			}})
			must(t, h.PutFinding(load.Finding{ID: "f", Updated: zero}))
			h.PutState("pause", []byte("1"))
			must(t, h.FlushState())
			for i := range c.events {
				must(t, h.AddEvent(released(i)))
				if (i+1)%c.lot == 0 {
					must(t, h.Flush())
				}
			}
			size := int64(0)
			if stat, err := os.Stat(filepath.Join(h.o.Dir, ledgerFile)); err == nil {
				size = stat.Size()
			}
			if size > most*2/5 {
				t.Errorf("the ledger takes %d bytes of %d", size, most)
			}
			kept, err := h.Events(time.Time{}, time.Time{})
			if err != nil || len(kept)+lost != c.events || kept[len(kept)-1].Release != released(c.events-1).Release {
				t.Errorf("%d events are kept and %d were counted as lost of %d (%v); want all of them, the newest kept", len(kept), lost, c.events, err)
			}
			if (lost > 0) != (c.events > 10_000) {
				t.Errorf("%d events are lost", lost)
			}
			findings, err := h.Findings()
			if err != nil || len(findings) != 1 {
				t.Errorf("findings %v, %v", findings, err)
			}
			if states, err := h.States(); err != nil || string(states["pause"]) != "1" {
				t.Errorf("state %v, %v", states, err)
			}
			must(t, h.Maintain(zero.Add(time.Hour)))
		})
	}
}

// A file that an earlier version let grow is written anew, with what it may hold.
func TestALedgerThatIsTooLargeShrinks(t *testing.T) {
	dir := t.TempDir()
	before := opened(t, Options{Dir: dir})
	for i := range 60_000 {
		must(t, before.AddEvent(released(i)))
		if i%10_000 == 0 {
			must(t, before.Flush())
		}
	}
	must(t, before.Close())
	path := filepath.Join(dir, ledgerFile)
	was, err := os.Stat(path)
	must(t, err)
	h := opened(t, Options{Dir: dir, MaxBytes: 8 << 20, Fault: func(error) {}})
	must(t, h.Maintain(zero.Add(24*time.Hour)))
	is, err := os.Stat(path)
	must(t, err)
	if is.Size() > 2<<20 || was.Size() < 4<<20 {
		t.Errorf("the ledger took %d bytes and takes %d, want at most a quarter of 8 MiB", was.Size(), is.Size())
	}
	kept, err := h.Events(time.Time{}, time.Time{})
	if err != nil || len(kept) < 2000 || kept[len(kept)-1].Release != released(59_999).Release {
		t.Errorf("%d events kept, %v; want the newest", len(kept), err)
	}
	must(t, h.Event(released(60_000)))
}

// While another process reads, changes wait, in bounds, and a change of the same key takes the place of the one before.
func TestWaitingChangesAreBounded(t *testing.T) {
	lost := 0
	h := opened(t, Options{Fault: func(err error) { lost++ }})
	h.PutState("first", []byte("0"))
	must(t, h.FlushState())
	db, err := bbolt.Open(filepath.Join(h.o.Dir, ledgerFile), 0o644, nil)
	must(t, err)
	began := time.Now()
	for i := range 3 * maxChanges {
		must(t, h.PutFinding(load.Finding{ID: "same", Sentence: fmt.Sprint(i)}))
	}
	for i := range 2 * maxChanges {
		must(t, h.AddEvent(released(i)))
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("%d changes took %v", 5*maxChanges, took)
	}
	if len(h.ledger.latest) > maxChanges || len(h.ledger.changes) > 2*maxChanges+1 {
		t.Errorf("%d changes wait in a list of %d, want at most %d", len(h.ledger.latest), len(h.ledger.changes), maxChanges)
	}
	if lost != maxChanges+1 {
		t.Errorf("%d losses were reported, want %d", lost, maxChanges+1)
	}
	must(t, db.Close())
	must(t, h.Flush())
	kept, err := h.Events(time.Time{}, time.Time{})
	if err != nil || len(kept) != maxChanges {
		t.Errorf("%d events kept, %v; want the newest %d", len(kept), err, maxChanges)
	}
}
