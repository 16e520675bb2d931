package validity

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/load"
)

// asChild makes the test binary a process with a monitor, for TestStoppedProcess.
const asChild = "PERFD_TEST_MONITOR"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		monitorForParent()
	}
	goleak.VerifyTestMain(m)
}

// notes collects disturbances as "reason from–to", since the note-taking began.
type notes struct {
	zero  time.Time
	lines []string
}

func (n *notes) take(d Disturbance) {
	line := fmt.Sprintf("%s %v–%v", d.By, d.From.Sub(n.zero), d.To.Sub(n.zero))
	if d.Late != 0 {
		line += fmt.Sprintf(" late %v", d.Late)
	}
	if d.Step != 0 {
		line += fmt.Sprintf(" step %v", d.Step)
	}
	n.lines = append(n.lines, line)
}

// newMonitor watches a made-up machine.
func newMonitor(t *testing.T, files map[string]string, noPorts func() uint64) (*Monitor, *notes) {
	root := t.TempDir()
	write(t, root, files)
	n := &notes{zero: time.Now()}
	return NewMonitor(MonitorOptions{Timeline: NewTimeline(), Disturbed: n.take, Root: root, NoPorts: noPorts}), n
}

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestQuietMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := newMonitor(t, nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		m.Run(ctx)
		if n.lines != nil {
			t.Errorf("an hour without disturbance = %q", n.lines)
		}
	})
}

func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := newMonitor(t, nil, nil)
		for _, d := range []time.Duration{20 * time.Millisecond, 120 * time.Millisecond, 121 * time.Millisecond, 3 * s, 20 * time.Millisecond} {
			time.Sleep(d)
			m.Look()
		}
		want := []string{"pacer_gap 140ms–261ms late 101ms", "pacer_gap 261ms–3.261s late 2.98s"}
		if diff := cmp.Diff(want, n.lines); diff != "" {
			t.Errorf("disturbances (-want +got):\n%s", diff)
		}
	})
}

func TestClockStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := newMonitor(t, nil, nil)
		var stepped time.Duration
		m.clock = func() (time.Time, time.Duration) {
			now := time.Now()
			return now, time.Duration(now.UnixNano()) + stepped
		}
		for _, d := range []time.Duration{0, 900 * time.Millisecond, 0, 5 * time.Minute, 5 * time.Minute, 0} {
			stepped = d
			time.Sleep(20 * time.Millisecond)
			m.Look()
		}
		want := []string{"clock 60ms–1.08s step 5m0s", "clock 100ms–1.12s step -5m0s"}
		if diff := cmp.Diff(want, n.lines); diff != "" {
			t.Errorf("disturbances (-want +got):\n%s", diff)
		}
	})
}

func TestThrottling(t *testing.T) {
	const v1, v2 = "nr_periods 9\nnr_throttled %d\nthrottled_time %d000\n", "usage_usec 7\nnr_throttled %d\nthrottled_usec %d\n"
	for _, c := range []struct {
		name   string
		cgroup string // proc/self/cgroup
		stat   string // the file that says so
		format string
		want   bool // found
	}{
		{"version 2", "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.stat", v2, true},
		{"version 2, the limit of a group above", "0::/a/b\n", "sys/fs/cgroup/a/cpu.stat", v2, true},
		{"version 2, in a container that sees the host's path", "0::/kubepods/pod1\n", "sys/fs/cgroup/cpu.stat", v2, true},
		{"version 2 beside version 1", "9:name=systemd:/\n0::/a\n", "sys/fs/cgroup/unified/a/cpu.stat", v2, true},
		{"version 1", "4:memory:/m\n1:cpu:/a\n", "sys/fs/cgroup/cpu/a/cpu.stat", v1, true},
		{"version 1, with its accounting", "1:cpu,cpuacct:/a\n", "sys/fs/cgroup/cpu,cpuacct/a/cpu.stat", v1, true},
		{"version 1, mounted by a shorter name", "1:cpu,cpuacct:/a\n", "sys/fs/cgroup/cpu/a/cpu.stat", v1, true},
		{"another group", "0::/a\n", "sys/fs/cgroup/b/cpu.stat", v2, false},
		{"no groups", "", "sys/fs/cgroup/cpu.stat", v2, false},
		{"nonsense", "0:\n:::\nx\n", "sys/fs/cgroup/b/cpu.stat", v2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, n := newMonitor(t, map[string]string{
					"proc/self/cgroup": c.cgroup,
					c.stat:             fmt.Sprintf(c.format, 3, 5_000_000),
				}, nil)
				for _, look := range []struct {
					usec int
					gap  time.Duration
				}{
					{5_000_000, 500 * time.Millisecond},
					{5_009_999, 20 * time.Millisecond}, // throttled, and nothing was late
					{5_009_999, 500 * time.Millisecond},
					{5_020_000, 500 * time.Millisecond},
					{5_020_000, 500 * time.Millisecond},
				} {
					m.Look()
					write(t, m.o.Root, map[string]string{c.stat: fmt.Sprintf(c.format, 4, look.usec)})
					time.Sleep(look.gap)
					m.Look()
					m.lookSlowly()
				}
				want := []string{
					"pacer_gap 0s–500ms late 480ms", "pacer_gap 520ms–1.02s late 480ms",
					"pacer_gap 1.02s–1.52s late 480ms", "pacer_gap 1.52s–2.02s late 480ms",
				}
				if c.want {
					want[2] = "throttled 1.02s–1.52s late 480ms"
				}
				if diff := cmp.Diff(want, n.lines); diff != "" {
					t.Errorf("disturbances (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := newMonitor(t, map[string]string{
			"proc/self/limits": "Limit                     Soft Limit           Hard Limit           Units     \n" +
				"Max processes             100                  100                  processes \n" +
				"Max open files            40                   4096                 files     \n",
		}, nil)
		for open := range 39 {
			write(t, m.o.Root, map[string]string{fmt.Sprintf("proc/self/fd/%d", open): ""})
			time.Sleep(s)
			m.lookSlowly()
		}
		want := []string{"descriptors 37s–39s", "descriptors 38s–40s"} // 38 and 39 of 40
		if diff := cmp.Diff(want, n.lines); diff != "" {
			t.Errorf("disturbances (-want +got):\n%s", diff)
		}
	})
}

