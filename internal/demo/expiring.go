package demo

import (
	"container/list"
	"time"
)

// An expiring map forgets an entry once it was not put for its life, and the oldest entries while there are
// more than its most: it is bounded however long it is used. It is not safe for use by several goroutines.
type expiring[K comparable, V any] struct {
	life    time.Duration
	most    int
	entries map[K]*list.Element // of *entry[K, V]
	order   *list.List          // of the same, by the time at which they were put
}

type entry[K comparable, V any] struct {
	key   K
	value V
	put   time.Time
}

func newExpiring[K comparable, V any](life time.Duration, most int) expiring[K, V] {
	return expiring[K, V]{life: life, most: most, entries: map[K]*list.Element{}, order: list.New()}
}

// get returns what was put under a key and is not forgotten.
func (m *expiring[K, V]) get(k K, now time.Time) (v V, ok bool) {
	m.expire(now)
	at, ok := m.entries[k]
	if !ok {
		return v, false
	}
	return at.Value.(*entry[K, V]).value, true
}

// put adds or replaces an entry, whose life begins now.
func (m *expiring[K, V]) put(k K, v V, now time.Time) {
	m.delete(k)
	m.entries[k] = m.order.PushBack(&entry[K, V]{k, v, now})
	m.expire(now)
}

func (m *expiring[K, V]) delete(k K) {
	if at, ok := m.entries[k]; ok {
		m.order.Remove(at)
		delete(m.entries, k)
	}
}

// expire forgets what is to be forgotten now.
func (m *expiring[K, V]) expire(now time.Time) {
	for at := m.order.Front(); at != nil; at = m.order.Front() {
		e := at.Value.(*entry[K, V])
		if len(m.entries) <= m.most && now.Sub(e.put) < m.life {
			return
		}
		m.delete(e.key)
	}
}
