package remotewrite

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/perfd/perfd/internal/queue"
)

// An endpoint sends what the queue holds to one receiver, in order.
type endpoint struct {
	c      Config
	o      *Options
	log    *slog.Logger
	reader atomic.Pointer[queue.Reader] // nil before the writer starts
	client *http.Client
	stats  *stats
	maxAge time.Duration

	version Protocol // now
	known   bool     // the receiver has shown that it knows the version
	shape   shape
	most    int // samples in a request; a 413 halves it
	body    *body
	table   *table
	segment uint64
	items   []item
	quiet   func(kind string) bool
	sent    time.Time // when the rate allows the next request
}

func newEndpoint(c Config, o *Options) (*endpoint, error) {
	client, err := c.client(o)
	if err != nil {
		return nil, fmt.Errorf("remote write to %s: %w", c.Name, err)
	}
	e := &endpoint{
		c: c, o: o, client: client, maxAge: o.Queue.MaxAge.D(), stats: newStats(&c), body: newBody(), most: c.MaxSamples,
		log: o.Log.With("remote", c.Name, "url", c.shown()), quiet: newQuiet(o.Now),
	}
	if c.Protocol == V1 {
		e.speak(V1)
	} else {
		e.speak(V2)
	}
	return e, nil
}

// countOn shares the counts of the endpoint with the same name and url, so that
// a change of the configuration does not reset them.
func (e *endpoint) countOn(earlier []*endpoint) {
	for _, was := range earlier {
		if was.c.position() == e.c.position() {
			e.stats = was.stats
		}
	}
}

// speak changes to a version of the protocol, and with it to what is sent.
func (e *endpoint) speak(version Protocol) {
	e.version, e.known = version, false
	histograms := e.c.Histograms
	if histograms == "" {
		histograms = Both
		if version == V1 {
			histograms = Classic
		}
	}
	e.shape = shape{keep: e.c.kept(), classic: histograms != Native, native: histograms != Classic, exemplars: e.c.Exemplars}
	for name, v := range e.c.Identity {
		e.shape.identity = append(e.shape.identity, prompb.Label{Name: name, Value: v})
	}
	if e.table != nil {
		for _, d := range e.table.series {
			d.outs = nil
		}
	}
}

// run sends until ctx ends.
func (e *endpoint) run(ctx context.Context) {
	for {
		rec, err := e.reader.Load().Next(ctx)
		if err != nil {
			return
		}
		if rec.At.Segment != e.segment || e.table == nil {
			e.segment, e.table = rec.At.Segment, newTable()
		}
		if rec.Type != snapshotRecord {
			continue // of a later version
		}
		at, entries, unknown, err := e.table.read(rec.Payload)
		if rec.Seen {
			continue
		}
		if err != nil || unknown > 0 {
			e.stats.drop("damaged", unknown)
			e.complain("damaged", "a snapshot is damaged and what cannot be read of it is lost", "err", err, "series", unknown, "snapshot", time.UnixMilli(at))
		}
		if !e.snapshot(ctx, rec, at, entries) {
			return
		}
		e.reader.Load().Commit(rec.Next)
	}
}

// snapshot sends one, or what is left of it; false says that ctx ended.
func (e *endpoint) snapshot(ctx context.Context, rec queue.Record, at int64, entries []entry) bool {
	from, limit := 0, 0
	if saved := e.reader.Load().Saved(); saved.Segment == rec.At.Segment && saved.Offset == rec.At.Offset {
		// A batch that was under way is sent again with its old bounds.
		from, limit = min(int(saved.Entry), len(entries)), min(int(saved.Limit), len(entries))
	}
	e.stats.reading(at)
	for from < len(entries) {
		e.items = e.items[:0]
		to := from
		for to < len(entries) && (limit == 0 || to < limit) {
			n := len(e.items)
			e.items = e.shape.items(e.items, &entries[to], at)
			if n > 0 && len(e.items) > e.most && limit == 0 {
				e.items = e.items[:n]
				break
			}
			to++
		}
		p := rec.At
		p.Entry, p.Limit = uint32(from), uint32(to)
		if len(e.items) > 0 {
			if !rec.Dropped {
				e.reader.Load().Commit(p)
			}
			switch e.deliver(ctx, rec, at) {
			case ended:
				return false
			case reshaped:
				limit = 0
				continue
			}
		}
		from, limit = to, 0
	}
	e.stats.passed(at)
	return true
}

// What came of a delivery.
type delivery int

const (
	over     delivery = iota // sent or dropped
	ended                    // ctx ended before
	reshaped                 // the receiver knows another version: the batch must be made again
)

// deliver sends e.items, for as long as it takes.
func (e *endpoint) deliver(ctx context.Context, rec queue.Record, at int64) delivery {
	defer e.stats.blocked("")
	for attempt := 0; ; attempt++ {
		switch {
		case rec.Dropped || e.reader.Load().Dropped():
			e.drop("queue_full", len(e.items), "the queue is full: its oldest samples are dropped")
			return over
		case e.o.Now().Sub(time.UnixMilli(at)) > e.maxAge:
			e.drop("too_old", len(e.items), "samples are older than max_age and are dropped")
			return over
		}
		if !e.pace(ctx) {
			return ended
		}
		a, err := e.send(ctx, e.items, attempt)
		if err != nil {
			e.drop("encode", len(e.items), "samples cannot be encoded: "+err.Error())
			return over
		}
		if ctx.Err() != nil && a.code == 0 {
			return ended
		}
		verdict := a.verdict(e.version, e.known)
		switch verdict {
		case taken:
			e.known = true
			e.stats.send(e.items)
			return over
		case unsupported:
			if e.c.Protocol == Auto && e.version == V2 && !e.known {
				e.log.Info("the receiver does not know remote write 2.0: going on with 1.0", "answer", a.String())
				e.speak(V1)
				return reshaped
			}
			e.reject(&a, len(e.items))
			return over
		case refused:
			return e.refused(ctx, &a)
		case hold:
			e.stats.blocked(strconv.Itoa(a.code))
			e.complain("hold", "the receiver refuses access: samples are kept until it does not", "answer", a.String())
		case retry:
			e.complain("retry", "remote write failed and is tried again", "answer", a.String(), "attempt", attempt+1)
		}
		e.stats.retried.Add(uint64(len(e.items)))
		if !e.wait(ctx, e.backoff(attempt, a.after)) {
			return ended
		}
	}
}

