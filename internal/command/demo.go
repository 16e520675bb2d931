package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/demo"
)

// demoAddress is where the demo's configuration expects the shop.
const demoAddress = "127.0.0.1:9798"

// demoGC is by how many per cent the heap grows until it is collected: a collection every few seconds.
const demoGC = 20

// exporterStop bounds how long the demo waits for the last spans of its shop.
const exporterStop = 2 * time.Second

// DemoOptions of Demo.
type DemoOptions struct {
	Address string // of the shop, host:port
	Quiet   bool   // the shop's knobs are turned by hand only
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
	opts.ConfigFile = filepath.Join(dir, demo.ConfigFile)
	if opts.StoragePath == "" {
		opts.StoragePath = filepath.Join(dir, "data")
	}
	// The shop's memory is what the last collection left, which rare collections would show late.
	defer debug.SetGCPercent(debug.SetGCPercent(demoGC))
	shopCtx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	shop := demo.New(demo.Default(), 1)
	endTraces, err := traceShop(ctx, shop)
	if err != nil {
		stop()
		return errors.Join(err, l.Close())
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
	// The shop outlives the load on it, so that what drains is answered.
	err = app.Run(ctx, opts)
	stop()
	<-played
	err = errors.Join(err, <-served)
	grace, cancel := context.WithTimeout(context.Background(), exporterStop)
	defer cancel()
	if lost := endTraces(grace); lost != nil {
		opts.Log.Warn("the demo shop's last spans are lost", "err", lost)
	}
	return err
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
