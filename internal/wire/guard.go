package wire

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// A Guard says where load may go: to loopback, and where the lists allow it. A
// name must match a pattern, and the address it resolves to must lie in a
// network: names are checked before they are resolved and addresses when they
// are dialled, so neither a redirect nor a name that resolves elsewhere gets past.
type Guard struct {
	Hosts    []string // patterns such as "*.staging.example.com"; localhost is always allowed
	Networks []netip.Prefix
}

// A RefusedError says why load may not go to a host or address.
type RefusedError struct{ Where, Why string }

func (e *RefusedError) Error() string { return fmt.Sprintf("%s is not allowed: %s", e.Where, e.Why) }

// metadata are the addresses outside the link-local ranges where clouds hand out credentials.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // Amazon
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// nat64 is the well-known prefix that holds an IPv4 address in its last four bytes (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// CheckHost says whether load may go to a host, given by name or as a literal address.
func (g *Guard) CheckHost(host string) error {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return g.CheckAddr(addr)
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return nil
	}
	for _, pattern := range g.Hosts {
		if ok, _ := path.Match(strings.ToLower(pattern), host); ok {
			return nil
		}
	}
	return &RefusedError{host, "no pattern of safety.allowed_hosts matches it"}
}

// CheckAddr says whether load may go to an address. Link-local addresses and
// others where clouds keep credentials are refused whatever is listed.
func (g *Guard) CheckAddr(addr netip.Addr) error {
	addr = plain(addr)
	switch {
	case addr.IsLinkLocalUnicast(), addr.IsLinkLocalMulticast(), addr.IsInterfaceLocalMulticast():
		return &RefusedError{addr.String(), "link-local addresses are never load targets"}
	case slices.Contains(metadata, addr):
		return &RefusedError{addr.String(), "addresses of cloud metadata are never load targets"}
	case addr.IsMulticast(), addr.IsUnspecified(), !addr.IsValid(), addr == broadcast:
		return &RefusedError{addr.String(), "it is not the address of one host"}
	case addr.IsLoopback():
		return nil
	}
	for _, n := range g.Networks {
		if n.Contains(addr) {
			return nil
		}
	}
	return &RefusedError{addr.String(), "no network of safety.allowed_networks contains it"}
}

// plain takes an address out of the forms that would hide it from a list.
func plain(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}
