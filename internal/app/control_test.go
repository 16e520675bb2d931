package app

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/web"
)

const controlledConfig = `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
scenarios:
  - name: dial
    target: shop
    workload: {executor: externally-controlled, rate: 0/s, max_rate: 100/s, max_vus: 50}
    flow: [{name: get, call: {path: /}}]
  - name: users
    target: shop
    workload: {executor: externally-controlled, max_vus: 20}
    flow: [{name: get, call: {path: /users}}, {think: 1s}]
`

// A load that is set from outside is what a table that was computed by hand says: over a restart, reloads, a limit that is
// lowered, and a pause. Nothing else but an allowed level changes it, and each change is on the timeline.
func TestALoadThatIsSetFromOutside(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		step := &stopwatch{}
		storage := filepath.Join(dir, "data")
		a := inBubble(t, only(controlledConfig, "dial"), step, storage, nil)
		zero := time.Now()
		until := func(at time.Duration) {
			time.Sleep(time.Until(zero.Add(at)))
			synctest.Wait()
		}
		set := func(rate string) {
			t.Helper()
			if _, err := (daemon{a}).Scale("dial", web.Level{Rate: rate}, "test"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		// sent compares the requests from one time to another with every, beginning with first.
		sent := func(from, to, first, every time.Duration) {
			t.Helper()
			var want []time.Duration
			for at := first; every > 0 && at < to; at += every {
				want = append(want, at)
			}
			got := step.between(zero, from, to)
			for i := range got {
				got[i] = got[i].Round(time.Microsecond) // a part of an arrival that is left is kept to 15 digits
			}
			if !slices.Equal(got, want) {
				t.Errorf("from %v to %v requests at %v, want %v", from, to, got, want)
			}
		}
		until(10 * time.Second)
		sent(0, 10*time.Second, 0, 0)
		set("2/s")
		until(11300 * ms)
		set("4/s") // six tenths of the way from the arrival at 11 s to the next
		until(20 * time.Second)
		sent(10*time.Second, 11300*ms, 10*time.Second, 500*ms)
		sent(11300*ms, 20*time.Second, 11400*ms, 250*ms)
		set("0/s") // six tenths of the way from the one at 19.9 s … 20.15 s
		until(30 * time.Second)
		sent(20*time.Second, 30*time.Second, 0, 0)
		set("10/s")
		until(33 * time.Second)
		if r, _ := a.fleet.Scenario("dial").Run(); r.Stats.PlannedRate != 10 || r.Stats.Started != uint64(len(step.between(zero, 0, time.Hour))) {
			t.Errorf("the metrics say %v/s planned and %d started", r.Stats.PlannedRate, r.Stats.Started)
		}
		for _, refused := range []web.Level{{Rate: "101/s"}, {Rate: "fast"}, {VUs: new(int)}} {
			if _, err := (daemon{a}).Scale("dial", refused, "test"); err == nil {
				t.Errorf("%+v is not refused", refused)
			}
		}
		until(40 * time.Second)
		sent(30*time.Second, 40*time.Second, 30060*ms, 100*ms)

		if err := a.Stop(); err != nil {
			t.Fatal(err)
		}
		until(45010 * ms)
		a = inBubble(t, only(controlledConfig, "dial"), step, storage, nil)
		until(50 * time.Second)
		sent(40*time.Second+ms, 45*time.Second, 0, 0)
		sent(45010*ms, 50*time.Second, 45060*ms, 100*ms) // where they would have been

		reload := func(config string) {
			t.Helper()
			if err := os.WriteFile(a.opts.ConfigFile, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := a.Reload(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		two := strings.Replace(controlledConfig, "max_vus: 20}", "max_vus: 20}\n    schedule: {manual: true}", 1)
		reload(two) // another scenario comes
		until(60 * time.Second)
		sent(50*time.Second, 60*time.Second, 50060*ms, 100*ms)
		reload(strings.Replace(two, "max_rate: 100/s", "max_rate: 5/s", 1))
		until(70 * time.Second)
		sent(60*time.Second, 70*time.Second, 60*time.Second, 200*ms)
		if v, _ := (daemon{a}).Scenario("dial"); v.Control.Level != "5/s" || v.Control.Most != "5/s" || !strings.Contains(v.Control.By, "limit") {
			t.Errorf("after the limit was lowered: %+v", v.Control)
		}

		if err := a.fleet.Pause(0); err != nil {
			t.Fatal(err)
		}
		until(72 * time.Second)
		set("2/s")
		until(75 * time.Second)
		sent(70*time.Second+ms, 75*time.Second, 0, 0)
		if err := a.fleet.Resume(); err != nil {
			t.Fatal(err)
		}
		until(80 * time.Second)
		sent(75*time.Second+ms, 80*time.Second, 75500*ms, 500*ms)

		events, err := a.history.Events(zero, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, e := range events {
			if e.Kind == load.LoadSet && e.Scenario == "dial" {
				said = append(said, e.At.Sub(zero).String()+" "+e.Previous+" → "+e.Level+" "+e.By)
			}
		}
		want := []string{"10s 0/s → 2/s test", "11.3s 2/s → 4/s test", "20s 4/s → 0/s test", "30s 0/s → 10/s test", "1m0s 10/s → 5/s test, then the configuration's limit", "1m12s 5/s → 2/s test"}
		if !slices.Equal(said, want) {
			t.Errorf("the timeline says %q, want %q", said, want)
		}
	})
}

// Virtual users that are set come and go at once, each after its iteration, and as many as are asked for perform what
// Little's law says.
func TestVirtualUsersThatAreSetFromOutside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		step := &stopwatch{}
		a := inBubble(t, only(controlledConfig, "users"), step, filepath.Join(t.TempDir(), "data"), nil)
		zero := time.Now()
		for i, n := range []int{1, 7, 20, 0, 3} {
			begin := time.Duration(i) * time.Minute
			if i > 0 {
				if _, err := (daemon{a}).Scale("users", web.Level{VUs: &n}, "test"); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Until(zero.Add(begin + time.Minute)))
			synctest.Wait()
			s := a.fleet.Scenario("users")
			r, _ := s.Run()
			if r.Now.PlannedVUs != n || r.Now.VUs != n {
				t.Errorf("set to %d: %d planned, %d there", n, r.Now.PlannedVUs, r.Now.VUs)
			}
			// An iteration takes a second; one that was under way when users were taken away is over within it.
			got := float64(len(step.between(zero, begin+time.Second, begin+time.Minute)))
			if want := 59 * float64(n); math.Abs(got-want) > float64(n) {
				t.Errorf("%d users performed %v iterations in 59 s, want %v", n, got, want)
			}
		}
	})
}

// only leaves one of two scenarios of a configuration.
func only(config, name string) string {
	head, rest, _ := strings.Cut(config, "scenarios:\n")
	first, second, _ := strings.Cut(rest, "  - name: users")
	if name == "users" {
		return head + "scenarios:\n  - name: users" + second
	}
	return head + "scenarios:\n" + first
}
