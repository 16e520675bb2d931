package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/output"
)

// A flakyDisk is the disk of a daemon, which can hang and fill up.
type flakyDisk struct {
	mu   sync.Mutex
	hung chan struct{} // closed when it goes on; nil while it does not hang
	full bool

	waiting atomic.Int32 // who waits for the disk
}

func (d *flakyDisk) call() error {
	d.mu.Lock()
	hung, full := d.hung, d.full
	d.mu.Unlock()
	if hung != nil {
		d.waiting.Add(1)
		<-hung
		d.waiting.Add(-1)
	}
	if full {
		return syscall.ENOSPC
	}
	return nil
}

func (d *flakyDisk) hang() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hung = make(chan struct{})
}

func (d *flakyDisk) goOn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hung != nil {
		close(d.hung)
		d.hung = nil
	}
}

func (d *flakyDisk) fill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = true
}

// A silence is a listener that takes connections and never says anything.
func silence(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open = append(open, c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range open {
			c.Close()
		}
	})
	return "http://" + l.Addr().String()
}

const (
	badGrace  = 2 * time.Second
	badConfig = `
targets:
  - {name: shop, url: "TARGET", release: {url: /version, json: v, every: 1s}}
scenarios:
  - name: steady
    target: shop
    workload: {executor: constant-arrival-rate, rate: 100/s, max_vus: 50}
    flow: [{name: get, http: {url: /}}]
    objectives: [{name: p95, that: p(95) < 100ms}]
remote_write: [{url: "RECEIVER/w", identity: {job: perfd, instance: a}}]
remote_write_queue: {interval: 1s}
tracing: {endpoint: "RECEIVER", sampling_ratio: 1}
`
)

// A badDay is a daemon and what goes wrong around it.
type badDay struct {
	*App
	disk   flakyDisk
	reload chan struct{}
}

func newBadDay(t *testing.T, target, receiver string) *badDay {
	t.Helper()
	b := buildBadDay(t, badConfig, target, receiver, tempStorage(t))
	b.Start()
	return b
}

// tempStorage returns a folder for a daemon that may be left behind.
func tempStorage(t *testing.T) string {
	t.Helper()
	storage, err := os.MkdirTemp("", "perfd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what was left behind may still write for a moment
		for end := time.Now().Add(10 * time.Second); os.RemoveAll(storage) != nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
	})
	return storage
}

