package history

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A hundred steps: ten scenarios of ten.
func hundred(n int, end time.Time, length time.Duration, requests int) [][]*load.Window {
	d, r := shapes(20, requests, 20*time.Millisecond), shapes(20, requests, 21*time.Millisecond)
	var all [][]*load.Window
	for i := range n {
		at := end.Add(time.Duration(i+1) * length)
		var windows []*load.Window
		for s := range 10 {
			var steps []*load.Window
			for j := range 10 {
				w := step(fmt.Sprint("scenario ", s), fmt.Sprint("step ", j), 1)
				w.Start, w.End = at.Add(-length), at
				w.Requests, w.Codes[0].Count = uint64(requests), uint64(requests)
				w.Duration, w.ResponseTime = d[(i+s+j)%len(d)], r[(i+s+j)%len(r)]
				steps = append(steps, w)
			}
			windows = append(append(windows, steps...), own(steps...))
		}
		all = append(all, windows)
	}
	return all
}

func BenchmarkAppendHundredSteps(b *testing.B) {
	h := opened(b, Options{})
	windows := hundred(60, zero, tick, 500)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		must(b, h.Append(windows[i%len(windows)], nil))
		i++
	}
	b.ReportMetric(float64(h.Sizes()["10s"])/float64(i)/100, "bytes/step")
}

// A day of a hundred steps: one of last week by the minute, and the last one,
// seventeen hours by the minute and seven as they came.
func BenchmarkReplayADayOfHundredSteps(b *testing.B) {
	b.Run("last week", func(b *testing.B) { replayDay(b, 24) })
	b.Run("today", func(b *testing.B) { replayDay(b, 17) })
}

func replayDay(b *testing.B, hoursByMinute int) {
	h := opened(b, Options{})
	byMinute := hundred(60, zero, time.Minute, 3000)
	asTheyCame := hundred(360, zero, tick, 500)
	for hour := range 24 {
		all := byMinute
		if hour >= hoursByMinute {
			all = asTheyCame
		}
		for _, windows := range all {
			must(b, h.Append(moved(windows, time.Duration(hour)*time.Hour), nil))
		}
	}
	want := 110 * (60*hoursByMinute + 360*(24-hoursByMinute))
	before := processorTime(b)
	for b.Loop() {
		var count counted
		must(b, h.Replay(context.Background(), time.Time{}, time.Time{}, &count))
		if int(count) != want {
			b.Fatalf("%d windows, want %d", count, want)
		}
	}
	b.ReportMetric((processorTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
}

// processorTime is what this process used, garbage collection and all.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func moved(windows []*load.Window, by time.Duration) []*load.Window {
	list := make([]*load.Window, len(windows))
	for i, w := range windows {
		c := *w
		c.Start, c.End = w.Start.Add(by), w.End.Add(by)
		list[i] = &c
	}
	return list
}

type counted int

func (c *counted) Window(*load.Window) { *c++ }
func (*counted) Sample(load.Sample)    {}
func (*counted) Event(load.Event)      {}

// A full history: 400 days by ten minutes, 7 by the minute, 6 hours as they came.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	fill := func(tier, count int, length time.Duration, size int64) {
		for i := range count {
			s := segment{tier: tier, from: zero.Add(time.Duration(tier*1000) * 24 * time.Hour).Add(time.Duration(i) * length)}
			s.to = s.from.Add(length)
			path := (&History{o: Options{Dir: dir}}).path(&s)
			must(b, os.WriteFile(path, header, 0o644))
			must(b, os.Truncate(path, size))
		}
	}
	fill(0, 36, 10*time.Minute, 3<<20)
	fill(1, 168, time.Hour, 3<<20)
	fill(2, 400, 24*time.Hour, 3<<20)
	h := opened(b, Options{Dir: dir})
	for i := range 5000 {
		h.ledger.put(change{eventsBucket, h.ledger.eventKey(zero.Add(time.Duration(i) * time.Minute)), []byte(`{"kind":"run_began"}`)})
	}
	must(b, h.Close())
	for b.Loop() {
		h, err := Open(Options{Dir: dir})
		must(b, err)
		must(b, h.Close())
	}
}

func BenchmarkThinAnHourOfHundredSteps(b *testing.B) {
	hour := hundred(360, zero, tick, 500)
	for b.Loop() {
		b.StopTimer()
		h := opened(b, Options{})
		for _, windows := range hour {
			must(b, h.Append(windows, nil))
		}
		b.StartTimer()
		must(b, h.Maintain(zero.Add(24*time.Hour)))
		b.StopTimer()
		must(b, os.RemoveAll(h.o.Dir))
		b.StartTimer()
	}
}
