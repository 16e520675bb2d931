// Package stories breaks targets under the load of real perfd daemons and waits
// for the notifications: from the fault through perfd, the shipped rules in two
// Prometheus servers and their Alertmanagers to a webhook.
//
// All stories run side by side and unscaled. They take half an hour, most of it
// waiting for the intervals that a verdict needs. One or some of them:
// go test ./test/stories -args -stories=hang,stress
package stories

import (
	"context"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
)

var only = flag.String("stories", "", "the stories to run, with commas between; all if empty")

const (
	// maxRun is how long all stories take at most on a machine that disturbs none of them.
	maxRun = 30 * time.Minute
	// maxDisturbed is how much longer they may take because the machine disturbs perfd.
	maxDisturbed = 10 * time.Minute
)

// A story breaks something and waits for the notifications that must follow.
type story struct {
	name string
	run  func(ctx context.Context, s *stage)
}

var stories = []story{
	{"slow", slow},
	{"leak", leaking},
	{"starved", starved},
	{"healthy", healthy},
	{"hang", hang},
	{"stress", stress},
}

func TestStories(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half an hour")
	}
	if end, ok := t.Deadline(); ok && time.Until(end) < maxRun+maxDisturbed {
		t.Fatalf("takes up to %v: go test -timeout 45m", maxRun+maxDisturbed)
	}
	chosen := stories
	if *only != "" {
		names := strings.Split(*only, ",")
		chosen = slices.DeleteFunc(slices.Clone(stories), func(x story) bool { return !slices.Contains(names, x.name) })
		if len(chosen) != len(names) {
			t.Fatalf("-stories=%s: unknown ones among them", *only)
		}
	}
	s := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), maxRun+maxDisturbed)
	defer cancel()
	var all sync.WaitGroup
	for _, x := range chosen {
		all.Go(func() {
			x.run(ctx, s)
			t.Logf("%s ends %v after the beginning", x.name, time.Since(s.began).Round(time.Second))
		})
	}
	all.Wait()
	s.checkInvalid()
	s.checkSilence()
	t.Logf("from fault to notification:\n%s", s.table())
}

// A stage is everything that the stories share: targets, daemons, and the inbox of notifications.
type stage struct {
	t       *testing.T
	began   time.Time
	shops   map[string]*shop
	main    *daemon.Daemon
	starved *daemon.Daemon
	inbox   *inbox

	mu   sync.Mutex
	rows []row
}

// A row is a line of the table that the test logs: a fault and the notification of it.
type row struct {
	f fault
	n notice
}

// A fault is what a story broke. Windows in which the machine disturbed perfd
// are excluded from an objective: that objective's counter says how long a
// notification may be late.
type fault struct {
	story  string
	at     time.Time
	daemon *daemon.Daemon
	labels []string // of the counter of excluded events
	rate   float64  // events of the objective in a second
	before float64  // the counter at the fault
}

// breaks returns a fault that begins now.
func (s *stage) breaks(story string, d *daemon.Daemon, scenario, objective string, rate float64) fault {
	f := fault{story: story, at: time.Now(), daemon: d, rate: rate, labels: []string{"scenario=" + scenario, "objective=" + objective}}
	f.before = s.lost(&f)
	return f
}

// lost is how many events of the fault's objective were excluded because the machine disturbed perfd.
func (s *stage) lost(f *fault) (n float64) {
	m := s.scrape(f.daemon)
	for _, reason := range append([]string{"invalid"}, machines...) {
		n += m.Value(excluded, append([]string{"reason=" + reason}, f.labels...)...)
	}
	return n
}

const excluded = "perfd_objective_excluded_total"

// window is the length of perfd's windows, which begin at whole multiples of it.
const window = 10 * time.Second

// disturbed is for how long the machine disturbed perfd since the fault, by what was excluded.
func (s *stage) disturbed(f fault) time.Duration {
	n := s.lost(&f) - f.before
	return time.Duration(math.Ceil(n/f.rate/window.Seconds())) * window
}

