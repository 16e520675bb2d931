package fleet

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/wire"
)

// TestARedirectIsLimitedByTheHostItLeadsTo looks which limiter a redirect of shop takes its token of.
func TestARedirectIsLimitedByTheHostItLeadsTo(t *testing.T) {
	f := watching(t, `
safety: {allowed_hosts: ["*.example.com"], allowed_networks: [10.0.0.0/8], max_request_rate: 50/s}
targets:
  - {name: shop, url: "http://localhost:8080", limits: {request_rate: 5/s}}
  - {name: pay, url: "https://127.0.0.1:8443/api"}
  - {name: login, url: "http://[::1]"}
  - {name: far, url: "https://Far.Example.com"}
  - {name: near, url: "http://10.0.0.1:9000"}
`, nil)
	shop := f.Target("shop")
	shop.dialer = wire.NewDialer(wire.DialerOptions{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}})
	if _, err := shop.dialer.Resolve(t.Context(), "localhost", 0, time.Minute); err != nil { // load does so before any redirect
		t.Fatal(err)
	}
	limiters := map[string]any{}
	for _, name := range []string{"shop", "pay", "login", "far", "near"} {
		limiters[name] = f.Target(name).limiter
	}
	for _, c := range []struct {
		host  string
		port  uint16
		addrs string
		want  string // a target, or empty for a host that is none
	}{
		{"localhost", 8080, "127.0.0.1", "shop"},
		{"localhost", 9999, "127.0.0.1", "shop"}, // another port of its host
		{"127.0.0.1", 8080, "127.0.0.1", "shop"}, // another name of its host
		{"127.0.0.1", 9999, "127.0.0.1", "shop"}, // and both
		{"127.0.0.1", 8443, "127.0.0.1", "pay"},  // of two that are there, the one at the port
		{"localhost", 8443, "127.0.0.1", "pay"},
		{"::1", 80, "::1", "login"},
		{"far.example.com", 443, "10.9.9.9", "far"},
		{"far.example.com", 80, "10.9.9.9", "far"},
		{"10.0.0.1", 1, "10.0.0.1", "near"},
		{"alias.example.com", 9000, "10.0.0.7 10.0.0.1", "near"},
		{"other.example.com", 443, "10.0.0.9", ""},
		{"127.0.0.2", 8080, "127.0.0.2", ""},
		{"far.example.com", 443, "", "far"}, // behind a proxy
		{"other.example.com", 443, "", ""},
	} {
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(c.addrs) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		got := shop.redirectLimiter(c.host, c.port, addrs)
		switch {
		case c.want != "" && got != limiters[c.want]:
			t.Errorf("%s:%d at %v is not limited by %s", c.host, c.port, addrs, c.want)
		case c.want == "" && got != f.current().hosts.Limiter(addrs):
			t.Errorf("%s:%d at %v is not limited as a host that is no target", c.host, c.port, addrs)
		}
	}
	if rate := f.current().hosts.Rate(); rate != 50 {
		t.Errorf("hosts that are no targets get %v requests a second, want safety.max_request_rate", rate)
	}
	if names := f.current().inOrder(); !slices.Equal(names[:1], []*Target{shop}) || len(names) != 5 {
		t.Error("targets are not in the document's order")
	}
}
