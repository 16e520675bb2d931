package hist

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSparseHistogramsComeBackExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := durations().Draw(t, "values")
		h := recorded(values)
		for range rapid.IntRange(0, 3).Draw(t, "over") {
			h.Record(int64(2 * time.Hour))
		}
		bytes := h.AppendSparse([]byte("before"))
		var back Histogram
		rest, err := back.DecodeSparse(append(bytes[len("before"):], "after"...))
		if err != nil || string(rest) != "after" {
			t.Fatalf("DecodeSparse = %q, %v, want what follows", rest, err)
		}
		if !back.Equal(h) || !back.HDR().Equals(h.HDR()) || back.Over() != h.Over() || back.Sum() != h.Sum() {
			t.Fatalf("DecodeSparse(AppendSparse(%v)) has count %d, over %d, sum %v", values, back.Count(), back.Over(), back.Sum())
		}
	})
}

func TestSparseHistogramsKeepCountersBeyond32Bits(t *testing.T) {
	h := many(t, 20e6, 5*math.MaxUint32, time.Hour)
	var back Histogram
	if _, err := back.DecodeSparse(h.AppendSparse(nil)); err != nil {
		t.Fatal(err)
	}
	if !back.Equal(h) || back.Count() != 5*math.MaxUint32 {
		t.Errorf("Count() = %d, want %d", back.Count(), uint64(5*math.MaxUint32))
	}
}

func TestSumIsWhatMergingGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts []*Histogram
		var merged Histogram
		for _, values := range rapid.SliceOfN(durations(), 0, 5).Draw(t, "values") {
			parts = append(parts, recorded(values))
			merged.Merge(recorded(values))
		}
		sum := Sum(parts)
		if !sum.Equal(&merged) || !sum.HDR().Equals(merged.HDR()) {
			t.Fatalf("Sum has count %d and sum %v, want %d and %v", sum.Count(), sum.Sum(), merged.Count(), merged.Sum())
		}
		var again Histogram
		sum.Merge(&merged)
		for _, p := range parts {
			again.Merge(p)
		}
		if !again.Equal(&merged) {
			t.Fatal("Sum shares its counters with what it added up")
		}
	})
}

func TestSumGoesBeyond32Bits(t *testing.T) {
	h := many(t, 20e6, math.MaxUint32, time.Hour)
	if got := Sum([]*Histogram{h, h, h}); got.Count() != 3*math.MaxUint32 || got.HDR().TotalCount() != 3*math.MaxUint32 || got.Sum() != 3*time.Hour {
		t.Errorf("Sum has count %d (%d in slots) and sum %v, want %d and 3h", got.Count(), got.HDR().TotalCount(), got.Sum(), uint64(3*math.MaxUint32))
	}
}

func TestASparseHistogramTakesAByteForAFilledSlot(t *testing.T) {
	h := recorded(logNormal(10_000))
	filled := 0
	for range h.counts() {
		filled++
	}
	if got, most := len(h.AppendSparse(nil)), filled*3/2+16; got > most {
		t.Errorf("%d filled slots take %d bytes, want at most %d", filled, got, most)
	}
}

func TestEqualToldApart(t *testing.T) {
	h := recorded([]int64{5, 5e6})
	for name, g := range map[string]*Histogram{
		"other slot":   recorded([]int64{6, 5e6}),
		"one more":     recorded([]int64{5, 5e6, 5e6}),
		"other sum":    many(t, 5e6, 2, 5e6+5),
		"out of range": recorded([]int64{5, int64(2 * Highest)}),
	} {
		if h.Equal(g) || g.Equal(h) {
			t.Errorf("%s: Equal = true", name)
		}
	}
	emptied := recorded([]int64{1, 70e6})
	emptied.Reset()
	emptied.Merge(h)
	if !h.Equal(emptied) || !emptied.Equal(h) {
		t.Error("Equal = false for a histogram with an octave of zeros")
	}
}

func TestHostileSparseHistogramsAreRefused(t *testing.T) {
	var beyond []byte
	beyond = binary.AppendUvarint(append(beyond, 0, 0, 0), slots)
	for name, src := range map[string][]byte{
		"nothing":          nil,
		"no end":           {0, 9, 1, 2},
		"half a varint":    {0, 9, 0xff},
		"gap too wide":     {0, 0, 0, 0xff, 0xff, 0x7f, 1, 0, 0},
		"one slot beyond":  append(beyond, 1, 0, 0),
		"more over":        {2, 9, 1, 0, 0},
		"count goes round": append(binary.AppendUvarint([]byte{0, 0, 1}, math.MaxUint64), 0, 0),
	} {
		if rest, err := new(Histogram).DecodeSparse(src); err == nil {
			t.Errorf("%s: DecodeSparse = %v, want an error", name, rest)
		}
	}
}

func BenchmarkAppendSparse(b *testing.B) {
	h := recorded(logNormal(1000))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst = h.AppendSparse(dst[:0])
	}
}

func BenchmarkDecodeSparse(b *testing.B) {
	src := recorded(logNormal(1000)).AppendSparse(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := new(Histogram).DecodeSparse(src); err != nil {
			b.Fatal(err)
		}
	}
}
