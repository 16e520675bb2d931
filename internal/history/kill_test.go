package history

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// appenderDir names the folder in which the test binary appends for ever instead
// of testing.
const appenderDir = "PERFD_TEST_APPENDER"

// eventEvery is after how many ticks an event comes.
const eventEvery = 500

// ahead is how far the clock of a pass of maintenance goes before that of the
// windows: then stretches are folded that windows still come for.
var ahead = []time.Duration{0, 0, 0, 0, 7 * time.Hour, 0, 0, 8 * 24 * time.Hour}

// appendForEver appends tick after tick as fast as it can, thins beside it, and
// says each tick that was acknowledged. It begins where the history ends.
func appendForEver(dir string) {
	die := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	h, err := Open(Options{Dir: dir, Fault: die})
	die(err)
	var there heard
	die(h.Replay(context.Background(), time.Time{}, time.Time{}, &there))
	last := lastTicks(there.windows)
	reached := 0
	for _, s := range there.samples {
		reached = max(reached, tickOf(s))
	}
	n := min(last["a/list"], last["a/pay"], last["a/"], last["b/list"], reached)
	ends := make(chan time.Time)
	go func() {
		for end := range ends {
			die(h.Maintain(end))
		}
	}()
	for {
		n++
		var windows []*load.Window
		for _, w := range append(interval("a", n), step("b", "list", n)) {
			if n > last[w.Scenario+"/"+w.Step] {
				windows = append(windows, w)
			}
		}
		var samples []load.Sample
		if n > reached {
			samples = append(samples, reading(n))
		}
		if run := strconv.Itoa(n); n%eventEvery == 0 && !slices.ContainsFunc(there.events, func(e load.Event) bool { return e.Run == run }) {
			die(h.Event(load.Event{At: zero.Add(time.Duration(n) * tick), Kind: load.RunBegan, Run: run}))
		}
		die(h.Append(windows, samples))
		fmt.Println(n)
		select {
		case ends <- zero.Add(time.Duration(n)*tick + ahead[n%len(ahead)]):
		default:
		}
	}
}

// tickOf is the tick of the last reading in a sample.
func tickOf(s load.Sample) int { return int((s.End.Sub(zero) + 3*time.Second) / tick) }

func lastTicks(windows []*load.Window) map[string]int {
	last := map[string]int{}
	for _, w := range windows {
		key := w.Scenario + "/" + w.Step
		last[key] = max(last[key], int(w.End.Sub(zero)/tick))
	}
	return last
}

func TestWhatWasAcknowledgedOutlivesAKill(t *testing.T) {
	t.Parallel()
	rounds := 50
	switch {
	case testing.Short():
		rounds = 5
	case raced:
		rounds = 15
	}
	r := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	acknowledged := 0
	for round := range rounds {
		acknowledged = max(acknowledged, killed(t, dir, 50+r.IntN(500), time.Duration(r.IntN(300))*time.Microsecond))
		h, err := OpenReadOnly(dir)
		must(t, err)
		got := replayed(t, h)
		for _, name := range []string{"a/list", "a/pay", "b/list"} {
			if last := requests(t, got.windows, name[:1], name[2:], 1); last < acknowledged {
				t.Fatalf("round %d: the windows of %s end with tick %d, but %d was acknowledged", round, name, last, acknowledged)
			}
		}
		count, reached := 0, 0
		for _, s := range got.samples {
			count += s.Count
			reached = tickOf(s)
		}
		if count != reached || count < acknowledged {
			t.Fatalf("round %d: %d readings of %d ticks, %d were acknowledged", round, count, reached, acknowledged)
		}
		events := map[string]int{}
		for _, e := range got.events {
			events[e.Run]++
		}
		for n := eventEvery; n <= acknowledged; n += eventEvery {
			if c := events[strconv.Itoa(n)]; c != 1 {
				t.Fatalf("round %d: the event of tick %d is there %d times", round, n, c)
			}
		}
	}
	h := opened(t, Options{Dir: dir})
	t.Logf("%d kills, %d ticks, %v", rounds, acknowledged, h.Sizes())
	if !testing.Short() && len(h.tiersThere()) < 2 {
		t.Errorf("the tiers %v are there: nothing was thinned", h.tiersThere())
	}
}

// killed runs an appender until it acknowledged some ticks, kills it after
// another moment, and returns the last tick it acknowledged.
func killed(t *testing.T, dir string, ticks int, moment time.Duration) (last int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), appenderDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		last, err = strconv.Atoi(lines.Text())
		must(t, err)
		if i == ticks {
			time.Sleep(moment)
			must(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the appender ended by itself: %v", err)
	}
	return last
}
