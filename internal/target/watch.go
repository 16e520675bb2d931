package target

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/wire"
)

// Options are the options of a Watch. Config is required and was decoded without mistakes.
type Options struct {
	Config *Config

	// Dial opens connections, under the guard that load is under; nil reaches loopback only.
	Dial Dial
	// TLSFaults takes what is wrong with the files of the target's TLS once they change; nil for nobody.
	TLSFaults *wire.TLSFaults
	// Credential is what requests to the target's host are sent with; nil is none.
	Credential *credential.Credential
	// Transport replaces Dial; nil does not.
	Transport http.RoundTripper

	UserAgent string           // perfd/VERSION
	Log       *slog.Logger     // nil discards
	Now       func() time.Time // nil is time.Now

	// Sample takes each reading of a resource. It is called concurrently. It may be nil.
	Sample func(load.Sample)
	// Changed is called once for each change of the release, one call at a time and
	// in order. It must not call Push. It may be nil.
	Changed func(Change)
}

// A Watch reads a target's release and the levels of its resources as long as Run
// runs, whatever the target answers. All methods are safe for concurrent use.
type Watch struct {
	o        Options
	client   *client
	reads    []*read
	failed   [numReads][numFaults]atomic.Uint64
	ranged   atomic.Bool // there is a RangeReader
	changing sync.Mutex  // held over a change of the release and the call of Changed, before mu

	mu        sync.Mutex // guards rollout and the content of resources
	rollout   rollout
	resources []*resource
}

// A subject is the subject of a read.
type subject int

const (
	aboutRelease subject = iota
	aboutResources
	aboutReplay
	numReads
)

var subjectNames = [numReads]string{"release", "resources", "replay"}

// A read is one request that is repeated.
type read struct {
	about     subject
	every     time.Duration
	do        func(ctx context.Context) error
	complaint complaint
}

// NewWatch returns a watch without any reading. It starts nothing.
func NewWatch(o Options) *Watch {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sample == nil {
		o.Sample = func(load.Sample) {}
	}
	if o.Changed == nil {
		o.Changed = func(Change) {}
	}
	w := &Watch{o: o, client: newClient(&o)}
	w.rollout.settle = 5 * time.Minute
	if r := o.Config.Release; r != nil {
		w.rollout.settle = r.Settle.D()
		if !r.Push {
			w.add(aboutRelease, r.Every.D(), r.URL, func(ctx context.Context) error { return w.readRelease(ctx, r) })
		}
	}
	w.addResources()
	return w
}

func (w *Watch) add(about subject, every time.Duration, from block.Text, do func(context.Context) error) *read {
	log := w.o.Log.With("target", w.o.Config.Name.String(), "what", subjectNames[about], "url", from.String())
	r := &read{about: about, every: every, do: do, complaint: complaint{log: log}}
	w.reads = append(w.reads, r)
	return r
}

// addResources adds one read for all resources on a page, and one for each query.
func (w *Watch) addResources() {
	pages := map[string]*page{}
	for i := range w.o.Config.Resources {
		c := &w.o.Config.Resources[i]
		r := newResource(w.o.Config.Name.S, c)
		w.resources = append(w.resources, r)
		if c.Prometheus.S != "" {
			at := queryAddress(c.Prometheus.S, c.Query.S)
			w.add(aboutResources, c.Every.D(), c.Prometheus, func(ctx context.Context) error { return w.readQuery(ctx, at, r) })
			continue
		}
		at := resolve(w.o.Config.URL.S, c.Scrape.S)
		asked := []string{at}
		for _, e := range c.Headers {
			asked = append(asked, e.Name.S+": "+e.Value.S)
		}
		key := strings.Join(asked, "\n")
		p := pages[key]
		if p == nil {
			p = &page{url: at, header: c.Headers}
			p.read = w.add(aboutResources, c.Every.D(), c.Scrape, func(ctx context.Context) error { return w.readPage(ctx, p) })
			pages[key] = p
		}
		p.resources = append(p.resources, r)
		p.names = append(p.names, c.Metric.S)
		p.read.every = min(p.read.every, c.Every.D())
	}
}

// A page holds the metrics of several resources.
type page struct {
	url       string
	header    block.Entries[block.Text]
	resources []*resource
	names     []string // of the metrics
	read      *read
}

