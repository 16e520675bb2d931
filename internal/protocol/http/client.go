package http

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
)

// Client returns how steps speak to the target where they say nothing else. The
// values of fields may hold ${…} that need no flow, such as ${uuid()}.
func (t *TargetConfig) Client(k *protocol.Compiler) *protocol.Client {
	type field struct {
		name  string
		value *expr.Template
	}
	var fields []field
	c := &protocol.Client{}
	if !ofRows(&t.TLS) { // which Validate reports
		c.TLS = t.TLS.Open(k)
	}
	var written []string // by the target's credential
	if k.Credential != nil {
		if d := k.Credential(k.Credentials); d != nil {
			written = d.Fields
		}
	}
	for _, e := range t.Headers {
		if slices.ContainsFunc(written, func(f string) bool { return strings.EqualFold(f, e.Name.S) }) {
			k.Errors.Add(e.Name.Pos, e.Name.Path, "%s is written by credentials %s too", e.Name.S, k.Credentials).Hint = "leave one of them out"
		}
		var unknown block.Errors // the flows report what is wrong with a field
		value := expr.ParseTemplate(e.Value, expr.NewSymbols(nil), &unknown)
		if unknown.Len() > 0 {
			c.OfFlows = append(c.OfFlows, e.Name.S)
			continue
		}
		fields = append(fields, field{e.Name.S, value})
	}
	c.Header = func(set func(name, value string)) {
		scope := &expr.Scope{Rand: rand.NewPCG(rand.Uint64(), rand.Uint64())}
		for _, f := range fields {
			// A field whose value is missing is left out: nobody configures one that always is.
			if value, err := f.value.Append(nil, scope); err == nil {
				set(f.name, string(value))
			}
		}
	}
	return c
}
