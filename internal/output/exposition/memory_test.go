package exposition

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/record"
)

// childMemory is set in the process that TestAThousandPairsFitInMemory measures.
const childMemory = "PERFD_TEST_MEMORY_CHILD"

// 1,000 scenario-step pairs with 1,000 log-normal results each over three
// windows and two scrapes stay below 150 MB of resident memory at their peak.
func TestAThousandPairsFitInMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("resident memory is read from /proc")
	}
	if testing.Short() {
		t.Skip("a process of its own that fills memory")
	}
	if os.Getenv(childMemory) != "" {
		scrapeThousandPairs(t)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), childMemory+"=1")
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	found := regexp.MustCompile(`(?m)peak: (\d+) kB`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("child says no peak:\n%s", out)
	}
	peak, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("peak of resident memory: %d MB", peak/1000)
	if limit := 150_000; peak > limit && !raceEnabled {
		t.Errorf("peak of resident memory is %d kB, want at most %d", peak, limit)
	}
}

func scrapeThousandPairs(t *testing.T) {
	const scenarios, steps, perWindow = 100, 10, 334
	now := time.Now()
	r, sinks := recorded(t, scenarios, steps, 0, record.Options{Now: func() time.Time { return now }})
	h := New(Options{Scenarios: r, Daemon: daemon()})
	for window := range 3 {
		fill(sinks, steps, perWindow+window)
		now = now.Add(10 * time.Second)
		r.Fold(now)
		if window == 0 {
			continue
		}
		w := &sized{header: make(http.Header)}
		req, err := http.NewRequest(http.MethodGet, "/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		h.ServeHTTP(w, req)
		if w.bytes < 1<<20 {
			t.Errorf("scrape %d has %d bytes, want megabytes", window, w.bytes)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("peak: %s\n", regexp.MustCompile(`VmHWM:\s+(\d+ kB)`).FindSubmatch(status)[1])
}