// await waits for the first alert since the fault that carries labels, each given as name=value,
// and adds it to the table. The test fails, and ok is false, if it comes later than most, and the
// time that the machine disturbed perfd, after the fault.
func (s *stage) await(ctx context.Context, f fault, from string, most time.Duration, labels ...string) (n notice, ok bool) {
	return s.awaitBut(ctx, f, from, most, "", labels...)
}

// awaitBut is await for an alert that an alert of a name may hold back as a symptom of the same cause.
func (s *stage) awaitBut(ctx context.Context, f fault, from string, most time.Duration, cause string, labels ...string) (n notice, ok bool) {
	ctx, cancel := context.WithDeadline(ctx, f.at.Add(most+maxDisturbed))
	defer cancel()
	n, ok = s.inbox.wait(ctx, func(n notice) bool {
		return n.From == from && n.Status == firing && n.StartsAt.After(f.at) && n.carries(labels) && (n.InhibitedBy == "" || n.InhibitedBy == cause)
	})
	if !ok {
		s.t.Errorf("%s: no alert of Prometheus %s with %v within %v of the fault", f.story, from, labels, time.Since(f.at).Round(time.Second))
		return n, false
	}
	took, disturbed := n.At.Sub(f.at), s.disturbed(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, row{f, n})
	s.t.Logf("%s: %s of Prometheus %s, %v after the fault%s; the machine disturbed perfd for %v", f.story, n.Labels["alertname"], from, took.Round(time.Second), n.inhibition(), disturbed)
	if took > most+disturbed {
		s.t.Errorf("%s: %s of Prometheus %s arrived %v after the fault, want at most %v beside the %v that the machine disturbed perfd",
			f.story, n.Labels["alertname"], from, took.Round(100*time.Millisecond), most, disturbed)
		ok = false
	}
	return n, ok
}

// onePage fails the test for everything that woke somebody about a scenario beside one alert.
func (s *stage) onePage(story, scenario, alert string) {
	list, _ := s.inbox.all()
	for _, from := range []string{current, old} {
		var pages []string
		for _, n := range list {
			if n.From == from && n.Receiver == "pager" && n.Status == firing && n.carries([]string{"scenario=" + scenario}) && !slices.Contains(pages, n.Labels["alertname"]) {
				pages = append(pages, n.Labels["alertname"])
			}
		}
		if !slices.Equal(pages, []string{alert}) {
			s.t.Errorf("%s: Prometheus %s paged for %v, want %s alone", story, from, pages, alert)
		}
	}
}

// quiet waits until no alert fires that a scenario's measurement is invalid, as on a busy
// machine, or until so long after the beginning.
func (s *stage) quiet(ctx context.Context, scenario string, until time.Duration) {
	for time.Since(s.began) < until {
		list, _ := s.inbox.all()
		loud := false
		for _, n := range list {
			if n.From == current && n.InhibitedBy == "" && n.carries([]string{"alertname=" + invalid, "scenario=" + scenario}) {
				loud = n.Status == firing
			}
		}
		if !loud || !pause(ctx, time.Second) {
			return
		}
	}
	s.t.Logf("the machine disturbs the measurement of %s all the time", scenario)
}

func (s *stage) table() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.rows, func(a, b row) int { return a.n.At.Compare(b.n.At) })
	var out strings.Builder
	fmt.Fprintf(&out, "%-8s %-10s %-8s %-8s %7s  %-26s %s\n", "story", "Prometheus", "fault", "alerted", "seconds", "alert", "description")
	for _, r := range s.rows {
		fmt.Fprintf(&out, "%-8s %-10s %-8s %-8s %7.1f  %-26s %s: %s%s\n", r.f.story, r.n.From, s.since(r.f.at), s.since(r.n.At),
			r.n.At.Sub(r.f.at).Seconds(), r.n.Labels["alertname"], r.n.Receiver, r.n.Annotations["description"], r.n.inhibition())
	}
	return out.String()
}

// since formats an instant as minutes and seconds from the beginning.
func (s *stage) since(at time.Time) string {
	d := at.Sub(s.began).Round(time.Second)
	return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// pause waits for d and reports whether ctx has not ended by then.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
