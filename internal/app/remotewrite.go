package app

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/output/remotewrite"
	"github.com/perfd/perfd/internal/queue"
)

// remoteWriteFolder is where the queue lies below --storage.path.
const remoteWriteFolder = "remote-write"

// newRemoteWrite builds what a document says of remote write, nil where it says nothing.
func (a *App) newRemoteWrite(doc *config.Document) (*remotewrite.Writer, error) {
	if len(doc.RemoteWrite) == 0 {
		return nil, nil //nolint:nilnil // no writer is what was asked for
	}
	return remotewrite.New(remotewrite.Options{
		Endpoints: doc.RemoteWrite,
		Queue:     doc.RemoteWriteQueue,
		FS:        queue.Dir(filepath.Join(a.opts.StoragePath, remoteWriteFolder)),
		Dir:       doc.Dir,
		Scenarios: a.recorder,
		Daemon:    a.registry,
		UserAgent: "perfd/" + version.Version,
		Log:       a.log,
	})
}

// remoteWrite is the writer there is, nil for none.
func (a *App) remoteWrite() *remotewrite.Writer { return a.writer.Load() }

// stopRemoteWrite sends what there is to send and ends all series.
func (a *App) stopRemoteWrite(ctx context.Context) error {
	if w := a.writer.Swap(nil); w != nil {
		return w.Close(ctx, true)
	}
	return nil
}

// reloadRemoteWrite changes to what a document says. What is queued stays queued.
func (a *App) reloadRemoteWrite(doc *config.Document) error {
	w := a.remoteWrite()
	if w != nil && w.Same(doc.RemoteWrite, doc.RemoteWriteQueue) {
		return nil
	}
	if w != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		a.writer.Store(nil)
		// Where nothing takes over, the series end here.
		if err := w.Close(ctx, len(doc.RemoteWrite) == 0); err != nil {
			a.log.Warn("close remote write", "err", err)
		}
	}
	w, err := a.newRemoteWrite(doc)
	if err != nil {
		return fmt.Errorf("remote write stopped: %w", err)
	}
	if w != nil {
		w.Start()
		a.writer.Store(w)
	}
	return nil
}
