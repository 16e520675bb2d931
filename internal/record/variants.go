package record

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/load"
)

// A variant is the cumulative state of one series of a metric with labels.
type variant struct {
	created time.Time
	sinks   int // open sinks that have it
	labels  []*dto.LabelPair
	totals
}

// variants are the series of a metric with labels, of one sink. A series begins with its first value, or with the sink
// where all values of all labels are declared. Their number is bounded by the declaration: what is beyond is left out.
type variants struct {
	state *step
	first int // place of the first one's cell in a shard

	known   atomic.Pointer[known]
	mu      sync.Mutex    // held by who replaces known
	leftOut atomic.Uint64 // values

	// Owned by the recorder, under its mu.
	states        []*variant // by place in known; nil of those without a value yet
	foldedLeftOut uint64
}

// known are the series of a metric that there are. It is immutable.
type known struct {
	at     map[string]int    // by the values of the labels, with load.LabelSeparator between them
	keys   []string          // of at, by place
	values []map[string]bool // by label: those that there are
}

// longestValue bounds the values of labels, in bytes.
const longestValue = 100

// newVariants returns the series of a step that is a metric with labels, those that are known already included. The
// caller holds the recorder's mu.
func newVariants(st *step, first int, now time.Time) *variants {
	v := &variants{state: st, first: first, states: make([]*variant, st.metric.Series())}
	k := &known{at: map[string]int{}, values: make([]map[string]bool, len(st.metric.Labels))}
	all := []string{""}
	for i, l := range st.metric.Labels {
		k.values[i] = map[string]bool{}
		var longer []string
		for _, value := range l.Values {
			k.values[i][value] = true
			for _, key := range all {
				if i > 0 {
					key += string([]byte{load.LabelSeparator})
				}
				longer = append(longer, key+value)
			}
		}
		all = longer // none where the values of a label are not known
	}
	v.known.Store(k)
	for _, key := range slices.Concat(all, slices.Sorted(maps.Keys(st.variants))) {
		if i, ok := v.find([]byte(key)); ok && v.states[i] == nil {
			v.states[i] = st.variant(key, now)
		}
	}
	return v
}

// find returns the place of a series, which it makes where the declaration allows one more.
func (v *variants) find(labels []byte) (place int, ok bool) {
	k := v.known.Load()
	if i, ok := k.at[string(labels)]; ok {
		return i, true
	}
	if !k.admits(labels, v.state.metric) {
		return 0, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	k = v.known.Load()
	if i, ok := k.at[string(labels)]; ok {
		return i, true
	}
	if !k.admits(labels, v.state.metric) {
		return 0, false
	}
	key := string(labels)
	next := &known{at: maps.Clone(k.at), keys: append(slices.Clone(k.keys), key)}
	next.at[key] = len(k.keys)
	for i, value := range strings.Split(key, string([]byte{load.LabelSeparator})) {
		have := k.values[i]
		if !have[value] {
			have = maps.Clone(have)
			have[value] = true
		}
		next.values = append(next.values, have)
	}
	v.known.Store(next)
	return len(k.keys), true
}

// admits reports whether there may be a series with these labels. It allocates nothing: values that are left out come
// as often as others.
func (k *known) admits(labels []byte, m *load.Metric) bool {
	rest := labels
	for i := range m.Labels {
		value, after, more := bytes.Cut(rest, separator)
		if more != (i < len(m.Labels)-1) || len(value) == 0 || len(value) > longestValue || !utf8.Valid(value) {
			return false
		}
		if !k.values[i][string(value)] && (m.Labels[i].Values != nil || len(k.values[i]) >= m.Labels[i].AtMost) {
			return false
		}
		rest = after
	}
	return true
}

var separator = []byte{load.LabelSeparator}

// variant returns the series of a step with these labels for one more sink, creating it.
func (s *step) variant(key string, now time.Time) *variant {
	x := s.variants[key]
	if x == nil {
		x = &variant{created: now}
		for i, value := range strings.Split(key, string(separator)) {
			x.labels = append(x.labels, label(s.metric.Labels[i].Name, value))
		}
		if s.variants == nil {
			s.variants = map[string]*variant{}
		}
		s.variants[key] = x
	}
	x.sinks++
	return x
}

// drain adds the cells of a shard to the series and to the metric as a whole, and what was left out to its count. The
// caller holds the recorder's mu.
func (v *variants) drain(c cells, r *Recorder) {
	k := v.known.Load()
	for i, key := range k.keys {
		cell := c.steps[v.first+i]
		if cell == nil {
			continue
		}
		if v.states[i] == nil {
			v.states[i] = v.state.variant(key, r.options.Now())
			r.changed = true
		}
		v.states[i].add(cell)
		v.state.add(cell)
		c.release(v.first + i)
	}
}

// release drops a closed sink's share of the series.
func (v *variants) release() {
	for i, key := range v.known.Load().keys {
		if x := v.states[i]; x != nil {
			if x.sinks--; x.sinks == 0 {
				delete(v.state.variants, key)
			}
		}
	}
}
