package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

var errShort = errors.New("it ends too early")

// A decoder reads the payloads of frames. Strings that come again and again are
// kept once.
type decoder struct {
	zstd    *zstd.Decoder
	body    []byte
	segment []byte // lent to the segment being read
	seen    map[string]string

	rest   []byte
	table  []string
	summed bool  // a window without a step came
	err    error // of the payload being read
}

// maxSeen bounds the strings a decoder remembers.
const maxSeen = 10_000

func newDecoder() *decoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return &decoder{zstd: z, seen: map[string]string{}}
}

func (d *decoder) close() { d.zstd.Close() }

// head reads the beginning of a frame of windows: when they end, in ns since
// 1970, and whose they are.
func (d *decoder) head(payload []byte) (end int64, scenario string, err error) {
	d.rest, d.err = payload, nil
	end = d.int()
	scenario = d.bytes()
	return end, scenario, d.err
}

// windows decodes a frame of windows of a version of the format.
func (d *decoder) windows(version byte, payload []byte) ([]*load.Window, error) {
	_, scenario, err := d.head(payload)
	if err != nil {
		return nil, err
	}
	switch version {
	case 1:
		return d.windows1(scenario)
	}
	return nil, fmt.Errorf("no decoder for version %d", version)
}

// samples decodes a frame of samples of a version of the format.
func (d *decoder) samples(version byte, payload []byte) ([]load.Sample, error) {
	d.rest, d.err = payload, nil
	switch version {
	case 1:
		return d.samples1()
	}
	return nil, fmt.Errorf("no decoder for version %d", version)
}

// open unpacks the body, reads its table of strings, and returns how many
// things follow.
func (d *decoder) open() int {
	if len(d.rest) == 0 {
		d.err = errShort
		return 0
	}
	how, body := d.rest[0], d.rest[1:]
	switch how {
	case plainBody:
		if len(body) > maxBody {
			d.err = fmt.Errorf("its body of %d bytes is too long", len(body))
		}
	case zstdBody:
		body, d.err = d.zstd.DecodeAll(body, d.body[:0])
		d.body = body
	default:
		d.err = fmt.Errorf("its body is packed in an unknown way: %d", how)
	}
	d.rest, d.table, d.summed = body, d.table[:0], false
	for range d.count(1) {
		d.table = append(d.table, d.bytes())
	}
	return d.count(1)
}

func (d *decoder) windows1(scenario string) ([]*load.Window, error) {
	// The shortest window takes more bytes than this.
	const least = 16
	n := min(d.open(), len(d.rest)/least)
	windows := make([]*load.Window, 0, n)
	for len(windows) < n && d.err == nil {
		w := d.window(windows)
		w.Scenario = scenario
		windows = append(windows, w)
	}
	return windows, d.err
}

// A whole is a window and its histograms, allocated at once.
type whole struct {
	load.Window
	duration, responseTime hist.Histogram
}

func (d *decoder) window(before []*load.Window) *load.Window {
	w := new(whole)
	w.Step, w.Target, w.Protocol = d.text(), d.text(), d.text()
	w.Run, w.Release = d.text(), d.text()
	w.Start, w.End = d.span()
	w.Flags = d.flags()
	w.Planned, w.Busy = d.float(), d.float()

	w.Requests = d.uint()
	d.counts(w.Failures[:], int(load.Internal))
	if n := d.count(2); n > 0 {
		w.Codes = make([]load.CodeCount, n)
		for i := range w.Codes {
			w.Codes[i] = load.CodeCount{Code: int32(d.int()), Count: d.uint()}
		}
	}
	if !sumsUp(w.Step, before) || d.summed {
		before = nil
	}
	d.summed = d.summed || w.Step == ""
	w.Duration = d.histogram(&w.duration, nil, before, duration)
	w.ResponseTime = d.histogram(&w.responseTime, w.Duration, before, responseTime)
	if n := d.count(2); n > 0 {
		w.Limits, w.Good = make([]time.Duration, n), make([]uint64, n)
		for i := range n {
			w.Limits[i], w.Good[i] = time.Duration(d.int()), d.uint()
		}
	}
	for i := range d.count(1) {
		if v := d.int(); i < len(w.Phases) {
			w.Phases[i] = time.Duration(v)
		}
	}
	w.Waited = time.Duration(d.int())
	w.SentBytes, w.ReceivedBytes = d.int(), d.int()
	if n := d.count(3); n > 0 {
		w.Checks = make([]load.CheckCount, n)
		for i := range w.Checks {
			w.Checks[i] = load.CheckCount{Name: d.text(), Evaluated: d.uint(), Failed: d.uint()}
		}
	}
	if d.uint() == 1 {
		w.Iterations = d.iterations()
	}
	return &w.Window
}

