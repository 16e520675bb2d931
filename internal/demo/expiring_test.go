package demo

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The oracle is a list of everything that was ever put.
func TestExpiringMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.IntRange(1, 20).Draw(t, "life"))
		most := rapid.IntRange(1, 6).Draw(t, "most")
		m := newExpiring[int, int](life, most)
		type put struct {
			key, value int
			at         time.Time
		}
		var puts []put // one a key, the oldest first
		forget := func(k int) {
			for i, p := range puts {
				if p.key == k {
					puts = append(puts[:i:i], puts[i+1:]...)
					return
				}
			}
		}
		now := time.Unix(0, 0)
		for i := range rapid.IntRange(0, 60).Draw(t, "operations") {
			now = now.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "later")))
			k := rapid.IntRange(0, 9).Draw(t, "key")
			switch rapid.IntRange(0, 2).Draw(t, "operation") {
			case 0:
				m.put(k, i, now)
				forget(k)
				puts = append(puts, put{k, i, now})
			case 1:
				m.delete(k)
				forget(k)
			}
			for len(puts) > 0 && (now.Sub(puts[0].at) >= life || len(puts) > most) {
				puts = puts[1:]
			}
			for k := range 10 {
				want, known := 0, false
				for _, p := range puts {
					if p.key == k {
						want, known = p.value, true
					}
				}
				if got, ok := m.get(k, now); got != want || ok != known {
					t.Fatalf("get(%d) = %d %t, want %d %t", k, got, ok, want, known)
				}
			}
			if len(m.entries) != len(puts) || m.order.Len() != len(puts) {
				t.Fatalf("%d entries and %d in order, want %d", len(m.entries), m.order.Len(), len(puts))
			}
		}
	})
}
