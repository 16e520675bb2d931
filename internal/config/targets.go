package config

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/target"
	"github.com/perfd/perfd/internal/wire"
)

// flowTargets returns what flows must know of each target: its address, and its
// own block of each protocol laid over the protocol's defaults. Where a target's
// address is wrong, that is said once and its flows are checked with another.
func flowTargets(d *Document, kinds []protocol.Kind, allowed func(host string) error, errs *block.Errors) map[string]*flow.Target {
	targets := map[string]*flow.Target{}
	for i := range d.Targets {
		t := &d.Targets[i]
		blocks := protocolBlocks(t, kinds, errs)
		checkProxy(d, i, allowed, errs)
		checkResolved(t, allowed, errs)
		base := t.URL
		if !checkAddress(base, allowed, errs) {
			base.S = "http://localhost"
		}
		for _, read := range t.Addresses() {
			checkAddress(read, allowed, errs)
		}
		t.Client = client(kinds, blocks, &protocol.Compiler{Base: t.URL, Dir: d.Dir, Errors: errs, Credentials: t.Credentials.S, Credential: d.Credential})
		targets[t.Name.S] = &flow.Target{
			Base: base, Credentials: t.Credentials.S,
			Defaults: func(kind string) any { return blocks[kind] },
		}
	}
	return targets
}

// scenarioTargets returns the targets as a scenario has them: the blocks that it has of
// protocols are laid over the targets'.
func scenarioTargets(s *Scenario, targets map[string]*flow.Target, kinds []protocol.Kind, errs *block.Errors) map[string]*flow.Target {
	over := maps.Clone(targets)
	for _, key := range s.Blocks {
		i := slices.IndexFunc(kinds, func(k protocol.Kind) bool { return k.Name == key.Name && k.Scenario != nil })
		if i < 0 {
			continue // of an analysis, or unknown
		}
		lay := func(t any) any {
			b := kinds[i].Scenario(t)
			if block.Decode(key.Value, b, errs); errs.In(key.Value) {
				return t // steps are checked with what is not wrong
			}
			return b.Target()
		}
		for name, t := range over {
			own := *t
			laid := sync.OnceValue(func() any { return lay(t.Defaults(key.Name)) })
			own.Defaults = func(kind string) any {
				if kind == key.Name {
					return laid()
				}
				return t.Defaults(kind)
			}
			over[name] = &own
		}
		if t := over[s.Target.S]; t != nil {
			t.Defaults(key.Name) // what is wrong is said even where no step is sent
		} else {
			lay(nil)
		}
	}
	return over
}

// checkCredentials decodes the entries of credentials, and checks that the targets' are among them.
func checkCredentials(d *Document, kinds []credential.Kind, errs *block.Errors) {
	guard := d.Safety.Guard()
	var names []string
	taken := map[string]block.Pos{}
	for i := range d.Credentials {
		e := &d.Credentials[i]
		checkName("credential", e.Name, taken, errs)
		if e.Name.S == "none" {
			errs.Add(e.Name.Pos, e.Name.Path, "none means that there is no credential").Hint = "give it another name"
		}
		names = append(names, e.Name.S)
		e.Value.Name = e.Name
		e.Value.Decode(kinds, d.Dir, guard.CheckHost, errs)
	}
	for i := range d.Targets {
		if at := d.Targets[i].Credentials; at.S != "" && d.Credential(at.S) == nil {
			errs.Add(at.Pos, at.Path, "there is no entry of credentials named %q", at).Hint = block.Nearest(at.S, names)
		}
	}
}

// client returns how the load of a target speaks HTTP to it, nil where no protocol does.
func client(kinds []protocol.Kind, blocks map[string]any, k *protocol.Compiler) *protocol.Client {
	if k.Base.Path == "" { // is missing, decoding said so
		return nil
	}
	for _, kind := range kinds {
		if t, ok := blocks[kind.Name].(protocol.HTTPTarget); ok {
			return t.Client(k)
		}
	}
	return nil
}

// protocolBlocks decodes a target's blocks, by protocol.
func protocolBlocks(t *target.Config, kinds []protocol.Kind, errs *block.Errors) map[string]any {
	known := block.FieldNames(block.Fields(reflect.TypeFor[target.Config]()))
	blocks := map[string]any{}
	for _, k := range kinds {
		if k.Target != nil {
			known = append(known, k.Name)
			blocks[k.Name] = k.Target()
		}
	}
	for _, key := range t.Blocks {
		i := slices.IndexFunc(kinds, func(k protocol.Kind) bool { return k.Name == key.Name && k.Target != nil })
		if i < 0 {
			block.UnknownKey(key, strings.TrimSuffix(key.Value.Path, "."+key.Name), known, errs)
			continue
		}
		into := kinds[i].Target()
		if block.Decode(key.Value, into, errs); !errs.In(key.Value) { // steps are checked with what is not wrong
			blocks[key.Name] = into
		}
	}
	return blocks
}

// checkProxy checks that load may go to the proxy of a target, whose form the target has checked.
func checkProxy(d *Document, i int, allowed func(host string) error, errs *block.Errors) {
	p, err := wire.ParseProxy(d.Targets[i].ProxyURL.Value())
	if err != nil {
		return // there is none, or that was said
	}
	if err := allowed(p.Host); err != nil {
		at := d.root.Get("targets").Items[i].Get("proxy_url")
		errs.Add(at.Pos, at.Path, "%v", err).Hint = "load goes to its proxy first: list it in safety.allowed_hosts and safety.allowed_networks"
	}
}

// checkResolved checks that load may go to the addresses that a target gives hosts.
func checkResolved(t *target.Config, allowed func(host string) error, errs *block.Errors) {
	for _, e := range t.Resolve {
		for _, addr := range e.Value {
			if err := allowed(addr.S); err != nil {
				errs.Add(addr.Pos, addr.Path, "%v", err).Hint = "list it in safety.allowed_networks if load may go there"
			}
		}
	}
}

// checkAddress checks that requests may go to an address of a target, whose form the target has checked.
func checkAddress(base block.Text, allowed func(host string) error, errs *block.Errors) bool {
	u, err := url.Parse(base.S)
	if err != nil || u.Hostname() == "" {
		return false
	}
	if err := allowed(u.Hostname()); err != nil {
		errs.Add(base.Pos, base.Path, "%v", err).Hint = allowHint
		return false
	}
	return true
}

const allowHint = "if requests may go there, list it in safety.allowed_hosts or safety.allowed_networks"