func (d *decoder) iterations() *load.Iterations {
	it := &load.Iterations{Started: d.uint(), Completed: d.uint(), Stopped: d.uint(), Interrupted: d.uint()}
	d.counts(it.Dropped[:], int(load.Shutdown))
	it.Spent = time.Duration(d.int())
	it.Duration, it.Lateness = d.sparse(new(hist.Histogram)), d.sparse(new(hist.Histogram))
	return it
}

// histogram returns own, read, or one that holds the same.
func (d *decoder) histogram(own, other *hist.Histogram, before []*load.Window, of func(*load.Window) *hist.Histogram) *hist.Histogram {
	where := d.uint()
	switch {
	case where == ownHistogram:
		return d.sparse(own)
	case where == sameAsDuration && other != nil:
		return other
	case where == sumOfSteps && len(before) > 0 && d.err == nil:
		return total(before, of)
	}
	d.fail(fmt.Errorf("a histogram is at an unknown place: %d", where))
	return own
}

// sparse reads into h, which must be empty.
func (d *decoder) sparse(h *hist.Histogram) *hist.Histogram {
	if d.err == nil {
		d.rest, d.err = h.DecodeSparse(d.rest)
	}
	return h
}

func (d *decoder) samples1() ([]load.Sample, error) {
	const least = 9 // bytes of a sample
	n := min(d.open(), len(d.rest)/least)
	samples := make([]load.Sample, 0, n)
	for len(samples) < n && d.err == nil {
		samples = append(samples, d.sample())
	}
	return samples, d.err
}

func (d *decoder) sample() load.Sample {
	s := load.Sample{Target: d.text(), Resource: d.text(), Kind: d.text(), Member: d.text()}
	s.Start, s.End = d.span()
	s.Count = int(d.int())
	if d.uint() == 1 {
		s.Last = d.float()
		s.Min, s.Mean, s.Max = s.Last, s.Last, s.Last
		return s
	}
	s.Min, s.Mean, s.Max, s.Last = d.float(), d.float(), d.float(), d.float()
	return s
}

// span reads an end and a length.
func (d *decoder) span() (start, end time.Time) {
	end = time.Unix(0, d.int()).UTC()
	return end.Add(-time.Duration(d.int())), end
}

func (d *decoder) flags() load.Flags {
	set := d.uint()
	return load.Flags{
		WarmUp: set&warmUpBit != 0, Paused: set&pausedBit != 0, Disturbed: set&disturbedBit != 0,
		BackedOff: set&backedOffBit != 0, Settling: set&settlingBit != 0, Maintenance: set&maintenanceBit != 0,
		Invalid: uint32(d.uint()),
	}
}

// counts reads what is not 0 into list; what the list has no place for counts at other.
func (d *decoder) counts(list []uint64, other int) {
	for range d.count(2) {
		i, n := d.uint(), d.uint()
		if i >= uint64(len(list)) {
			i = uint64(other)
		}
		list[i] += n
	}
}

// count reads how many things of at least some bytes each follow.
func (d *decoder) count(least int) int {
	n := d.uint()
	if n > uint64(len(d.rest)/least) {
		d.fail(errShort)
		return 0
	}
	return int(n)
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) float() float64 { return math.Float64frombits(bits.ReverseBytes64(d.uint())) }

func (d *decoder) bytes() string {
	n := d.count(1)
	b := d.rest[:n]
	d.rest = d.rest[n:]
	if s, ok := d.seen[string(b)]; ok {
		return s
	}
	if len(d.seen) >= maxSeen {
		clear(d.seen)
	}
	s := string(b)
	d.seen[s] = s
	return s
}

func (d *decoder) text() string {
	i := d.uint()
	if i >= uint64(len(d.table)) {
		d.fail(errors.New("a string is not in its table"))
		return ""
	}
	return d.table[i]
}

// fail keeps the first error; nothing is left to read after it.
func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}
