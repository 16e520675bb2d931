// Package builtin is the one list of the kinds that perfd ships. One more
// protocol, executor, shape, credential, analysis or output is one more line here.
package builtin

import (
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/analysis/cleanup"
	"github.com/perfd/perfd/internal/analysis/drift"
	"github.com/perfd/perfd/internal/analysis/efficiency"
	"github.com/perfd/perfd/internal/analysis/leak"
	"github.com/perfd/perfd/internal/analysis/limit"
	"github.com/perfd/perfd/internal/analysis/outage"
	"github.com/perfd/perfd/internal/analysis/regression"
	"github.com/perfd/perfd/internal/analysis/sla"
	"github.com/perfd/perfd/internal/analysis/twin"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/output/otlp"
	"github.com/perfd/perfd/internal/output/remotewrite"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/dns"
	"github.com/perfd/perfd/internal/protocol/grpc"
	"github.com/perfd/perfd/internal/protocol/http"
	"github.com/perfd/perfd/internal/protocol/tcp"
	"github.com/perfd/perfd/internal/protocol/udp"
	"github.com/perfd/perfd/internal/protocol/websocket"
)

// Kinds returns everything that perfd ships.
func Kinds() kind.Set {
	return kind.Set{
		Protocols: []protocol.Kind{
			http.Kind,
			grpc.Kind,
			websocket.Kind,
			tcp.Kind,
			udp.Kind,
			dns.Kind,
		},
		Executors: []pace.Executor{
			pace.ConstantArrivalRate,
			pace.RampingArrivalRate,
			pace.ConstantVUs,
			pace.RampingVUs,
			pace.SharedIterations,
			pace.PerVUIterations,
			pace.ExternallyControlled,
		},
		Shapes: []pace.Shape{
			pace.Stages,
			pace.RampAndHold,
			pace.Stairs,
			pace.Spike,
			pace.Sine,
			pace.Randomized,
			pace.Replay,
		},
		Outputs: []output.Kind{
			remotewrite.Kind,
			otlp.Kind,
		},
		Credentials: []credential.Kind{
			credential.OAuth2,
			credential.Login,
			credential.Bearer,
			credential.Basic,
			credential.APIKey,
			credential.SigV4,
			credential.HMAC,
		},
		Analyses: []analysis.Kind{
			outage.Kind,
			sla.Kind,
			regression.Kind,
			twin.Kind,
			leak.Kind,
			limit.Kind,
			drift.Kind,
			cleanup.Kind,
			efficiency.Kind,
		},
	}
}
