package remotewrite

import (
	"path/filepath"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/queue"
)

// Kind is the output of snapshots of all metrics.
var Kind = output.Kind{
	Name:   "remote_write",
	Doc:    "Sends all metrics to receivers of Prometheus' remote write, through outages and crashes.",
	Config: func() output.Config { return &Blocks{Queue: DefaultQueue()} },
	Takes:  output.Snapshots,
}

// Blocks is what the output owns of the document.
type Blocks struct {
	Endpoints []Config    `yaml:"remote_write" doc:"Where metrics are sent to, besides being exposed at /metrics."`
	Queue     QueueConfig `yaml:"remote_write_queue" doc:"What is kept on disk for remote_write, so that outages and crashes lose nothing."`
}

// folder is where the queue is below Env.StoragePath.
const folder = "remote-write"

// Enabled reports whether there is an endpoint.
func (b *Blocks) Enabled() bool { return len(b.Endpoints) > 0 }

// Check checks that the endpoints have different names, and reads their certificates.
func (b *Blocks) Check(root *block.Node, dir string, errs *block.Errors) {
	names := map[string]block.Pos{}
	for i := range b.Endpoints {
		c := &b.Endpoints[i]
		c.TLS.Check(root.Get("remote_write").Items[i].Get("tls"), dir, errs)
		first, twice := names[c.Name]
		if twice && c.Name != "" {
			errs.Add(c.URL.Pos, c.URL.Path, "a remote_write named %q exists already, at %s", c.Name, first).Hint = "give one of the two a name: {name: …}"
			continue
		}
		names[c.Name] = c.URL.Pos
	}
}

// Open builds a writer, which has the queue of the old one where there is one.
func (b *Blocks) Open(env *output.Env, old output.Output) (output.Output, error) {
	o := Options{
		Endpoints: b.Endpoints,
		Queue:     b.Queue,
		FS:        queue.Before(queue.Dir(filepath.Join(env.StoragePath, folder)), env.Disk),
		Dir:       env.Dir,
		Scenarios: env.Scenarios,
		Daemon:    env.Daemon,
		UserAgent: env.UserAgent,
		Log:       env.Log,
		TLSFaults: env.TLSFaults,
		Guard:     env.Guard,
		Network:   env.Network,
	}
	if old != nil {
		o.Old = old.(*Writer)
	}
	w, err := New(o)
	if err != nil {
		return nil, err // not w, which would make an Output that is not nil
	}
	return w, nil
}
