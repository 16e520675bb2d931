// Package kind says what can be plugged into perfd: protocols, executors and shapes
// of load, credentials, analyses and outputs, each with one descriptor. The configuration decodes, checks and documents whatever
// a Set holds; package builtin has the one list of what perfd ships.
package kind

import (
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/protocol"
)

// A Set is everything that is plugged in. The order of a list is the order in
// which it is shown.
type Set struct {
	Protocols   []protocol.Kind
	Executors   []pace.Executor
	Shapes      []pace.Shape
	Outputs     []output.Kind
	Credentials []credential.Kind
	Analyses    analysis.Kinds // in the order in which runs speak of them
}

// Workload returns what a workload may name.
func (s Set) Workload() pace.Kinds { return pace.Kinds{Executors: s.Executors, Shapes: s.Shapes} }
