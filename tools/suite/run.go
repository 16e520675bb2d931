package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A result is what came of a stage.
type result struct {
	stage string
	took  time.Duration
	steps []stepResult
}

func (r result) failed() bool {
	return slices.ContainsFunc(r.steps, func(s stepResult) bool { return s.err != nil })
}

// A stepResult is what came of a step: err is that of its command, packages
// are what go test said of each.
type stepResult struct {
	step     step
	err      error
	packages []pkgResult
}

// A printer writes whole blocks of lines, so that stages which run side by
// side do not cut into each other's. Its methods may be called from any
// goroutine.
type printer struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *printer) block(lines ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range lines {
		fmt.Fprintln(p.out, l)
	}
}

// runLanes runs lanes of stages side by side and returns the results in the
// order of stages.
func runLanes(ctx context.Context, p *printer, stages []stage) []result {
	realtime := mayRealtime()
	if !realtime && slices.ContainsFunc(stages, func(s stage) bool { return s.waits }) {
		p.block("suite: no right to real-time priority: what waits runs after what computes, not beside it")
	}
	running := &running{began: map[string]time.Time{}}
	quit := make(chan struct{})
	go running.print(p, quit)
	results := make([]result, len(stages))
	var all sync.WaitGroup
	for _, lane := range lanes(stages, realtime) {
		all.Go(func() {
			for _, s := range lane {
				i := slices.IndexFunc(stages, func(o stage) bool { return o.name == s.name })
				running.begin(s.name)
				results[i] = runStage(ctx, p, s)
				running.end(s.name)
			}
		})
	}
	all.Wait()
	close(quit)
	return results
}

// running is which stages run, and since when.
type running struct {
	mu    sync.Mutex
	began map[string]time.Time
}

func (r *running) begin(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began[name] = time.Now()
}

func (r *running) end(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.began, name)
}

// print prints what runs once a minute, because packages of half an hour print
// nothing before their end.
func (r *running) print(p *printer, quit <-chan struct{}) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		var list []string
		r.mu.Lock()
		for name, began := range r.began {
			list = append(list, fmt.Sprintf("%s for %s", name, clock(time.Since(began))))
		}
		r.mu.Unlock()
		slices.Sort(list)
		p.block("suite: running: " + strings.Join(list, ", "))
	}
}

func runStage(ctx context.Context, p *printer, s stage) result {
	r := result{stage: s.name}
	began := time.Now()
	for _, x := range s.steps {
		if ctx.Err() != nil {
			r.steps = append(r.steps, stepResult{step: x, err: ctx.Err()})
			continue
		}
		p.block(fmt.Sprintf("== %s: %s", s.name, x))
		r.steps = append(r.steps, runStep(ctx, p, x))
	}
	r.took = time.Since(began)
	verdict := "ok"
	if r.failed() {
		verdict = "FAILED"
	}
	p.block(fmt.Sprintf("== %s: %s after %s", s.name, verdict, clock(r.took)))
	return r
}

func runStep(ctx context.Context, p *printer, s step) stepResult {
	argv, err := s.command()
	if err != nil {
		return stepResult{step: s, err: err}
	}
	read, write, err := os.Pipe()
	if err != nil {
		return stepResult{step: s, err: err}
	}
	defer read.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	if s.ram {
		cmd.Env = append(cmd.Env, inMemory(memory)...)
	}
	cmd.Stdout, cmd.Stderr = write, write
	// What the command starts is in its group, and ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		write.Close()
		return stepResult{step: s, err: err}
	}
	write.Close()
	r := stepResult{step: s}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.packages = pass(p, read, s.packages != nil)
	}()
	err = cmd.Wait()
	select {
	case <-done:
	case <-time.After(5 * time.Second): // a process that outlives the command holds the pipe open
		read.Close()
		<-done
	}
	r.err = err
	return r
}

// pass prints what a command writes: lines as they come, or a package at a
// time where they are go test's, whose results it returns.
func pass(p *printer, from io.Reader, tests bool) []pkgResult {
	var t testOutput
	var block []string
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		l := lines.Text()
		if !tests {
			p.block(l)
			continue
		}
		block = append(block, l)
		if t.line(l) {
			p.block(block...)
			block = block[:0]
		}
	}
	p.block(block...)
	return t.packages
}

const (
	// memory is where Linux has files in memory, and memoryLeft how much must be left there, in bytes.
	memory     = "/dev/shm"
	memoryLeft = 2 << 30
	tmpfsMagic = 0x01021994 // Linux's TMPFS_MAGIC
	noExec     = 0x8        // Linux's ST_NOEXEC
)

// inMemory returns what of the environment puts the temporary files of Go and of tests into a folder in memory; nothing
// where it is none, has no room, or is mounted without the right to run programs. The two are not told apart, because a
// test's TempDir is where go test builds the test's binary.
func inMemory(folder string) []string {
	var fs syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || os.Getenv("GOTMPDIR") != "" || syscall.Statfs(folder, &fs) != nil || !fits(fs) {
		return nil
	}
	return []string{"TMPDIR=" + folder}
}

// fits reports whether a file system is in memory, has room for the files of tests, and lets them be run.
func fits(fs syscall.Statfs_t) bool {
	return fs.Type == tmpfsMagic && fs.Bavail*uint64(fs.Bsize) >= memoryLeft && fs.Flags&noExec == 0
}
