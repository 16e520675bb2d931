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
	// doubtful says that 1.0 is spoken because of a 400, and has not been taken yet.
	doubtful bool
	most     int  // samples in a request; a 413 lowers it
	fitted   int  // requests in a row that were taken since most changed
	patience int  // how many there must be before most is raised
	grew     bool // the last change of most raised it

	allowance, budget int // requests that the refused batches of a snapshot may become, and what is left of them

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
		c: c, o: o, client: client, maxAge: o.Queue.MaxAge.D(), stats: newStats(&c), body: newBody(), most: c.MaxSamples, patience: growAfter,
		allowance: splitRequests, budget: splitRequests,
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
	e.version, e.known, e.doubtful = version, false, false
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
		if !isSnapshot(rec.Type) {
			continue // of a later version
		}
		at, entries, unknown, err := e.table.read(rec.Type, rec.Payload)
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
	e.renewBudget()
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
	answered                 // of try: what to do with the answer is the caller's to say
)

// A batch is what one request brings.
type batch struct {
	rec   queue.Record
	at    int64 // of its snapshot
	items []item
}

// deliver sends e.items, for as long as it takes.
func (e *endpoint) deliver(ctx context.Context, rec queue.Record, at int64) delivery {
	b := batch{rec, at, e.items}
	a, v, came := e.try(ctx, &b)
	if came != answered {
		return came
	}
	switch v {
	case taken:
		e.known = true
		e.grow()
		e.stats.send(b.items)
		return over
	case unsupported:
		return e.unsupported(&a, len(b.items))
	}
	return e.refused(ctx, &a, &b)
}

// unsupported deals with a receiver that does not know the version. One that knows
// neither refuses a batch in both, and the next begins with 2.0 again.
func (e *endpoint) unsupported(a *answer, samples int) delivery {
	if e.c.Protocol == Auto && !e.known {
		if e.version == V2 {
			if e.quiet("protocol") {
				e.log.Info("the receiver does not know remote write 2.0: going on with 1.0", "answer", a.String())
			}
			e.speak(V1)
			e.doubtful = a.code == http.StatusBadRequest
			return reshaped
		}
		e.speak(V2)
	}
	e.reject(a, samples)
	return over
}