// Run reads until ctx ends. The first reads are spread over their intervals;
// the release's comes at once.
func (w *Watch) Run(ctx context.Context) {
	var all sync.WaitGroup
	for i, r := range w.reads {
		all.Go(func() { w.repeat(ctx, r, r.every*time.Duration(i)/time.Duration(len(w.reads))) })
	}
	<-ctx.Done()
	all.Wait()
	w.client.closeIdle()
}

func (w *Watch) repeat(ctx context.Context, r *read, first time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(first):
	}
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	for {
		err := r.do(ctx)
		if ctx.Err() != nil {
			return // an error of perfd's own stop is not a failure
		}
		if err == nil {
			r.complaint.well()
		} else {
			w.failed[r.about][faultOf(err)].Add(1)
			r.complaint.failed(err, w.o.Now())
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *Watch) readRelease(ctx context.Context, c *ReleaseConfig) error {
	r := request{url: resolve(w.o.Config.URL.S, c.URL.S), header: c.Headers, accept: "application/json", fresh: true}
	switch {
	case c.Metric.S != "":
		r.accept = accepted
	case c.Header.S != "":
		r.accept, r.noBody = "", true
	}
	a, err := w.client.get(ctx, r)
	if err != nil {
		return err
	}
	if err := a.wanted(); err != nil {
		return err
	}
	release, err := c.find(a)
	if err == nil {
		err = checkRelease(release)
	}
	if err != nil {
		return &readError{unreadable, err}
	}
	w.changing.Lock()
	defer w.changing.Unlock()
	w.mu.Lock()
	change := w.rollout.sight(release, w.o.Now())
	w.mu.Unlock()
	w.changed(change)
	return nil
}

// find returns the release that an answer names.
func (c *ReleaseConfig) find(a *answer) (string, error) {
	switch {
	case c.Metric.S != "":
		return c.findLabel(a)
	case c.Header.S != "":
		release := strings.TrimSpace(a.header.Get(c.Header.S))
		if release == "" {
			return "", fmt.Errorf("the answer's header has no %s", c.Header)
		}
		return release, nil
	}
	// json.Valid bounds the depth of nesting, gjson's own check does not.
	body := bytes.TrimPrefix(a.body, []byte("\ufeff")) // a byte order mark, which readers may ignore
	if !json.Valid(body) {
		return "", fmt.Errorf("the answer is no JSON: %s", excerpt(string(a.body)))
	}
	switch v := gjson.GetBytes(body, c.JSON.S); v.Type {
	case gjson.String:
		return strings.TrimSpace(v.Str), nil
	case gjson.Number:
		return v.Raw, nil // not the number: 1.10 is not 1.1
	case gjson.Null:
		return "", fmt.Errorf("the answer's JSON has nothing at %s", c.JSON)
	default:
		return "", fmt.Errorf("the answer's JSON has no text at %s: %s", c.JSON, excerpt(v.Raw))
	}
}

// findLabel returns the release in the label of the metric's series. A series of
// value 0 names a release that does not run.
func (c *ReleaseConfig) findLabel(a *answer) (string, error) {
	var release string
	err := readPage(a.body, a.header.Get("Content-Type"), []string{c.Metric.S}, func(s series) error {
		found := strings.TrimSpace(s.label(c.Label.S))
		switch {
		case s.value == 0 || found == "" || found == release:
		case release != "":
			return fmt.Errorf("%s names two releases, %q and %q", c.Metric, excerpt(release), excerpt(found))
		default:
			release = found
		}
		return nil
	})
	if err == nil && release == "" {
		err = fmt.Errorf("no series of %s has the label %s", c.Metric, c.Label)
	}
	return release, err
}

// readPage reads the resources on a page. A missing one does not prevent the others from being read.
func (w *Watch) readPage(ctx context.Context, p *page) error {
	a, err := w.client.get(ctx, request{url: p.url, header: p.header, accept: accepted})
	if err != nil {
		return err
	}
	if err := a.wanted(); err != nil {
		return err
	}
	found := make([]readings, len(p.resources))
	for i, r := range p.resources {
		found[i].r = r
	}
	err = readPage(a.body, a.header.Get("Content-Type"), p.names, func(s series) error {
		for i := range found {
			if found[i].r.matches(s) {
				found[i].add(s)
			}
		}
		return nil
	})
	if err != nil {
		return &readError{unreadable, err}
	}
	return w.take(found)
}

func (w *Watch) readQuery(ctx context.Context, at string, r *resource) error {
	a, err := w.client.get(ctx, request{url: at, header: r.c.Headers, accept: "application/json"})
	if err != nil {
		return r.named(err)
	}
	found := readings{r: r}
	err = readQuery(a.status, a.body, func(s series) error { found.add(s); return nil })
	switch {
	case err != nil && a.status/100 != 2:
		return &readError{badStatus, r.named(err)}
	case err != nil:
		return &readError{unreadable, r.named(err)}
	}
	return w.take([]readings{found})
}

// take stores the readings of a read and passes them to Sample.
func (w *Watch) take(found []readings) error {
	var wrong error
	var samples []load.Sample
	now := w.o.Now()
	w.mu.Lock()
	for i := range found {
		list, err := found[i].finish()
		switch {
		case err == nil:
			samples = append(samples, found[i].r.take(list, now)...)
		case wrong == nil:
			wrong = found[i].r.named(err)
		default:
			wrong = fmt.Errorf("%w; %w", wrong, found[i].r.named(err))
		}
	}
	w.mu.Unlock()
	for _, s := range samples {
		w.o.Sample(s)
	}
	if wrong != nil {
		return &readError{unreadable, wrong}
	}
	return nil
}

// Push announces that the target runs a release, or begins to, from an instant on;
// the zero time and instants in the future are now. The release holds at once.
// While the target still answers with an older one its versions are mixed; after an
// hour its answers count again. Push returns an error if the release is empty, over
// 200 bytes, not UTF-8, holds control characters, or is older than the current one.
func (w *Watch) Push(release string, at time.Time) error {
	if err := checkRelease(release); err != nil {
		return err
	}
	w.changing.Lock()
	defer w.changing.Unlock()
	w.mu.Lock()
	if now := w.o.Now(); at.IsZero() || at.After(now) {
		at = now
	}
	change, err := w.rollout.push(release, at)
	w.mu.Unlock()
	w.changed(change)
	return err
}

func (w *Watch) changed(c *Change) {
	if c != nil {
		w.o.Changed(*c)
	}
}

// Restore sets the release that was known before a restart, and when it settles or
// has settled. It must be called before Run and Push, and does not call Changed.
func (w *Watch) Restore(release string, settled time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.rollout.known && checkRelease(release) == nil {
		w.rollout.restore(release, settled, w.o.Now())
	}
}

// During returns the release at the end of an interval, empty if none was known,
// and whether part of the interval does not count: the release may have changed in
// it, or the target answered with several releases, or had not settled. A change
// lies between the last answer with the old release and the first with the new
// one, so that an interval may be found to be settling after its end.
func (w *Watch) During(start, end time.Time) (release string, settling bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rollout.during(start, end)
}

// State returns the current state of the release.
func (w *Watch) State() ReleaseState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rollout.state(w.o.Now())
}

// Collect sends the metrics of the target's release and resources.
func (w *Watch) Collect(send func(d *metric.Desc, v float64, labels ...string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, name := w.o.Now(), w.o.Config.Name.S
	if s := w.rollout.state(now); s.Known {
		send(metric.TargetRelease, 1, name, s.Release)
		settled := 0.
		if s.Settled {
			settled = 1
		}
		send(metric.TargetReleaseSettled, settled, name)
	}
	if w.rollout.known || w.o.Config.Release != nil {
		send(metric.TargetReleaseChanges, float64(w.rollout.changes), name)
	}
	var reads [numReads]bool
	for _, r := range w.reads {
		reads[r.about] = true
	}
	reads[aboutReplay] = w.ranged.Load()
	for about, any := range reads {
		for f := range w.failed[about] {
			if any {
				send(metric.TargetReadFailures, float64(w.failed[about][f].Load()), name, subjectNames[about], faultNames[f])
			}
		}
	}
	for _, r := range w.resources {
		r.collect(now, send)
	}
}
