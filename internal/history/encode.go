package history

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/queue"
)

// The types of frames.
const (
	windowsFrame = 'W'
	samplesFrame = 'S'
	// touchedFrame holds windows too, each with what perfd itself disturbed of it. It is
	// written where there is something: readers that do not know it skip it.
	touchedFrame = 'T'
)

// How the body of a frame is written.
const (
	plainBody = 0
	zstdBody  = 1
)

// Where a histogram is found.
const (
	ownHistogram   = 0 // it follows
	sameAsDuration = 1 // of the same window
	sumOfSteps     = 2 // the same histogram of all windows before it in the frame
)

const (
	// splitBody is the length from which on the rest of a group goes to another frame.
	splitBody = 1 << 20
	// maxBody bounds what a damaged frame may ask for.
	maxBody = 8 << 20
)

// The bits of load.Flags on disk.
const (
	warmUpBit = 1 << iota
	pausedBit
	disturbedBit
	backedOffBit
	settlingBit
	maintenanceBit
)

// An encoder writes frames of the newest version.
type encoder struct {
	zstd    *zstd.Encoder
	body    []byte
	packed  []byte
	strings []string
	index   map[string]uint64
}

func newEncoder() *encoder {
	// The window need not be larger than a body is long.
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(splitBody), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options are constants
	}
	return &encoder{zstd: z, index: map[string]uint64{}}
}

func (e *encoder) reset() {
	e.body, e.strings = e.body[:0], e.strings[:0]
	clear(e.index)
}

// windows appends the frames of windows of one scenario that end together: the
// steps' before the scenario's own.
func (e *encoder) windows(dst []byte, group []*load.Window) []byte {
	kind := byte(windowsFrame)
	if slices.ContainsFunc(group, touched) {
		kind = touchedFrame
	}
	for len(group) > 0 {
		e.reset()
		n := 0
		for n < len(group) && len(e.body) < splitBody {
			e.window(group[n], group[:n])
			if kind == touchedFrame {
				e.touched(group[n])
			}
			n++
		}
		first := group[0]
		dst = queue.AppendFrame(dst, kind, func(dst []byte) []byte {
			dst = binary.AppendVarint(dst, first.End.UnixNano())
			dst = appendText(dst, first.Scenario)
			return e.finish(dst, n)
		})
		group = group[n:]
	}
	return dst
}

// touched reports whether perfd itself disturbed something of a window.
func touched(w *load.Window) bool {
	return len(w.Touched) > 0 || w.Stalled != 0 || w.Iterations != nil && w.Iterations.Excused > 0
}

// touched writes what perfd itself disturbed of a window.
func (e *encoder) touched(w *load.Window) {
	e.int(int64(w.Stalled))
	e.uint(uint64(len(w.Touched)))
	for _, c := range w.Touched {
		e.uint(uint64(c.By))
		e.uint(uint64(c.Cause))
		e.uint(c.Count)
	}
	if w.Iterations != nil {
		e.uint(w.Iterations.Excused)
	}
}

// samples appends a frame of samples.
func (e *encoder) samples(dst []byte, samples []load.Sample) []byte {
	for len(samples) > 0 {
		e.reset()
		n := 0
		for n < len(samples) && len(e.body) < splitBody {
			e.sample(&samples[n])
			n++
		}
		dst = queue.AppendFrame(dst, samplesFrame, func(dst []byte) []byte { return e.finish(dst, n) })
		samples = samples[n:]
	}
	return dst
}

// finish appends the body: the table of strings and the n things that use it.
func (e *encoder) finish(dst []byte, n int) []byte {
	table := binary.AppendUvarint(nil, uint64(len(e.strings)))
	for _, s := range e.strings {
		table = appendText(table, s)
	}
	table = binary.AppendUvarint(table, uint64(n))
	e.body = append(e.body, table...)
	copy(e.body[len(table):], e.body[:len(e.body)-len(table)])
	copy(e.body, table)
	if e.packed = e.zstd.EncodeAll(e.body, e.packed[:0]); len(e.packed) < len(e.body) {
		return append(append(dst, zstdBody), e.packed...)
	}
	return append(append(dst, plainBody), e.body...)
}

