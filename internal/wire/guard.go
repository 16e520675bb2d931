package wire

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// A Guard says where requests may go, those of load and those of watches over
// targets: to loopback, and where its lists allow. A name
// must match a pattern, and the address it resolves to must lie in a network.
// Names are checked before they are resolved and addresses when they are dialled,
// so that neither a redirect nor a name that resolves elsewhere escapes.
type Guard struct {
	Hosts    []string // patterns such as "*.staging.example.com"; localhost is always allowed
	Networks []netip.Prefix
}

// A RefusedError says why load may not go to a host or address.
type RefusedError struct{ Where, Why string }

func (e *RefusedError) Error() string { return fmt.Sprintf("%s is not allowed: %s", e.Where, e.Why) }

// metadata lists the addresses outside the link-local ranges at which clouds serve credentials.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // Amazon
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// nat64 is the well-known prefix of IPv6 addresses whose last four bytes are an IPv4 address (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// CheckHost returns a RefusedError unless load may go to a host, a name or a literal address.
func (g *Guard) CheckHost(host string) error {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return g.CheckAddr(addr)
	}
	if isLocalhost(host) {
		return nil
	}
	for _, pattern := range g.Hosts {
		if ok, _ := path.Match(strings.ToLower(pattern), host); ok {
			return nil
		}
	}
	return &RefusedError{host, "no pattern of safety.allowed_hosts matches it"}
}

// isLocalhost reports whether a name is that of loopback (RFC 6761 section 6.3).
func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// CheckAddr returns a RefusedError unless load may go to an address. Link-local
// addresses and others at which clouds serve credentials are refused whatever is listed.
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

// plain returns the IPv4 address that an IPv6 form stands for, and drops a zone:
// either would hide an address from a list.
func plain(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}

// private lists the networks, besides those of netip.Addr.IsPrivate, that are not
// reached from the Internet: shared address space (RFC 6598) and benchmarks (RFC 2544).
var private = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15")}

func isPrivate(addr netip.Addr) bool {
	return addr.IsPrivate() || slices.ContainsFunc(private, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// checkRedirect returns a RefusedError where a redirect of the host at one address
// leads to an address that its host must not lead to: to loopback unless the host is
// on this machine itself, at 127.0.0.1 or ::1, and to a private address unless its own
// is private. What is near to perfd may trust whoever reaches it. A host that is
// elsewhere leads to neither.
//
// A redirect back to the host that the configuration names is not checked: load goes there anyway.
func checkRedirect(from, to netip.Addr) error {
	from, to = plain(from), plain(to)
	own := from == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || from == netip.IPv6Loopback()
	where := ""
	switch {
	case from == to:
	case to.IsLoopback() && !own:
		where = "loopback"
	case isPrivate(to) && !isPrivate(from):
		where = "a private network"
	}
	if where == "" {
		return nil
	}
	who := from.String()
	if from == elsewhere {
		who = "a name behind the proxy"
	}
	return &RefusedError{to.String(), fmt.Sprintf("a redirect of %s must not lead into %s", who, where)}
}
