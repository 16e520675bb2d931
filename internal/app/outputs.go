package app

import (
	"os"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/record"
)

// newOutputs returns the set of outputs, which has none before its first commit.
func (a *App) newOutputs() *output.Set {
	host, _ := os.Hostname()
	return output.NewSet(output.Env{
		StoragePath: a.opts.StoragePath,
		Scenarios:   a.recorder,
		Daemon:      a.registry,
		Version:     version.Version,
		Instance:    host,
		UserAgent:   "perfd/" + version.Version,
		Log:         a.log,
		Strike:      a.strike,
		TLSFaults:   a.tlsFaults,
		Network:     a.opts.Network,
		Disk:        a.opts.Disk,
		Exported:    a.exported,
	})
}

// exported makes an exemplar of a span that a collector has.
func (a *App) exported(x output.Exported) {
	a.recorder.Exemplar(record.Exemplar{
		Scenario: x.Scenario, Step: x.Step, Cause: x.Cause, Duration: x.Duration, ResponseTime: x.ResponseTime,
		Trace: x.Trace, Span: x.Span, At: x.At, Sampled: x.Sampled,
	})
}
