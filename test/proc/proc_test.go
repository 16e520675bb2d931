package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestProcessReportsOutputAndExit(t *testing.T) {
	var copied bytes.Buffer
	p, err := Start(Spec{Path: "sh", Args: []string{"-c", "echo address=$A; exit 3"}, Env: []string{"A=here"}, Tee: &copied})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := p.WaitFor(soon(t), regexp.MustCompile(`address=(\S+)`)); err != nil || m[1] != "here" {
		t.Errorf("WaitFor = %q, %v; want here", m, err)
	}
	if code, err := p.Wait(soon(t)); code != 3 || err != nil {
		t.Errorf("Wait = %d, %v; want 3", code, err)
	}
	if got := copied.String(); got != "address=here\n" {
		t.Errorf("copy of the output = %q", got)
	}
	if _, err := p.WaitFor(soon(t), regexp.MustCompile(`never`)); err == nil || !strings.Contains(err.Error(), "code 3") {
		t.Errorf("WaitFor a line that never comes = %v, want that the program ended", err)
	}
}

func TestFilesBoundsDescriptors(t *testing.T) {
	p, err := Start(Spec{Path: "sh", Args: []string{"-c", "ulimit -n"}, Files: 123})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(soon(t)); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(p.Output()); got != "123" {
		t.Errorf("limit on descriptors = %s, want 123", got)
	}
}

func TestPollSaysWhatIsMissing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := Poll(ctx, time.Millisecond, func() (bool, error) { return false, Pending("the third reply") })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the third reply") {
		t.Errorf("Poll = %v, want the deadline and what was missing", err)
	}
	broken := errors.New("broken")
	if err := Poll(soon(t), time.Millisecond, func() (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("Poll = %v, want %v", err, broken)
	}
}

func TestFiguresOfThisProcess(t *testing.T) {
	pid := os.Getpid()
	before, err := CPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	// Work until Linux has counted a tenth of a second of it.
	sum := 0
	for began := time.Now(); ; sum++ {
		if sum%1_000_000 != 0 {
			continue
		}
		now, err := CPU(pid)
		if err != nil {
			t.Fatal(err)
		}
		if now-before >= 100*time.Millisecond {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("CPU after 30 s of work = %v, was %v", now, before)
		}
	}

	held, err := Descriptors(pid)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := Descriptors(pid); err != nil || got != held+1 {
		t.Errorf("Descriptors with one more open = %d, %v; want %d", got, err, held+1)
	}

	rss, err := Resident(pid)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = 1
	}
	if got, err := Resident(pid); err != nil || got < rss+60<<20 {
		t.Errorf("Resident with 64 MiB more touched = %d, %v; was %d", got, err, rss)
	}
	if peak, err := Peak(pid); err != nil || peak < rss+60<<20 {
		t.Errorf("Peak with 64 MiB more touched = %d, %v; was %d resident", peak, err, rss)
	}
	_ = block[0]
}

func TestOthersAreAllButTheNamedProcesses(t *testing.T) {
	before, err := Accounts()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Spec{Path: "sh", Args: []string{"-c", "while :; do :; done"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	err = Poll(soon(t), 10*time.Millisecond, func() (bool, error) {
		spent, err := CPU(p.PID())
		return spent >= 200*time.Millisecond, err
	})
	if err != nil {
		t.Fatal(err)
	}
	after, err := Accounts()
	if err != nil {
		t.Fatal(err)
	}
	all, others := after.Others(before), after.Others(before, p.PID())
	if all-others < 200*time.Millisecond {
		t.Errorf("time of all processes = %v, without the one that spent 200 ms = %v", all, others)
	}
}

func TestFreePortIsNoneOfOutgoingConnections(t *testing.T) {
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Linux takes the ports of connections at random from a range that begins above.
	if own := c.LocalAddr().(*net.TCPAddr).Port; own <= port {
		t.Errorf("port of an outgoing connection = %d, want one above %d", own, port)
	}
}
