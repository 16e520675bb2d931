package remotewrite

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const tooLarge = http.StatusRequestEntityTooLarge

// A receiver that takes less for a while gets whole batches again afterwards.
func TestTheLimitGrowsAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, protocol string
		refuse         func(n, samples int) bool
		smallest       int
	}{
		{"eleven at once, 1.0", "1.0", func(n, _ int) bool { return n < 11 }, 1},
		{"eleven at once, 2.0", "2.0", func(n, _ int) bool { return n < 11 }, 1},
		{"a limit that goes away, 1.0", "1.0", func(n, samples int) bool { return n < 100 && samples > 5 }, 1},
		{"a limit that goes away, 2.0", "2.0", func(n, samples int) bool { return n < 100 && samples > 5 }, 1},
		{"one", "1.0", func(n, _ int) bool { return n == 3 }, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, turn := counters(100)
			to := newReceiver(t)
			to.answer = func(n int, _ *http.Request, series map[string][]sample) (int, map[string]string, string) {
				if c.refuse(n, len(series)) {
					return tooLarge, nil, "too large"
				}
				return 0, nil, ""
			}
			w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ", max_samples_per_send: 100, protocol: "+c.protocol))
			stop := w.startEndpoints()
			from := base()
			const n = 60
			w.snapshots(from, n, turn)
			w.finished(from, n)
			w.crash(stop)
			to.mu.Lock()
			defer to.mu.Unlock()
			if last := to.sizes[len(to.sizes)-1]; last != 100 {
				t.Errorf("the last request has %d samples, want whole batches of 100 again", last)
			}
			if got := slices.Min(to.sizes); got < c.smallest {
				t.Errorf("the smallest request has %d samples, want at least %d", got, c.smallest)
			}
			lost := 0
			for i := range 100 {
				lost += n - len(to.got[counterName(i)])
			}
			// Samples go only where a single one was answered with 413.
			if failed := int(w.endpoints[0].stats.failed.Load()); lost != failed || failed > 11 {
				t.Errorf("%d samples are missing and %d count as failed, want the same and at most 11", lost, failed)
			}
		})
	}
}

// A limit that stays is found out again ever more rarely, and nothing is lost by it.
func TestALimitThatStaysIsRarelyTried(t *testing.T) {
	t.Parallel()
	r, turn := counters(64)
	to := newReceiver(t)
	refusals := 0
	to.answer = func(_ int, _ *http.Request, series map[string][]sample) (int, map[string]string, string) {
		if len(series) > 20 {
			refusals++
			return tooLarge, nil, ""
		}
		return 0, nil, ""
	}
	w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ", max_samples_per_send: 64"))
	stop := w.startEndpoints()
	from := base()
	const n = 200
	w.snapshots(from, n, turn)
	w.finished(from, n)
	w.crash(stop)
	for i := range 64 {
		if diff := cmp.Diff(want(from, n), to.took(counterName(i), n), both); diff != "" {
			t.Fatalf("counter %d (-want +got):\n%s", i, diff)
		}
	}
	if refusals > 2+7 { // while it is found, and then after 16, 32, … 1024 requests
		t.Errorf("%d of %d requests were too large, want at most 9", refusals, to.counts())
	}
	if failed := w.endpoints[0].stats.failed.Load(); failed != 0 {
		t.Errorf("%d samples failed", failed)
	}
}

