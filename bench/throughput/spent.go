package main

import (
	"context"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// A look is what the daemon has done and used so far.
type look struct {
	requests, failures float64
	cpu                time.Duration // user and system, the whole process
}

func spent(ctx context.Context, d *daemon.Daemon) (look, error) {
	m, err := d.Scrape(ctx)
	if err != nil {
		return look{}, err
	}
	cpu, err := proc.CPU(d.PID())
	if err != nil {
		return look{}, err
	}
	return look{m.Value("perfd_requests_total"), m.Value("perfd_request_failures_total"), cpu}, nil
}
