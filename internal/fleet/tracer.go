package fleet

import "github.com/perfd/perfd/internal/output"

// traced describes the run to the outputs that take traces.
func (r *run) traced() output.Run {
	named := r.identity.Load()
	t := output.Run{Scenario: r.s.name, ID: named.id, Release: named.release, Test: string(r.s.cfg.Test), Zero: r.engine.Zero()}
	for _, step := range r.s.cfg.Program.Steps {
		t.Steps = append(t.Steps, output.Step{Label: step.Label, Target: step.Target, Protocol: step.Protocol, Span: step.Span})
	}
	return t
}
