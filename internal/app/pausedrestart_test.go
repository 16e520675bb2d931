package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/protocol"
)

const oftenConfig = `
safety: {kill_switch_file: STOP}
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
scenarios:
  - name: often
    target: shop
    schedule: {every: 1m, duration: 10s}
    workload: {executor: constant-vus, vus: 1}
    flow: [{name: show product, call: {path: /products/7}}]
`

// A daemon that starts while load is paused, by hand or by the kill switch, looks
// back no further than it was down.
func TestARestartWhilePausedMissesLittle(t *testing.T) {
	t.Parallel()
	for _, byFile := range []bool{false, true} {
		t.Run(fmt.Sprintf("by file %v", byFile), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				file := filepath.Join(dir, "perfd.yaml")
				if err := os.WriteFile(file, []byte(oftenConfig), 0o644); err != nil {
					t.Fatal(err)
				}
				h := &heap{shop: demo.New(shopKnobs(24*time.Hour, 1), 1)}
				kinds := builtin.Kinds()
				kinds.Protocols = append(kinds.Protocols, protocol.Kind{Name: "call", Step: func() protocol.Config { return &call{step: h} }})
				run := func(log *bytes.Buffer, script func(a *App)) {
					a, err := New(Options{
						ConfigFile: file, StoragePath: filepath.Join(dir, "data"), Shards: 1, Grace: 10 * time.Second,
						Log: slog.New(slog.NewTextHandler(log, nil)), Kinds: &kinds, NewWaiter: engine.NewTimerWaiter, Transport: h, Root: dir,
					})
					if err != nil {
						t.Fatal(err)
					}
					a.Start()
					script(a)
					if err := a.Stop(); err != nil {
						t.Error(err)
					}
				}
				run(new(bytes.Buffer), func(a *App) {
					time.Sleep(10 * time.Minute)
					if byFile {
						if err := os.WriteFile(filepath.Join(dir, "STOP"), nil, 0o644); err != nil {
							t.Fatal(err)
						}
						time.Sleep(2 * time.Second)
					} else if err := a.Fleet().Pause(0); err != nil {
						t.Fatal(err)
					}
				})
				time.Sleep(3 * time.Minute)
				before := h.requests.Load()
				var log bytes.Buffer
				run(&log, func(a *App) {
					time.Sleep(5 * time.Minute)
					if missed := a.Fleet().Scenario("often").Schedule().Missed; missed > 20 {
						t.Errorf("%d runs were missed, of a daemon that was down for three minutes", missed)
					}
				})
				if n := strings.Count(log.String(), "missed"); n > 10 {
					t.Errorf("%d log lines on missed runs:\n%s", n, log.String()[:2000])
				}
				if n := h.requests.Load() - before; n > 0 {
					t.Errorf("%d requests while load was paused", n)
				}
			})
		})
	}
}