func TestManyRefusedSeriesAreNoFlood(t *testing.T) {
	t.Parallel()
	const series, snapshots = 400, 10
	// Series come in the order of their labels; in the second half none is bad.
	order := make([]string, series)
	for i := range order {
		order[i] = counterName(i)
	}
	slices.Sort(order)
	for _, c := range []struct {
		name   string
		refuse func(map[string][]sample) int // the status, 0 to take it
		most   int                           // requests in all
		good   bool                          // the batches without a bad series arrive
	}{
		{"half of the series", func(s map[string][]sample) int {
			for i := 0; i < series/2; i += 2 {
				if s[order[i]] != nil {
					return 400
				}
			}
			return 0
		}, snapshots*4 + 2*splitRequests + snapshots*fewestSplits, true},
		{"all of them", func(map[string][]sample) int { return 400 }, snapshots*4 + 2*splitRequests + snapshots*fewestSplits, false},
		{"all of them, as too large", func(map[string][]sample) int { return tooLarge }, snapshots*20 + 2*splitRequests + snapshots*fewestSplits, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, turn := counters(series)
			to := newReceiver(t)
			perSnapshot := map[int64]int{}
			to.answer = func(_ int, _ *http.Request, s map[string][]sample) (int, map[string]string, string) {
				for _, samples := range s {
					perSnapshot[samples[0].at]++
					break
				}
				if code := c.refuse(s); code != 0 {
					return code, nil, "no"
				}
				return 0, nil, ""
			}
			w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ", protocol: 1.0, max_samples_per_send: 100"))
			stop := w.startEndpoints()
			from := base()
			w.snapshots(from, snapshots, turn)
			w.finished(from, snapshots)
			w.crash(stop)
			for at, n := range perSnapshot {
				if n > 20+splitRequests {
					t.Errorf("snapshot %d became %d requests", at, n)
				}
			}
			if n := to.counts(); n > c.most {
				t.Errorf("%d requests for %d snapshots, want at most %d", n, snapshots, c.most)
			}
			last := from.Add((snapshots - 1) * time.Second).UnixMilli()
			if n := perSnapshot[last]; n > 20+2*fewestSplits {
				t.Errorf("the last snapshot became %d requests, want fewer than the first", n)
			}
			for _, name := range order[series/2:] {
				if got := len(to.got[name]); c.good && got != snapshots {
					t.Errorf("good counter %s has %d samples, want all %d", name, got, snapshots)
					break
				}
			}
			sent, failed := w.endpoints[0].stats.samples.Load(), w.endpoints[0].stats.failed.Load()
			if sent+failed != series*snapshots {
				t.Errorf("%d samples sent and %d failed, want %d in all", sent, failed, series*snapshots)
			}
			if lines := strings.Count(w.log.String(), "WARN"); lines > 4 {
				t.Errorf("%d lines are logged:\n%s", lines, w.log)
			}
		})
	}
}

func TestAnEarlyRefusalDoesNotDecideTheProtocol(t *testing.T) {
	t.Parallel()
	second := func(req *http.Request) bool { return strings.Contains(req.Header.Get("Content-Type"), "v2") }
	for _, c := range []struct {
		name   string
		answer func(n int, req *http.Request) int // the status, 0 to take it
		last   string                             // version of the last request
		lost   int                                // snapshots
	}{
		{"1.0 is refused with 400 too", func(n int, req *http.Request) int {
			return 400 * b2i(n == 0 || !second(req))
		}, "2.0.0", 1},
		{"1.0 is refused with 415", func(n int, req *http.Request) int {
			return 400*b2i(n == 0) + 415*b2i(n > 0 && !second(req))
		}, "2.0.0", 1},
		{"2.0 with 415 for a while, and 1.0 always", func(n int, req *http.Request) int {
			return 415 * b2i(n == 0 || !second(req))
		}, "2.0.0", 1},
		{"1.0 is taken", func(_ int, req *http.Request) int { return 400 * b2i(second(req)) }, "0.1.0", 0},
		{"1.0 refuses the first batch only", func(n int, req *http.Request) int {
			return 400 * b2i(second(req) || n < 8)
		}, "0.1.0", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, turn := counters(2)
			to := newReceiver(t)
			to.answer = func(n int, req *http.Request, _ map[string][]sample) (int, map[string]string, string) {
				return c.answer(n, req), nil, "no"
			}
			w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ""))
			stop := w.startEndpoints()
			from := base()
			const n = 10
			w.snapshots(from, n, turn)
			w.finished(from, n)
			w.crash(stop)
			if got := to.requests[len(to.requests)-1].Get("X-Prometheus-Remote-Write-Version"); got != c.last {
				t.Errorf("the last request is of version %s, want %s", got, c.last)
			}
			if got := len(to.got[counterName(1)]); got < n-2 {
				t.Errorf("%d samples came, want at most two to be lost", got)
			}
			if infos := strings.Count(w.log.String(), "does not know remote write 2.0"); infos > 1 {
				t.Errorf("the change of the protocol is logged %d times", infos)
			}
		})
	}
}

