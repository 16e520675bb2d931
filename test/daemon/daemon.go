// Package daemon starts the real perfd program on loopback and talks to it the
// way an operator and a Prometheus do: by flags, signals and HTTP.
//
// It uses the documented command line and metrics and imports none of perfd's
// packages, so that tests and benchmarks cover what a user gets.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/perfd/perfd/test/proc"
)

// Build compiles cmd/perfd into a folder and returns the binary's path. Flags
// are go build's, such as -race.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	bin := filepath.Join(dir, "perfd")
	args := append([]string{"build", "-buildvcs=false", "-o", bin}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/perfd/perfd/cmd/perfd")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build perfd: %w\n%s", err, out)
	}
	return bin, nil
}

// Options say how to run the daemon.
type Options struct {
	Binary string
	Dir    string   // holds perfd.yaml and data/, created where missing
	Config string   // text of perfd.yaml; the empty string keeps the file that is there
	Flags  []string // besides --config.file, --storage.path, --web.listen-address and --web.enable-lifecycle
	Env    []string // the whole environment; nil means this process's own
	Before []string // command line to run the daemon under, such as taskset -c 1
	Files  uint64   // limit on descriptors; 0 leaves it
}

// A Daemon is a running perfd.
type Daemon struct {
	*proc.Process
	URL  string // such as http://127.0.0.1:41234
	file string
}

var listening = regexp.MustCompile(`msg="?listening"?.* address=(\S+)`)

// Start runs the daemon and waits until it is ready.
func Start(ctx context.Context, o Options) (*Daemon, error) {
	file := filepath.Join(o.Dir, "perfd.yaml")
	if o.Config != "" {
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(o.Config), 0o644); err != nil {
			return nil, err
		}
	}
	line := append([]string{}, o.Before...)
	line = append(line, o.Binary, "run",
		"--config.file="+file,
		"--storage.path="+filepath.Join(o.Dir, "data"),
		"--web.listen-address=127.0.0.1:0",
		"--web.enable-lifecycle")
	line = append(line, o.Flags...)
	p, err := proc.Start(proc.Spec{Path: line[0], Args: line[1:], Env: o.Env, Dir: o.Dir, Files: o.Files})
	if err != nil {
		return nil, err
	}
	d, err := attach(ctx, p, file)
	if err != nil {
		p.Kill()
		return nil, err
	}
	return d, nil
}

// StartDemo runs perfd demo with a shop on a free port.
func StartDemo(ctx context.Context, binary, dir string, env ...string) (*Daemon, error) {
	p, err := proc.Start(proc.Spec{
		Path: binary,
		Args: []string{"demo", "--quiet", "--web.listen-address=127.0.0.1:0", "--demo.listen-address=127.0.0.1:0"},
		Dir:  dir,
		Env:  append(os.Environ(), env...),
	})
	if err != nil {
		return nil, err
	}
	d, err := attach(ctx, p, "")
	if err != nil {
		p.Kill()
		return nil, err
	}
	return d, nil
}

func attach(ctx context.Context, p *proc.Process, file string) (*Daemon, error) {
	m, err := p.WaitFor(ctx, listening)
	if err != nil {
		return nil, err
	}
	d := &Daemon{Process: p, URL: "http://" + m[1], file: file}
	err = proc.Poll(ctx, 10*time.Millisecond, func() (bool, error) {
		if !p.Running() {
			return false, errors.New("the program ended")
		}
		code, _, err := d.Do(ctx, http.MethodGet, "/-/ready")
		return err == nil && code == http.StatusOK, nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait until perfd is ready: %w\n%s", err, p.Output())
	}
	return d, nil
}

// Dir is the folder that holds perfd.yaml and data/, of a daemon that Start started.
func (d *Daemon) Dir() string { return filepath.Dir(d.file) }

// Configure replaces the configuration file. The daemon reads it at its next reload.
func (d *Daemon) Configure(text string) error {
	return os.WriteFile(d.file, []byte(text), 0o644)
}

// Do makes a request to the daemon and returns status and body.
func (d *Daemon) Do(ctx context.Context, method, path string) (code int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, d.URL+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// Post makes a POST that must succeed.
func (d *Daemon) Post(ctx context.Context, path string) error {
	code, body, err := d.Do(ctx, http.MethodPost, path)
	if err != nil {
		return err
	}
	if code/100 != 2 {
		return fmt.Errorf("POST %s: status %d: %s", path, code, strings.TrimSpace(body))
	}
	return nil
}

// Scrape reads /metrics.
func (d *Daemon) Scrape(ctx context.Context) (Metrics, error) {
	return Scrape(ctx, d.URL+"/metrics")
}

// Until scrapes until the condition holds and returns that scrape. The
// condition returns what is missing, or the empty string.
func (d *Daemon) Until(ctx context.Context, condition func(Metrics) (missing string)) (Metrics, error) {
	var m Metrics
	err := proc.Poll(ctx, 50*time.Millisecond, func() (bool, error) {
		var err error
		if m, err = d.Scrape(ctx); err != nil {
			return false, err
		}
		if missing := condition(m); missing != "" {
			return false, proc.Pending(missing)
		}
		return true, nil
	})
	return m, err
}