func (e *encoder) window(w *load.Window, before []*load.Window) {
	e.text(w.Step)
	e.text(w.Target)
	e.text(w.Protocol)
	e.text(w.Run)
	e.text(w.Release)
	e.int(w.End.UnixNano())
	e.int(w.End.UnixNano() - w.Start.UnixNano())
	e.flags(w.Flags)
	e.float(w.Planned)
	e.float(w.Busy)

	e.uint(w.Requests)
	e.counts(w.Failures[:])
	e.uint(uint64(len(w.Codes)))
	for _, c := range w.Codes {
		e.int(int64(c.Code))
		e.uint(c.Count)
	}
	e.histograms(w, before)
	e.uint(uint64(len(w.Limits)))
	for i, limit := range w.Limits {
		e.int(int64(limit))
		e.uint(w.Good[i])
	}
	e.uint(uint64(len(w.Phases)))
	for _, d := range w.Phases {
		e.int(int64(d))
	}
	e.int(int64(w.Waited))
	e.int(w.SentBytes)
	e.int(w.ReceivedBytes)
	e.uint(uint64(len(w.Checks)))
	for _, c := range w.Checks {
		e.text(c.Name)
		e.uint(c.Evaluated)
		e.uint(c.Failed)
	}
	if w.Iterations == nil {
		e.uint(0)
		return
	}
	e.uint(1)
	e.iterations(w.Iterations)
}

func (e *encoder) iterations(it *load.Iterations) {
	e.uint(it.Started)
	e.uint(it.Completed)
	e.uint(it.Stopped)
	e.uint(it.Interrupted)
	e.counts(it.Dropped[:])
	e.int(int64(it.Spent))
	e.body = it.Duration.AppendSparse(e.body)
	e.body = it.Lateness.AppendSparse(e.body)
}

// histograms writes what other windows and the other histogram do not say already.
func (e *encoder) histograms(w *load.Window, before []*load.Window) {
	sums := sumsUp(w.Step, before)
	if sums && w.Duration.Equal(total(before, duration)) {
		e.uint(sumOfSteps)
	} else {
		e.own(w.Duration)
	}
	switch {
	case w.ResponseTime.Equal(w.Duration):
		e.uint(sameAsDuration)
	case sums && w.ResponseTime.Equal(total(before, responseTime)):
		e.uint(sumOfSteps)
	default:
		e.own(w.ResponseTime)
	}
}

// sumsUp reports whether a window may be the sum of those before it in its
// frame: the first without a step. Then reading a frame takes time in proportion to its length.
func sumsUp(step string, before []*load.Window) bool {
	return step == "" && len(before) > 0 && before[len(before)-1].Step != ""
}

func (e *encoder) own(h *hist.Histogram) {
	e.uint(ownHistogram)
	e.body = h.AppendSparse(e.body)
}

func duration(w *load.Window) *hist.Histogram     { return w.Duration }
func responseTime(w *load.Window) *hist.Histogram { return w.ResponseTime }

// total merges a histogram of the windows of all steps. It must not be changed: one window's
// is returned as it is.
func total(windows []*load.Window, of func(*load.Window) *hist.Histogram) *hist.Histogram {
	if len(windows) == 1 {
		return of(windows[0])
	}
	parts := make([]*hist.Histogram, 0, len(windows))
	for _, w := range windows {
		if !w.IsGroup() { // is no part of the sum
			parts = append(parts, of(w))
		}
	}
	return hist.Sum(parts)
}

func (e *encoder) sample(s *load.Sample) {
	e.text(s.Target)
	e.text(s.Resource)
	e.text(s.Kind)
	e.text(s.Member)
	e.int(s.End.UnixNano())
	e.int(s.End.UnixNano() - s.Start.UnixNano())
	e.int(int64(s.Count))
	// One reading has one level.
	if level := math.Float64bits(s.Last); level == math.Float64bits(s.Min) && level == math.Float64bits(s.Mean) && level == math.Float64bits(s.Max) {
		e.uint(1)
		e.float(s.Last)
		return
	}
	e.uint(4)
	e.float(s.Min)
	e.float(s.Mean)
	e.float(s.Max)
	e.float(s.Last)
}

func (e *encoder) flags(f load.Flags) {
	var set uint64
	for i, on := range [...]bool{f.WarmUp, f.Paused, f.Disturbed, f.BackedOff, f.Settling, f.Maintenance} {
		if on {
			set |= 1 << i
		}
	}
	e.uint(set)
	e.uint(uint64(f.Invalid))
}

// counts writes those that are not 0, by their index.
func (e *encoder) counts(list []uint64) {
	n := 0
	for _, c := range list {
		if c != 0 {
			n++
		}
	}
	e.uint(uint64(n))
	for i, c := range list {
		if c != 0 {
			e.uint(uint64(i))
			e.uint(c)
		}
	}
}

func (e *encoder) uint(v uint64) { e.body = binary.AppendUvarint(e.body, v) }
func (e *encoder) int(v int64)   { e.body = binary.AppendVarint(e.body, v) }

// float writes the bytes of a number in reverse: those of round numbers end in zeros.
func (e *encoder) float(v float64) { e.uint(bits.ReverseBytes64(math.Float64bits(v))) }

// text writes the number of a string in the frame's table.
func (e *encoder) text(s string) {
	i, ok := e.index[s]
	if !ok {
		i = uint64(len(e.strings))
		e.index[s] = i
		e.strings = append(e.strings, s)
	}
	e.uint(i)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