// try sends a batch until the receiver says something final, or the batch has to go.
func (e *endpoint) try(ctx context.Context, b *batch) (answer, verdict, delivery) {
	defer e.stats.blocked("")
	for attempt := 0; ; attempt++ {
		switch {
		case b.rec.Dropped || e.reader.Load().Dropped():
			e.drop("queue_full", len(b.items), "the queue is full: its oldest samples are dropped")
			return answer{}, 0, over
		case e.o.Now().Sub(time.UnixMilli(b.at)) > e.maxAge:
			e.drop("too_old", len(b.items), "samples are older than max_age and are dropped")
			return answer{}, 0, over
		}
		if !e.pace(ctx, len(b.items)) {
			return answer{}, 0, ended
		}
		a, err := e.send(ctx, b.items, attempt)
		if err != nil {
			e.drop("encode", len(b.items), "samples cannot be encoded: "+err.Error())
			return answer{}, 0, over
		}
		if ctx.Err() != nil && a.code == 0 {
			return answer{}, 0, ended
		}
		v := a.verdict(e.version, e.known)
		switch {
		case v == hold && e.c.OnUnauthorized == DropUnauthorized && a.unauthorized():
			return a, refused, answered
		case v == hold:
			e.stats.blocked(strconv.Itoa(a.code))
			e.complain("hold", "the receiver refuses access: samples are kept until it does not", "answer", a.String())
		case v == retry:
			e.complain("retry", "remote write failed and is tried again", "answer", a.String(), "attempt", attempt+1)
		default:
			return a, v, answered
		}
		e.stats.retried.Add(uint64(len(b.items)))
		if !e.wait(ctx, e.backoff(attempt, a.after)) {
			return answer{}, 0, ended
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
func (e *endpoint) refused(ctx context.Context, a *answer, b *batch) delivery {
	tooLarge := a.code == http.StatusRequestEntityTooLarge
	if tooLarge {
		e.shrink(len(b.items))
	}
	// A 2.0 receiver takes what is good of a batch and answers 400 for the rest.
	split := e.c.OnRejected == Split && (tooLarge || a.code == http.StatusBadRequest && e.version == V1)
	came := over
	switch {
	case !split || len(b.items) == 1:
		e.rejectRest(a, b.items)
	case e.budget <= 0:
		e.giveUp(b.items)
	default:
		came = e.split(ctx, b)
	}
	if came == over && e.doubtful && !e.known && !tooLarge {
		// What turned perfd to 1.0 was about the samples, not about the version.
		e.speak(V2)
	}
	return came
}

// rejectRest counts as refused what the receiver does not say that it took.
func (e *endpoint) rejectRest(a *answer, items []item) {
	lost := len(items)
	if a.written > 0 && e.version == V2 {
		e.known = true
		lost = max(0, lost-a.written)
		e.stats.samples.Add(uint64(len(items) - lost))
	}
	e.reject(a, lost)
}

// giveUp drops what is left of a snapshot that has too much in it that is refused.
func (e *endpoint) giveUp(items []item) {
	e.stats.failed.Add(uint64(len(items)))
	e.drop("rejected", len(items), "too many samples of a snapshot are refused: others of their batches are dropped with them")
}

// splitRequests bounds the requests that the refused batches of one snapshot may
// become. Ten bad samples among two thousand are found with it. Where more are bad
// the rest of their batches is given up, and the next snapshot has half as many,
// down to fewestSplits: what is refused each time must not become a flood.
const (
	splitRequests = 256
	fewestSplits  = 16
)

// renewBudget gives a snapshot its requests for splitting, by what the one before needed.
func (e *endpoint) renewBudget() {
	if e.budget <= 0 {
		e.allowance = max(fewestSplits, e.allowance/2)
	} else {
		e.allowance = min(splitRequests, e.allowance*2)
	}
	e.budget = e.allowance
}

// split sends the halves of a batch that was refused, in order, and theirs,
// down to single samples, which are never sent twice.
func (e *endpoint) split(ctx context.Context, b *batch) delivery {
	for _, items := range [][]item{b.items[:len(b.items)/2], b.items[len(b.items)/2:]} {
		if e.budget <= 0 {
			e.giveUp(items)
			continue
		}
		e.budget--
		half := batch{b.rec, b.at, items}
		a, v, came := e.try(ctx, &half)
		tooLarge := a.code == http.StatusRequestEntityTooLarge
		switch {
		case came == ended:
			return ended
		case came == over: // it had to go
		case v == taken:
			e.known = true
			e.stats.send(items)
		case len(items) == 1:
			if tooLarge {
				e.shrink(1)
			}
			e.reject(&a, 1, "series", seriesName(items[0].labels))
		case e.version == V2 && !tooLarge:
			e.rejectRest(&a, items)
		default:
			if tooLarge {
				e.shrink(len(items))
			}
			if e.split(ctx, &half) == ended {
				return ended
			}
		}
	}
	return over
}

// growAfter is how many requests in a row must be taken before a limit that a 413
// lowered is doubled again. Each time that proves too much it takes twice as many,
// up to mostPatience, so that a receiver whose limit stays is rarely asked.
const (
	growAfter    = 16
	mostPatience = 1024
)

// shrink halves the limit after a 413 on a request of n samples. Where one is too
// large it is not the number that is refused.
func (e *endpoint) shrink(n int) {
	if n == 1 {
		e.most = e.c.MaxSamples
		return
	}
	e.most = max(1, min(e.most, n/2))
	if e.grew {
		e.patience = min(mostPatience, 2*e.patience)
	}
	e.fitted, e.grew = 0, false
}

// grow counts a request that was taken, and raises a limit that was lowered.
func (e *endpoint) grow() {
	if e.most >= e.c.MaxSamples {
		return
	}
	if e.fitted++; e.fitted < e.patience {
		return
	}
	e.most, e.fitted, e.grew = min(e.c.MaxSamples, 2*e.most), 0, true
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

// pace waits until the rate allows a request of so many samples.
func (e *endpoint) pace(ctx context.Context, samples int) bool {
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
	e.sent = e.sent.Add(time.Duration(float64(samples) / rate * float64(time.Second)))
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