func TestPorts(t *testing.T) {
	sockstat := func(inUse, waiting, inUse6 int) map[string]string {
		return map[string]string{
			"proc/sys/net/ipv4/ip_local_port_range": "1000\t1999\n",
			"proc/net/sockstat":                     fmt.Sprintf("sockets: used 16\nTCP: inuse %d orphan 0 tw %d alloc 999 mem 999\nUDP: inuse 999 mem 0\n", inUse, waiting),
			"proc/net/sockstat6":                    fmt.Sprintf("TCP6: inuse %d\n", inUse6),
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var refused uint64 = 7
		m, n := newMonitor(t, sockstat(1, 2, 3), func() uint64 { return refused })
		for _, look := range []struct {
			files   map[string]string
			refused uint64
		}{
			{sockstat(500, 200, 249), 7},
			{sockstat(500, 200, 250), 7},
			{sockstat(1, 2, 3), 7},
			{sockstat(1, 2, 3), 8},
			{sockstat(1, 2, 3), 8},
		} {
			write(t, m.o.Root, look.files)
			refused = look.refused
			time.Sleep(s)
			m.lookSlowly()
		}
		want := []string{"ports 1s–3s", "ports 3s–5s"}
		if diff := cmp.Diff(want, n.lines); diff != "" {
			t.Errorf("disturbances (-want +got):\n%s", diff)
		}
	})
}

// The real machine's files must at least be readable.
func TestRealMachine(t *testing.T) {
	if _, err := os.Stat("/proc/self/limits"); err != nil {
		t.Skip("needs /proc:", err)
	}
	if open, limit := descriptors("/"); open < 3 || limit < open {
		t.Errorf("descriptors = %d of %d", open, limit)
	}
	if used, all := ports("/"); used < 0 || all < 1 {
		t.Errorf("ports = %d of %d", used, all)
	}
}

// TestStoppedProcess stops a process and reads what its monitor says when it goes on.
func TestStoppedProcess(t *testing.T) {
	const stopped = 1500 * time.Millisecond
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close() // ends the child
	out := bufio.NewScanner(stdout)
	if !out.Scan() || out.Text() != "watching" {
		t.Fatalf("the child said %q", out.Text())
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(stopped)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for out.Scan() {
		reason, length, _ := strings.Cut(out.Text(), " ")
		d, err := time.ParseDuration(length)
		if err != nil {
			t.Fatalf("the child said %q", out.Text())
		}
		if reason == load.ByGap.String() && d >= stopped-200*time.Millisecond {
			return
		}
	}
	t.Errorf("the child did not report that it stood still for %v", stopped)
}

// monitorForParent prints what a monitor finds, until standard input ends.
func monitorForParent() {
	looks := 0
	m := NewMonitor(MonitorOptions{
		Timeline: NewTimeline(), Disturbed: func(d Disturbance) { fmt.Println(d.By, d.To.Sub(d.From)) },
		Hold: func() {
			if looks++; looks == 2 { // what comes before the first look is no gap
				fmt.Println("watching")
			}
		},
	})
	go m.Run(context.Background())
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}