// send makes one request of items.
func (e *endpoint) send(ctx context.Context, items []item, attempt int) (answer, error) {
	encode := e.body.encode1
	if e.version == V2 {
		encode = e.body.encode2
	}
	body, err := encode(items)
	if err != nil {
		return answer{}, err
	}
	began := time.Now()
	a := e.post(ctx, body, e.version, attempt)
	e.stats.request(len(body), time.Since(began))
	return a, nil
}

// refused deals with a batch that the receiver will not take as it is.
func (e *endpoint) refused(ctx context.Context, a *answer) delivery {
	if a.code == http.StatusRequestEntityTooLarge {
		e.most = max(1, e.most/2)
	}
	split := a.code == http.StatusBadRequest || a.code == http.StatusRequestEntityTooLarge
	if e.version == V2 || !split || e.c.OnRejected == Drop {
		lost := len(e.items)
		if a.written > 0 && e.version == V2 {
			e.known = true
			lost = max(0, lost-a.written)
			e.stats.samples.Add(uint64(len(e.items) - lost))
		}
		e.reject(a, lost)
		return over
	}
	if len(e.items) == 1 {
		e.reject(a, 1)
		return over
	}
	budget := splitRequests
	if !e.split(ctx, e.items, &budget) {
		return ended
	}
	return over
}

// splitRequests bounds the requests that one refused batch may become. Ten bad
// samples among two thousand are found with it; where more are bad the rest of
// the batch is given up.
const splitRequests = 256

// split sends the halves of a batch that was refused, in order, and theirs,
// down to single samples, which are never sent twice.
func (e *endpoint) split(ctx context.Context, items []item, budget *int) bool {
	for _, half := range [][]item{items[:len(items)/2], items[len(items)/2:]} {
		for attempt := 0; ; attempt++ {
			if *budget <= 0 {
				e.drop("rejected", len(half), "too many samples of a batch are refused: the rest of it is dropped")
				break
			}
			*budget--
			a, err := e.send(ctx, half, attempt)
			if err != nil {
				e.drop("encode", len(half), "samples cannot be encoded: "+err.Error())
				break
			}
			if ctx.Err() != nil && a.code == 0 {
				return false
			}
			if v := a.verdict(e.version, true); v == retry || v == hold {
				*budget++ // an outage in between costs nothing of it
				if e.reader.Load().Dropped() || e.o.Now().Sub(time.UnixMilli(half[0].at)) > e.maxAge {
					e.drop("too_old", len(half), "samples are dropped while the receiver is away")
					break
				}
				e.stats.retried.Add(uint64(len(half)))
				if !e.wait(ctx, e.backoff(attempt, a.after)) {
					return false
				}
				continue
			} else if v == taken {
				e.stats.send(half)
				break
			}
			if len(half) > 1 {
				if !e.split(ctx, half, budget) {
					return false
				}
				break
			}
			e.reject(&a, 1, "series", seriesName(half[0].labels))
			break
		}
	}
	return true
}

func seriesName(labels []prompb.Label) string {
	name, rest := "", "{"
	for _, l := range labels {
		if l.Name == "__name__" {
			name = l.Value
			continue
		}
		if rest != "{" {
			rest += ","
		}
		rest += l.Name + "=" + strconv.Quote(l.Value)
	}
	return name + rest + "}"
}

// reject counts what the receiver refused for good, and says once a minute in its words why.
func (e *endpoint) reject(a *answer, samples int, more ...any) {
	e.stats.failed.Add(uint64(samples))
	e.stats.drop("rejected", samples)
	e.complain("rejected", "the receiver refuses samples", append([]any{"answer", a.String(), "samples", samples}, more...)...)
}

func (e *endpoint) drop(reason string, samples int, why string) {
	e.stats.drop(reason, samples)
	e.complain(reason, why, "samples", samples)
}

// complaintInterval is the time between two messages of a kind.
const complaintInterval = time.Minute

func (e *endpoint) complain(kind, text string, more ...any) {
	if e.quiet(kind) {
		e.log.Warn(text, more...) //nolint:sloglint // the callers pass constants
	}
}

// pace waits until the rate allows a request.
func (e *endpoint) pace(ctx context.Context) bool {
	rate := e.c.MaxRate.PerSecond()
	if rate == 0 {
		return true
	}
	now := time.Now()
	wait := e.sent.Sub(now)
	if wait > 0 && !e.wait(ctx, wait) {
		return false
	}
	if e.sent.Before(now) {
		e.sent = now
	}
	e.sent = e.sent.Add(time.Duration(float64(len(e.items)) / rate * float64(time.Second)))
	return true
}

// lookEvery is how often a wait looks whether what waits had to go meanwhile:
// its segment is held open until then.
const lookEvery = time.Second

func (e *endpoint) wait(ctx context.Context, d time.Duration) bool {
	for d > 0 && !e.reader.Load().Dropped() {
		t := time.NewTimer(min(d, lookEvery))
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
		d -= lookEvery
	}
	return ctx.Err() == nil
}
