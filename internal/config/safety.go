package config

import (
	"net/netip"
	"path"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/target"
	"github.com/perfd/perfd/internal/wire"
)

// Safety bounds what perfd may do, whatever scenarios say.
type Safety struct {
	AllowedHosts    []Host         `yaml:"allowed_hosts" doc:"Patterns of host names that requests may be sent to, those of load and those that read releases and resources, such as *.staging.example.com. localhost always is."`
	AllowedNetworks []Network      `yaml:"allowed_networks" doc:"Networks that requests may be sent to, such as 10.0.0.0/8. Loopback always is, link-local addresses never are."`
	MaxRequestRate  block.Rate     `yaml:"max_request_rate" doc:"Most requests per time to one target, all scenarios together and redirects included (default 1000/s)."`
	BackOff         target.BackOff `yaml:"back_off" doc:"How load is taken away from a target in distress."`
	KillSwitchFile  string         `yaml:"kill_switch_file" doc:"All load is paused while this file exists: one switch for many instances. The path starts from the configuration file."`
}

// Guard returns the allow-list.
func (s *Safety) Guard() *wire.Guard {
	var g wire.Guard
	for _, h := range s.AllowedHosts {
		g.Hosts = append(g.Hosts, string(h))
	}
	for _, n := range s.AllowedNetworks {
		g.Networks = append(g.Networks, netip.Prefix(n))
	}
	return &g
}

// Validate checks the limit.
func (s *Safety) Validate(at *block.Node, errs *block.Errors) {
	if s.MaxRequestRate.Count <= 0 {
		n := at.Get("max_request_rate")
		errs.Add(n.Pos, n.Path, "must be more than 0, got %s", s.MaxRequestRate)
	}
}

// A Host is a pattern of host names.
type Host string

// DecodeBlock accepts a name that may hold *, no URL and no address.
func (h *Host) DecodeBlock(n *block.Node, errs *block.Errors) {
	var text string
	before := errs.Len()
	if block.Decode(n, &text, errs); errs.Len() > before {
		return
	}
	fail := func(problem, hint string) {
		errs.Add(n.Pos, n.Path, "%s, got %s", problem, n.Found()).Hint = hint
	}
	if _, err := netip.ParsePrefix(text); err == nil {
		fail("must be a host name", "networks go below allowed_networks")
		return
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		fail("must be a host name", "write "+netip.PrefixFrom(addr, addr.BitLen()).String()+" below allowed_networks")
		return
	}
	_, err := path.Match(text, "")
	switch {
	case text == "" || err != nil || strings.ContainsAny(text, " \t\n@"):
		fail("must be a host name or a pattern such as *.staging.example.com", "")
	case strings.ContainsAny(text, ":/"):
		fail("must be a host name without scheme, port and path", "")
	case strings.Trim(text, "*.?") == "":
		fail("would allow every host", "name the domain of your staging system: *.staging.example.com")
	default:
		*h = Host(text)
	}
}

// JSONSchema says that a host is text.
func (Host) JSONSchema() map[string]any { return map[string]any{"type": "string"} }

// A Network is an address range.
type Network netip.Prefix

// DecodeBlock accepts CIDR notation and single addresses.
func (w *Network) DecodeBlock(n *block.Node, errs *block.Errors) {
	var text string
	before := errs.Len()
	if block.Decode(n, &text, errs); errs.Len() > before {
		return
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(text); err == nil {
			prefix, err = addr.Prefix(addr.BitLen())
		}
	}
	switch {
	case err != nil:
		errs.Add(n.Pos, n.Path, "must be a network such as 10.0.0.0/8, got %s", n.Found())
	case prefix.Bits() == 0:
		errs.Add(n.Pos, n.Path, "would allow every address, got %s", n.Found()).Hint = "name the networks of your staging system"
	case prefix != prefix.Masked():
		errs.Add(n.Pos, n.Path, "has bits set beyond its length, got %s", n.Found()).Hint = "write " + prefix.Masked().String()
	case prefix.Addr().Unmap().IsLinkLocalUnicast():
		errs.Add(n.Pos, n.Path, "perfd sends nothing to link-local addresses, got %s", n.Found())
	default:
		*w = Network(prefix)
	}
}

// JSONSchema says that a network is text.
func (Network) JSONSchema() map[string]any { return map[string]any{"type": "string"} }
