package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/demo"
)

// demoAddress is where the demo's configuration expects the shop.
const demoAddress = "127.0.0.1:9798"

// demoGC is by how many per cent the heap grows until it is collected: a collection every few seconds.
const demoGC = 20

// exporterStop bounds how long the demo waits for the last spans of its targets.
const exporterStop = 2 * time.Second

// DemoOptions of Demo.
type DemoOptions struct {
	Address string // of the shop, host:port
	Quiet   bool   // the shop's knobs are turned by hand only

	Services        bool   // microservices run beside the shop
	ServicesAddress string // of the first of them, host:port; the others have the ports that follow
}

// Demo runs the demo shop, and a daemon that puts load on it, until ctx ends. A *app.UsageError says that nothing was started.
func Demo(ctx context.Context, opts app.Options, o DemoOptions) (err error) {
	dir, err := os.MkdirTemp("", "perfd-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := net.Listen("tcp", o.Address)
	if err != nil {
		return &app.UsageError{Err: fmt.Errorf("--demo.listen-address: %w", err)}
	}
	if err := writeDemoConfig(dir, l.Addr().String()); err != nil {
		return errors.Join(err, l.Close())
	}
	endServices := func() error { return nil }
	if o.Services {
		if endServices, err = startServices(ctx, o.ServicesAddress, opts.Log); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	opts.ConfigFile = filepath.Join(dir, demo.ConfigFile)
	if opts.StoragePath == "" {
		opts.StoragePath = filepath.Join(dir, "data")
	}
	// The shop's memory is what the last collection left, which rare collections would show late.
	defer debug.SetGCPercent(debug.SetGCPercent(demoGC))
	shopCtx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	shop := demo.New(demo.Default(), 1)
	tracer, endTraces, err := traceDemo(ctx, "shop")
	if err != nil {
		stop()
		return errors.Join(err, endServices(), l.Close())
	}
	if tracer != nil {
		shop.Trace(tracer)
	}
	go func() { served <- shop.Serve(shopCtx, l) }()
	opts.Log.Info("demo shop listening", "address", l.Addr().String(), "knobs", "http://"+l.Addr().String()+"/knobs")
	played := make(chan struct{})
	go func() {
		defer close(played)
		if !o.Quiet {
			shop.Play(shopCtx, demo.Script(), func(s demo.Scene) { opts.Log.Info("the demo plays its script", "scene", s.What, "expect", s.Expect) })
		}
	}()
	// The targets outlive the load on them, so that what drains is answered.
	err = app.Run(ctx, opts)
	stop()
	<-played
	err = errors.Join(err, <-served, endServices())
	flush(opts.Log, endTraces)
	return err
}

// startServices serves the demo's microservices until the function is called that it returns. A *app.UsageError says
// that they cannot listen.
func startServices(ctx context.Context, address string, log *slog.Logger) (end func() error, err error) {
	var ends []func(context.Context) error
	tracers := map[string]trace.Tracer{}
	for _, name := range demo.ServiceNames {
		tracer, endTraces, err := traceDemo(ctx, name)
		if err != nil {
			flush(log, ends...)
			return nil, err
		}
		tracers[name], ends = tracer, append(ends, endTraces)
	}
	o := demo.ServicesOptions{Address: address, Seed: 1}
	if tracers[demo.ServiceNames[0]] != nil {
		o.Tracer = func(name string) trace.Tracer { return tracers[name] }
	}
	services, err := demo.NewServices(o)
	if err != nil {
		flush(log, ends...)
		return nil, &app.UsageError{Err: fmt.Errorf("--services.listen-address: %w", err)}
	}
	for _, name := range demo.ServiceNames {
		log.Info("demo service listening", "service", name, "url", services.URL(name))
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- services.Serve(serving) }()
	return func() error {
		stop()
		err := <-served
		flush(log, ends...)
		return err
	}, nil
}

// flush sends the last spans of targets, within exporterStop.
func flush(log *slog.Logger, ends ...func(context.Context) error) {
	grace, cancel := context.WithTimeout(context.Background(), exporterStop)
	defer cancel()
	var wg sync.WaitGroup
	for _, end := range ends {
		wg.Go(func() {
			if lost := end(grace); lost != nil {
				log.Warn("the last spans of a demo target are lost", "err", lost)
			}
		})
	}
	wg.Wait()
}

// writeDemoConfig writes the embedded configuration to a folder, for a shop at an address.
func writeDemoConfig(dir, address string) error {
	return fs.WalkDir(demo.Config, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(demo.Config, path)
		if err != nil {
			return err
		}
		text = bytes.ReplaceAll(text, []byte(demoAddress), []byte(address))
		return os.WriteFile(filepath.Join(dir, path), text, 0o644)
	})
}