// buildBadDay starts nothing.
func buildBadDay(t *testing.T, config, target, receiver, storage string) *badDay {
	t.Helper()
	b := &badDay{reload: make(chan struct{}, 1)}
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("TARGET", target, "RECEIVER", receiver).Replace(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	b.App, err = New(Options{
		ConfigFile: file, StoragePath: storage, Listen: []string{"127.0.0.1:0"}, Lifecycle: true,
		Shards: 1, Grace: badGrace, Log: quiet, Reload: b.reload, Disk: b.disk.call,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.disk.goOn) // what was left behind ends
	return b
}

// stopped stops the daemon, which must take no longer than its grace and a second.
func (b *badDay) stopped(t *testing.T) {
	t.Helper()
	begin := time.Now()
	err := b.Stop() // what is left behind is said
	if took := time.Since(begin); took > badGrace+time.Second {
		t.Errorf("the stop took %v, with a grace of %v: %v", took, badGrace, err)
	}
}

func answering(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"v":"1"}`) }))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAHangingDiskBlocksNeitherScrapesNorTheStop(t *testing.T) {
	t.Parallel()
	b := newBadDay(t, answering(t), "http://127.0.0.1:1")
	b.answers(t, time.Now())
	b.disk.hang()
	end := time.Now().Add(3 * time.Second)
	if testing.Short() {
		end = time.Now().Add(1500 * time.Millisecond)
	}
	b.answers(t, end) // windows, snapshots and the state come to the disk meanwhile
	b.stopped(t)
}

// answers asks for everything that must not wait for the disk, over and over until an instant.
func (b *badDay) answers(t *testing.T, end time.Time) {
	t.Helper()
	client := &http.Client{Timeout: 45 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for first := true; first || time.Now().Before(end); first = false {
		for _, path := range []string{
			"/metrics", "/-/healthy", "/-/ready", "/", "/scenarios/steady", "/api/v1/status", "/api/v1/scenarios", "/api/v1/findings",
		} {
			resp, err := client.Get("http://" + b.Addr().String() + path)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: status %d, %v", path, resp.StatusCode, err)
			}
			resp.Body.Close()
		}
	}
}

// A disk from which neither the history, for the verdicts of a daemon that starts, nor the queue of remote write can be read blocks nobody either.
func TestReadingFromAHangingDiskBlocksNeitherScrapesNorTheStop(t *testing.T) {
	t.Parallel()
	config, target, storage := badConfig[:strings.Index(badConfig, "remote_write")], answering(t), tempStorage(t)
	before := buildBadDay(t, config, target, "", storage)
	before.Start()
	for end := time.Now().Add(45 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if r, running := before.fleet.Scenario("steady").Run(); running && r.Now.Started > 10 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no iteration begins")
		}
	}
	if err := before.Stop(); err != nil { // writes what was measured so far
		t.Fatal(err)
	}
	b := buildBadDay(t, badConfig, target, "http://127.0.0.1:1", storage)
	b.disk.hang()
	b.Start()
	b.answers(t, time.Now().Add(time.Second))
	if b.disk.waiting.Load() == 0 {
		t.Error("nobody waits for the disk")
	}
	b.stopped(t)
}

// A start that hangs, on the disk or on anything else, does not keep the stop.
func TestAHangingStartDoesNotKeepTheStop(t *testing.T) {
	t.Parallel()
	hung, asked := make(chan struct{}), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(hung) })
	t.Cleanup(goOn)
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("TARGET", answering(t), "RECEIVER", "http://127.0.0.1:1").Replace(badConfig)), 0o600); err != nil {
		t.Fatal(err)
	}
	kinds := builtin.Kinds()
	kinds.Outputs = slices.Clone(kinds.Outputs)
	blocks, hang := kinds.Outputs[0].Config, sync.OnceFunc(func() {
		close(asked)
		<-hung
	})
	kinds.Outputs[0].Config = func() output.Config {
		hang()
		return blocks()
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- Run(ctx, Options{ConfigFile: file, StoragePath: tempStorage(t), Listen: []string{"127.0.0.1:0"}, Shards: 1, Grace: badGrace, Log: quiet, Kinds: &kinds})
	}()
	<-asked
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, errStillStarting) {
			t.Errorf("Run = %v, want %v", err, errStillStarting)
		}
	case <-time.After(badGrace + time.Second):
		t.Errorf("the stop takes longer than its grace of %v and a second", badGrace)
		goOn()
		<-ended
	}
}

// A reload that hangs on the disk, or on anything else, does not keep the stop.
func TestAHangingReloadDoesNotKeepTheStop(t *testing.T) {
	t.Parallel()
	b := newBadDay(t, answering(t), "http://127.0.0.1:1")
	b.reloading.Lock()
	defer b.reloading.Unlock()
	b.stopped(t)
}

// TestTheStopOfABadDay stops daemons around which things go wrong, several at once. BAD_DAYS is how many.
func TestTheStopOfABadDay(t *testing.T) {
	t.Parallel()
	days := 4
	if n, err := strconv.Atoi(os.Getenv("BAD_DAYS")); err == nil {
		days = n
	} else if testing.Short() {
		days = 1
	}
	for day := range days {
		r := rand.New(rand.NewPCG(uint64(day), 13))
		with := func(day, kinds int) bool { return day%kinds == 0 || r.IntN(2) == 0 }
		target, receiver := answering(t), "http://127.0.0.1:1"
		if with(day, 3) {
			target = silence(t)
		}
		if with(day, 2) {
			receiver = silence(t)
		}
		b := newBadDay(t, target, receiver)
		var busy sync.WaitGroup
		over := make(chan struct{})
		if with(day, 2) { // releases fill the inbox
			busy.Go(func() {
				for i := range 50_000 {
					select {
					case <-over:
						return
					default:
						_ = b.fleet.Target("shop").Push(fmt.Sprint("v", i), time.Now()) // some are refused
					}
				}
			})
		}
		if with(day, 2) {
			busy.Go(func() {
				every := time.NewTicker(5 * time.Millisecond)
				defer every.Stop()
				for {
					select {
					case <-over:
						return
					case <-every.C:
						select {
						case b.reload <- struct{}{}:
						default:
						}
					}
				}
			})
		}
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond) // some days begin badly
		if with(day, 3) {
			b.disk.fill()
		}
		if with(day, 2) {
			b.disk.hang()
		}
		time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
		b.stopped(t)
		close(over)
		busy.Wait()
		b.disk.goOn()
	}
}
