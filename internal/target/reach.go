package target

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

// Addresses are addresses of one machine, in the document as one or as a list.
type Addresses []block.Text

// DecodeBlock reads one address, or a list of them.
func (a *Addresses) DecodeBlock(n *block.Node, errs *block.Errors) {
	list := []*block.Node{n}
	if n.Kind == block.List {
		list = n.Items
	}
	if len(list) == 0 {
		errs.Add(n.Pos, n.Path, "lists no address")
	}
	*a = nil
	for _, item := range list {
		var one block.Text
		block.Decode(item, &one, errs)
		if errs.In(item) {
			continue
		}
		switch addr, err := netip.ParseAddr(one.S); {
		case err != nil:
			errs.Add(item.Pos, item.Path, "must be an address such as 10.0.0.7 or fd00::7, got %q", one)
		case addr.IsUnspecified() || addr.IsMulticast():
			errs.Add(item.Pos, item.Path, "must be the address of one machine, got %q", one)
		default:
			*a = append(*a, one)
		}
	}
}

// JSONSchema describes both forms.
func (Addresses) JSONSchema() map[string]any {
	one := block.Text{}.JSONSchema()
	return map[string]any{"anyOf": []any{one, map[string]any{"type": "array", "items": one, "minItems": 1}}}
}

// Addrs returns the addresses.
func (a Addresses) Addrs() []netip.Addr {
	var list []netip.Addr
	for _, text := range a {
		if addr, err := netip.ParseAddr(text.S); err == nil {
			list = append(list, addr.Unmap())
		}
	}
	return list
}

// Static returns the addresses of hosts and ports that DNS is not asked for.
func (c *Config) Static() map[wire.HostPort][]netip.Addr {
	static := map[wire.HostPort][]netip.Addr{}
	for _, e := range c.Resolve {
		if o, err := wire.ParseOrigin(e.Name.S); err == nil {
			static[wire.HostPort{Host: o.Host, Port: o.Port}] = e.Value.Addrs()
		}
	}
	return static
}

// checkReach reports local addresses that are there twice, and keys of resolve that are no host and port.
func (c *Config) checkReach(n *block.Node, errs *block.Errors) {
	for i, text := range c.LocalAddresses {
		if same := func(other block.Text) bool { return other.S == text.S }; slices.ContainsFunc(c.LocalAddresses[:i], same) {
			errs.Add(text.Pos, text.Path, "%s is there already", text)
		}
	}
	for _, e := range c.Resolve {
		o, err := wire.ParseOrigin(e.Name.S)
		switch {
		case err != nil || o.Host == "":
			errs.Add(e.Name.Pos, e.Name.Path, "must be a host and its port such as shop.staging.example.com:443, got %q", e.Name)
		case isAddress(o.Host):
			errs.Add(e.Name.Pos, e.Name.Path, "%s is an address already, which nothing resolves", o.Host).Hint = "write the name that the url has"
		}
	}
	if at := n.Get("resolve"); at != nil && c.ProxyURL.Value() != "" {
		errs.Add(at.Pos, at.Path, "has no effect beside proxy_url: the proxy resolves the names").Hint = "leave one of them out"
	}
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