// By default an answer that refuses access holds the queue, and drop gives up.
func TestOnUnauthorized(t *testing.T) {
	t.Parallel()
	for _, code := range []int{401, 403, 404, 407} {
		for _, choice := range []string{"", "hold", "drop"} {
			t.Run(fmt.Sprintf("%d %s", code, choice), func(t *testing.T) {
				t.Parallel()
				r, turn := counters(2)
				to := newReceiver(t)
				to.answer = func(n int, _ *http.Request, _ map[string][]sample) (int, map[string]string, string) {
					return code * b2i(n < 3), nil, "expired"
				}
				more := ""
				if choice != "" {
					more = ", on_unauthorized: " + choice
				}
				w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, more))
				stop := w.startEndpoints()
				from := base()
				w.snapshots(from, 5, turn)
				w.finished(from, 5)
				w.crash(stop)
				came, failed := 5, uint64(0)
				if choice == "drop" {
					came, failed = 2, 6
				}
				s := w.endpoints[0].stats
				if got := len(to.got[counterName(0)]); got != came || s.failed.Load() != failed || s.dropped["rejected"] != failed {
					t.Errorf("%d samples came and %d failed, want %d and %d", got, s.failed.Load(), came, failed)
				}
				if s.why != "" {
					t.Errorf("blocked for %q at the end", s.why)
				}
			})
		}
	}
	// What says nothing of access is tried again in any case.
	t.Run("408", func(t *testing.T) {
		t.Parallel()
		r, turn := counters(1)
		to := newReceiver(t)
		to.answer = func(n int, _ *http.Request, _ map[string][]sample) (int, map[string]string, string) {
			return 408 * b2i(n < 3), nil, ""
		}
		w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ", on_unauthorized: drop"))
		stop := w.startEndpoints()
		from := base()
		w.snapshots(from, 2, turn)
		if diff := cmp.Diff(want(from, 2), to.took(counterName(0), 2), both); diff != "" {
			t.Errorf("samples (-want +got):\n%s", diff)
		}
		w.finished(from, 2)
		w.crash(stop)
	})
}

// A token that expires while a batch is split holds what is left of it.
func TestAHoldWhileABatchIsSplit(t *testing.T) {
	t.Parallel()
	r, turn := counters(8)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/token", []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := newReceiver(t)
	poison := counterName(3)
	held := make(chan bool, 100)
	to.answer = func(n int, _ *http.Request, series map[string][]sample) (int, map[string]string, string) {
		switch {
		case n >= 2 && n < 6:
			held <- true
			return 401, nil, "expired"
		case series[poison] != nil:
			return 400, nil, "poison"
		}
		return 0, nil, ""
	}
	w := newRig(t, dir, r, endpointOf(t, to.URL, ", protocol: 1.0, bearer_token_file: token"))
	stop := w.startEndpoints()
	from := base()
	w.snapshots(from, 1, turn)
	w.finished(from, 1)
	w.crash(stop)
	for i := range 8 {
		if got := len(to.got[counterName(i)]); got != b2i(i != 3) {
			t.Errorf("counter %d has %d samples", i, got)
		}
	}
	if s := w.endpoints[0].stats; s.failed.Load() != 1 || len(held) != 4 || s.why != "" {
		t.Errorf("%d failed after %d holds, blocked for %q; want one and four", s.failed.Load(), len(held), s.why)
	}
}
