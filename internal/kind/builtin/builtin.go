// Package builtin is the one list of the kinds that perfd ships. One more
// protocol, executor or shape is one more line here.
package builtin

import (
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/http"
)

// Kinds returns everything that perfd ships.
func Kinds() kind.Set {
	return kind.Set{
		Protocols: []protocol.Kind{
			http.Kind,
		},
		Executors: []pace.Executor{
			pace.ConstantArrivalRate,
			pace.RampingArrivalRate,
			pace.ConstantVUs,
			pace.RampingVUs,
		},
		Shapes: []pace.Shape{
			pace.Stages,
		},
	}
}
