package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Guard says where requests may go, whatever makes them: to loopback, and where its
// lists allow. A name
// must match a pattern, and the address it resolves to must lie in a network.
// Names are checked before they are resolved and addresses when they are dialled,
// so that neither a redirect nor a name that resolves elsewhere escapes.
type Guard struct {
	Hosts    []string // patterns such as "*.staging.example.com"; localhost is always allowed
	Networks []netip.Prefix

	// named are hosts that need not be listed, and may resolve to whatever is not
	// refused always: the receiver of an output, which its configuration names.
	named []string
}

// Naming returns a guard that allows what g allows, and hosts that the configuration
// names as those to go to.
func (g Guard) Naming(hosts ...string) Guard {
	g.named = slices.Clone(g.named)
	for _, h := range hosts {
		g.named = append(g.named, canonical(h))
	}
	return g
}

// canonical returns a host as guards compare it.
func canonical(host string) string {
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// A RefusedError says why load may not go to a host or address.
type RefusedError struct{ Where, Why string }

func (e *RefusedError) Error() string { return fmt.Sprintf("%s is not allowed: %s", e.Where, e.Why) }

// metadata lists the addresses outside the link-local ranges at which clouds serve credentials.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // Amazon
	netip.MustParseAddr("fd00:ec2::23"),    // Amazon, of pods
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("fd00:42::42"),     // Scaleway
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
}

// metadataNames are names of such addresses, for where a proxy resolves them.
var metadataNames = []string{"metadata.google.internal", "metadata.goog", "instance-data.ec2.internal", "metadata.tencentyun.com"}

// CheckHost returns a RefusedError unless requests may go to a host, a name or a literal address.
func (g *Guard) CheckHost(host string) error {
	host = canonical(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.check(host, addr)
	}
	if slices.Contains(metadataNames, host) {
		return &RefusedError{host, "perfd sends nothing to addresses of cloud metadata"}
	}
	if addr, ok := numeric(host); ok {
		if err := never(addr); err != nil {
			return err
		}
	}
	if isLocalhost(host) || slices.Contains(g.named, host) {
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

// numeric returns the IPv4 address that a name of numbers is to inet_aton(3), by which
// proxies and C libraries read it: 2852039166 and 0xa9.254.0251.254 are 169.254.169.254.
func numeric(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	all := uint64(0)
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts)) // the last one has what is left
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if err != nil || strings.ContainsAny(part, "_+") {
			return netip.Addr{}, false
		}
		all = all<<bits | n
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(all)))), true
}

// check is CheckAddr for an address of a host.
func (g *Guard) check(host string, addr netip.Addr) error {
	if slices.Contains(g.named, canonical(host)) {
		return never(addr)
	}
	return g.CheckAddr(addr)
}

// CheckAddr returns a RefusedError unless requests may go to an address. Link-local
// addresses and others at which clouds serve credentials are refused whatever is listed.
func (g *Guard) CheckAddr(addr netip.Addr) error {
	if err := never(addr); err != nil {
		return err
	}
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() {
		return nil
	}
	v4 := translated(addr)
	for _, n := range g.Networks {
		if n.Contains(addr) || n.Contains(v4) {
			return nil
		}
	}
	return &RefusedError{addr.String(), "no network of safety.allowed_networks contains it"}
}

// never returns a RefusedError for an address to which no request goes, whoever
// names it, in whatever form it is written.
func never(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	all, n := forms(addr)
	for _, a := range all[:n] {
		switch {
		case a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast(), a.IsInterfaceLocalMulticast():
			return &RefusedError{addr.String(), "perfd sends nothing to link-local addresses"}
		case slices.Contains(metadata, a):
			return &RefusedError{addr.String(), "perfd sends nothing to addresses of cloud metadata"}
		}
	}
	v := translated(addr)
	if addr.IsMulticast() || !addr.IsValid() || addr.IsUnspecified() ||
		v.Is4() && (v.IsMulticast() || v == broadcast || thisNetwork.Contains(v)) {
		return &RefusedError{addr.String(), "it is not the address of one host"}
	}
	return nil
}

var (
	broadcast   = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122; Linux takes 0.0.0.0 for this machine
)

// Prefixes of IPv6 addresses that hold IPv4 ones.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291 section 2.5.5.1
	siit       = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380
)

// translated returns the IPv4 address that the well-known prefix of NAT64 translates
// to, and other addresses as they are.
func translated(addr netip.Addr) netip.Addr {
	if !nat64.Contains(addr) {
		return addr
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// forms returns an address and the IPv4 addresses that translators and tunnels may take
// it for, which would hide from a list. An address below the local prefix of NAT64
// is read in every way that RFC 6052 knows, since the length of the prefix is the operator's.
func forms(addr netip.Addr) (all [5]netip.Addr, n int) {
	all[0], n = addr, 1
	if !addr.Is6() || addr.IsLoopback() || addr.IsUnspecified() {
		return all, n
	}
	b := addr.As16()
	add := func(a, b, c, d byte) {
		all[n] = netip.AddrFrom4([4]byte{a, b, c, d})
		n++
	}
	switch {
	case sixToFour.Contains(addr):
		add(b[2], b[3], b[4], b[5])
	case teredo.Contains(addr):
		add(b[4], b[5], b[6], b[7])
		add(^b[12], ^b[13], ^b[14], ^b[15])
	case nat64Local.Contains(addr):
		add(b[6], b[7], b[9], b[10])
		add(b[7], b[9], b[10], b[11])
		add(b[9], b[10], b[11], b[12])
		add(b[12], b[13], b[14], b[15])
	case nat64.Contains(addr), compatible.Contains(addr), siit.Contains(addr),
		b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214 section 6.1
		add(b[12], b[13], b[14], b[15])
	}
	return all, n
}

// private lists the networks, besides those of netip.Addr.IsPrivate, that are not
// reached from the Internet: shared address space (RFC 6598), benchmarks (RFC 2544),
// a site's own translation (RFC 8215) and what was site-local (RFC 3879).
var private = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15"), nat64Local, netip.MustParsePrefix("fec0::/10"),
}

func isPrivate(addr netip.Addr) bool {
	return addr.IsPrivate() || slices.ContainsFunc(private, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// near reports whether an address leads to loopback or to a private network in any of
// its forms.
func near(addr netip.Addr) (loopback, within bool) {
	all, n := forms(addr)
	for _, a := range all[:n] {
		loopback, within = loopback || a.IsLoopback(), within || isPrivate(a)
	}
	return loopback, within
}

// CheckRedirect returns a RefusedError where a redirect of the host at one address
// leads to an address that its host must not lead to: to loopback unless the host is
// on this machine itself, at 127.0.0.1 or ::1, and to a private address unless its own
// is private. What is near to perfd may trust whoever reaches it. A host that is
// elsewhere leads to neither.
//
// A redirect back to the host that the configuration names is not checked: load goes there anyway.
func CheckRedirect(from, to netip.Addr) error {
	from, to = from.Unmap().WithZone(""), to.Unmap().WithZone("")
	own := from == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || from == netip.IPv6Loopback()
	loopback, within := near(to)
	where := ""
	switch {
	case from == to:
	case loopback && !own:
		where = "loopback"
	case within && !isPrivate(translated(from)):
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
