package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/output"
)

// configured is what a document with these endpoints asks for.
func configured(fingerprint string, endpoints ...Config) []output.Configured {
	q := DefaultQueue()
	q.Interval, q.MaxBytes = block.Duration(time.Minute), 64<<20
	return []output.Configured{{Kind: Kind, Config: &Blocks{Endpoints: endpoints, Queue: q}, Fingerprint: fingerprint}}
}

// While the receiver is away the endpoint is changed, first to one that cannot
// be built. The receiver gets all samples, in order and once, and nothing ends.
func TestAnotherConfigurationGoesOnWithTheQueue(t *testing.T) {
	t.Parallel()
	registry, turn := counters(20)
	to := newReceiver(t)
	away := true
	to.answer = func(int, *http.Request, map[string][]sample) (int, map[string]string, string) {
		if away {
			return 503, nil, "away"
		}
		return 0, nil, ""
	}
	set := output.NewSet(output.Env{
		StoragePath: t.TempDir(), Scenarios: inPlace{prometheus.NewRegistry()}, Daemon: registry, UserAgent: "perfd/test",
	})
	change := func(fingerprint string, endpoints ...Config) *Writer {
		t.Helper()
		c, err := set.Prepare(configured(fingerprint, endpoints...), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		c.Commit()
		w := writerOf(t, set)
		<-w.begun // or the test and the old writer take snapshots at once
		return w
	}
	from := base()
	take := func(w *Writer, first, n int) {
		for k := first; k < first+n; k++ {
			turn()
			w.Snapshot(from.Add(time.Duration(k) * time.Second))
		}
	}
	first := change("1", endpointOf(t, to.URL, ", name: x, max_samples_per_send: 7"))
	take(first, 0, 10)
	for to.counts() < 3 {
		time.Sleep(time.Millisecond)
	}

	dir := t.TempDir()
	for _, broken := range []string{", name: x, tls: {ca_file: missing.pem}", ", name: y, tls: {ca_file: missing.pem}"} {
		if c, err := set.Prepare(configured("2", endpointOf(t, to.URL, ", name: z"), endpointOf(t, to.URL, broken)), dir); err == nil || c != nil {
			t.Fatalf("Prepare with %s = %v, %v, want an error", broken, c, err)
		}
	}
	if writerOf(t, set) != first {
		t.Fatal("a preparation that failed has changed the writer")
	}
	take(first, 10, 10) // the old one goes on

	second := change("3", endpointOf(t, to.URL, ", name: x, max_samples_per_send: 100"))
	if second == first || second.queue != first.queue {
		t.Error("the new writer does not go on with the old one's queue")
	}
	take(second, 20, 10)
	// The request that the old writer gave up must have been answered before: it would be taken otherwise.
	for n := to.counts(); to.counts() < n+5; {
		time.Sleep(time.Millisecond)
	}
	failed := second.endpoints[0].stats.retried.Load()
	to.mu.Lock()
	away = false
	to.mu.Unlock()
	for i := range 20 {
		if diff := cmp.Diff(want(from, 30), to.took(counterName(i), 30)[:30], both); diff != "" {
			t.Fatalf("counter %d (-want +got):\n%s", i, diff)
		}
	}
	if failed == 0 {
		t.Error("the endpoint's counts began anew with its change")
	}

	if err := set.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	for name, samples := range to.got {
		for _, s := range samples[:len(samples)-1] {
			if s.text == "stale" {
				t.Errorf("%s ends with the change of the endpoint: %v", name, samples)
			}
		}
		if strings.Contains(name, "c_total") && samples[len(samples)-1].text != "stale" {
			t.Errorf("%s does not end with the stop: %v", name, samples)
		}
	}
}

// writerOf returns the writer that runs: Prepare hands it to the next one.
func writerOf(t *testing.T, set *output.Set) *Writer {
	t.Helper()
	var running *Writer
	c, err := set.Prepare([]output.Configured{{Kind: Kind, Config: spy{&running}, Fingerprint: "spy"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	c.Abort()
	return running
}

// A spy is a configuration that notes the output it is to replace.
type spy struct{ running **Writer }

func (spy) Check(*block.Node, string, *block.Errors) {}
func (spy) Enabled() bool                            { return true }

func (s spy) Open(_ *output.Env, old output.Output) (output.Output, error) {
	*s.running = old.(*Writer)
	return New(Options{Old: *s.running})
}

// A disk that hangs keeps neither a change of the configuration nor who collects the metrics, and a stop no longer than
// its time. When it goes on, so does the queue.
func TestAHangingDiskKeepsNoChange(t *testing.T) {
	t.Parallel()
	registry, turn := counters(1)
	to := newReceiver(t)
	var disk sync.RWMutex // whoever holds it makes the disk hang
	set := output.NewSet(output.Env{
		StoragePath: t.TempDir(), Scenarios: inPlace{prometheus.NewRegistry()}, Daemon: registry,
		Disk: func() error {
			disk.RLock()
			defer disk.RUnlock()
			return nil
		},
	})
	change := func(fingerprint, more string) *Writer {
		t.Helper()
		c, err := set.Prepare(configured(fingerprint, endpointOf(t, to.URL, ", name: x"+more)), "")
		if err != nil {
			t.Fatal(err)
		}
		c.Commit()
		set.Collect(func(*metric.Desc, float64, ...string) {}, make(chan prometheus.Metric, 10))
		return writerOf(t, set)
	}
	disk.Lock()
	first := change("1", "")
	disk.Unlock()
	<-first.begun
	turn()
	from := base()
	first.Snapshot(from)
	for end := time.Now().Add(45 * time.Second); first.Sent().Before(from); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is sent")
		}
	}

	disk.Lock()
	for i := range 3 {
		change(fmt.Sprint("more", i), fmt.Sprintf(", max_samples_per_send: %d", 10+i))
	}
	disk.Unlock()
	last := writerOf(t, set)
	<-last.begun
	turn()
	last.Snapshot(from.Add(time.Second))
	if got := to.took(counterName(0), 2); got[0].text != "1" || got[1].text != "2" {
		t.Errorf("the receiver has %v, want what each writer took", got)
	}

	disk.Lock()
	last = change("late", ", max_samples_per_send: 20")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := last.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close while the disk hangs = %v, want that the time is up", err)
	}
	disk.Unlock()
	<-last.begun // it ends then, or TestMain finds its goroutines
}

// lines are what is logged.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// A disk that hangs keeps no change that has no endpoint any more, and a writer that comes after it leaves
// the queue alone until the one before has let go of it. Nothing in it is lost.
func TestAWriterThatEndsOnAHangingDiskKeepsNoChange(t *testing.T) {
	t.Parallel()
	for _, read := range []bool{true, false} { // whether the queue was read before the disk hangs
		registry, turn := counters(1)
		to := newReceiver(t)
		var disk sync.RWMutex // whoever holds it makes the disk hang
		logged := make(lines, 100)
		set := output.NewSet(output.Env{
			StoragePath: t.TempDir(), Scenarios: inPlace{prometheus.NewRegistry()}, Daemon: registry,
			Disk: func() error {
				disk.RLock()
				defer disk.RUnlock()
				return nil
			},
			Log: slog.New(slog.NewTextHandler(logged, nil)),
		})
		change := func(list []output.Configured) {
			t.Helper()
			c, err := set.Prepare(list, "")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.Commit()
			}()
			select {
			case <-done:
			case <-time.After(30 * time.Second):
				disk.Unlock()
				t.Fatal("the change waits for the disk")
			}
		}
		if !read {
			disk.Lock()
		}
		change(configured("1", endpointOf(t, to.URL, ", name: x")))
		first := writerOf(t, set)
		if read {
			<-first.begun
			disk.Lock()
		}
		turn()
		change(nil)
		change(configured("2", endpointOf(t, to.URL, ", name: x")))
		second := writerOf(t, set)
		for end, late := time.After(30*time.Second), read; !late; { // until Close has given up
			select {
			case line := <-logged:
				late = strings.Contains(line, "is not read yet")
			case <-end:
				t.Fatal("Close does not give up")
			}
		}
		disk.Unlock()
		<-second.begun
		select {
		case <-first.Released():
		default:
			t.Error("the second writer has begun while the first has the queue")
		}
		turn()
		second.Snapshot(time.Now().Add(time.Minute))
		want := []string{"1", "stale", "2"}
		if !read {
			want = want[2:] // the first writer was closed before it could take anything
		}
		var texts []string
		for _, s := range to.took(counterName(0), len(want)) {
			texts = append(texts, s.text)
		}
		if diff := cmp.Diff(want, texts); diff != "" {
			t.Errorf("queue read %v: what the receiver has (-want +got):\n%s", read, diff)
		}
		if err := set.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A writer that is built for a change that is given up leaves the queue on disk alone.
func TestAnAbortedWriterFreesItsQueueOnly(t *testing.T) {
	set := output.NewSet(output.Env{StoragePath: t.TempDir(), Scenarios: inPlace{prometheus.NewRegistry()}, Daemon: prometheus.NewRegistry()})
	to := newReceiver(t)
	for range 2 {
		c, err := set.Prepare(configured("1", endpointOf(t, to.URL, "")), "")
		if err != nil {
			t.Fatal(err)
		}
		c.Abort()
	}
	c, err := set.Prepare(configured("1", endpointOf(t, to.URL, "")), "")
	if err != nil {
		t.Fatal(err)
	}
	c.Commit()
	sent := 0
	set.Collect(func(*metric.Desc, float64, ...string) { sent++ }, make(chan prometheus.Metric, 10))
	if sent == 0 {
		t.Error("the writer collects nothing")
	}
	if err := set.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
