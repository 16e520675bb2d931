// Package proc runs programs for tests and benchmarks and reads their output,
// exit code, CPU time, resident memory and number of descriptors from Linux.
//
// It knows nothing of perfd.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A Spec describes a program to run.
type Spec struct {
	Path  string
	Args  []string
	Env   []string // the whole environment; nil means this process's own
	Dir   string
	Files uint64               // limit on open descriptors, by way of prlimit; 0 leaves it
	Tee   io.Writer            // also gets the output, optional
	Sys   *syscall.SysProcAttr // root and namespaces, optional
}

// A Process is a running or ended program. Its methods may be called from any
// goroutine. Whoever starts one ends it with Kill or Stop.
type Process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed once the process has been reaped
}

// Start runs a program and returns at once.
func Start(s Spec) (*Process, error) {
	path, args := s.Path, s.Args
	if s.Files > 0 {
		args = append([]string{fmt.Sprintf("--nofile=%d", s.Files), path}, args...)
		path = "prlimit"
	}
	p := &Process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.out.tee = s.Tee
	p.cmd.Env, p.cmd.Dir = s.Env, s.Dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if s.Sys != nil {
		p.cmd.SysProcAttr = s.Sys
	}
	// The program must not outlive the one that started it.
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	go func() {
		defer close(p.done)
		// The exit code is read from ProcessState; the error holds nothing else.
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the program has written so far, both streams in one.
func (p *Process) Output() string { return p.out.String() }

// Running reports whether the program is still running.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal; it is an error if the program has ended.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Wait waits for the program's end and returns its exit code, or −1 if a signal
// ended it.
func (p *Process) Wait(ctx context.Context) (code int, err error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for %s: %w", p.cmd.Path, ctx.Err())
	}
}

// Stop asks the program to end, waits for it and returns its exit code.
func (p *Process) Stop(ctx context.Context) (code int, err error) {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("stop %s: %w", p.cmd.Path, err)
	}
	return p.Wait(ctx)
}

// Kill ends the program at once and waits until it is gone.
func (p *Process) Kill() {
	// The only error is that it has ended.
	_ = p.cmd.Process.Kill()
	<-p.done
}

// WaitFor waits until a line of the output matches and returns the submatches.
func (p *Process) WaitFor(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	var m []string
	err := Poll(ctx, 10*time.Millisecond, func() (bool, error) {
		running := p.Running() // before the output is read, so that the last line of a program that ends is not missed
		m = re.FindStringSubmatch(p.Output())
		if m == nil && !running {
			return false, fmt.Errorf("the program ended with code %d", p.cmd.ProcessState.ExitCode())
		}
		return m != nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for output %q of %s: %w\n%s", re, p.cmd.Path, err, p.Output())
	}
	return m, nil
}

// Poll evaluates a condition until it holds, it fails, or the context ends. A
// condition that is not met yet may return its reason as a Pending error.
func Poll(ctx context.Context, every time.Duration, condition func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var pending Pending
	for {
		ok, err := condition()
		switch {
		case ok:
			return nil
		case errors.As(err, &pending):
		case err != nil:
			return err
		}
		select {
		case <-ctx.Done():
			if pending != "" {
				return fmt.Errorf("%w; what was missing: %w", ctx.Err(), pending)
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Pending is the reason why a condition does not hold yet.
type Pending string

func (p Pending) Error() string { return string(p) }

// output holds what a program writes. Of more than it can hold it keeps the
// beginning and the end, as a program may log for hours.
type output struct {
	mu   sync.Mutex
	head []byte
	tail []byte
	tee  io.Writer
}

const keep = 1 << 20

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tee != nil {
		// A lost copy does not matter to what is kept here.
		_, _ = o.tee.Write(b)
	}
	n := min(len(b), keep-len(o.head))
	o.head = append(o.head, b[:n]...)
	o.tail = append(o.tail, b[n:]...)
	if len(o.tail) > 2*keep {
		o.tail = slices.Clone(o.tail[len(o.tail)-keep:])
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(bytes.Join([][]byte{o.head, o.tail}, nil))
}
