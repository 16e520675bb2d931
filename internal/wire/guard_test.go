package wire

import (
	"net/netip"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	open := Guard{
		Hosts:    []string{"*.staging.example.com", "One.example.com"},
		Networks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
	}
	narrow := Guard{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	named := Guard{}.Naming("receiver.test", "192.0.2.7", "[2001:db8::1]", "169.254.169.254", "fe80::1%eth0", "metadata.goog", "0xa9fea9fe")
	for _, c := range []struct {
		guard *Guard
		host  string
		why   string // part of the refusal; empty where it is allowed
	}{
		{&Guard{}, "localhost", ""},
		{&Guard{}, "LOCALHOST.", ""},
		{&Guard{}, "shop.localhost", ""},
		{&Guard{}, "127.0.0.1", ""},
		{&Guard{}, "127.9.9.9", ""},
		{&Guard{}, "::1", ""},
		{&Guard{}, "[::1]", ""},
		{&Guard{}, "::ffff:127.0.0.1", ""},
		{&Guard{}, "example.com", "allowed_hosts"},
		{&Guard{}, "localhost.example.com", "allowed_hosts"},
		{&Guard{}, "10.0.0.1", "allowed_networks"},
		{&narrow, "10.0.0.1", ""},
		{&narrow, "::ffff:10.0.0.1", ""},
		{&narrow, "64:ff9b::a00:1", ""},
		{&narrow, "11.0.0.1", "allowed_networks"},
		{&narrow, "::ffff:11.0.0.1", "allowed_networks"},
		{&narrow, "64:ff9b::b00:1", "allowed_networks"},
		{&open, "a.staging.example.com", ""},
		{&open, "A.B.Staging.Example.Com.", ""},
		{&open, "one.example.com", ""},
		{&open, "staging.example.com", "allowed_hosts"},
		{&open, "evil-staging.example.com.attacker.test", "allowed_hosts"},
		{&open, "8.8.8.8", ""},
		{&open, "169.254.169.254", "link-local"},
		{&open, "::ffff:169.254.169.254", "link-local"},
		{&open, "64:ff9b::a9fe:a9fe", "link-local"},
		{&open, "fe80::1", "link-local"},
		{&open, "fe80::1%eth0", "link-local"},
		{&open, "fd00:ec2::254", "metadata"},
		{&open, "100.100.100.200", "metadata"},
		{&open, "fd20:ce::254", "metadata"},
		{&open, "::169.254.169.254", "link-local"},
		{&open, "::ffff:0:a9fe:a9fe", "link-local"},
		{&open, "2002:a9fe:a9fe::", "link-local"},
		{&open, "2002:a83f:8110:1::7", "metadata"}, // 168.63.129.16
		{&open, "2001:0:a9fe:a9fe::", "link-local"},
		{&open, "2001:0:c000:201:0:0:5601:5601", "link-local"}, // of Teredo's client
		{&open, "2001:db8::5efe:a9fe:a9fe", "link-local"},
		{&open, "2001:db8::200:5efe:a9fe:a9fe", "link-local"},
		{&open, "64:ff9b:1:a9fe:a9:fe00::", "link-local"},  // a prefix of 48 bits
		{&open, "64:ff9b:1:a9:fe:a9fe::", "link-local"},    // of 56
		{&open, "64:ff9b:1::a9:fea9:fe00:0", "link-local"}, // of 64
		{&open, "64:ff9b:1::a9fe:a9fe", "link-local"},      // of 96
		{&open, "64:ff9b:1::a00:1", ""},
		{&open, "2002:a00:1::1", ""},
		{&open, "64:ff9b::7f00:1", ""}, // listed, as any other
		{&narrow, "64:ff9b::7f00:1", "allowed_networks"},
		{&narrow, "::127.0.0.1", "allowed_networks"},
		{&narrow, "2002:a00:1::1", "allowed_networks"},
		{&narrow, "64:ff9b:1::a00:1", "allowed_networks"},
		{&open, "2852039166", "link-local"},
		{&open, "0xa9fea9fe", "link-local"},
		{&open, "0251.0376.43518", "link-local"},
		{&open, "169.16689662", "link-local"},
		{&open, "2130706433", "allowed_hosts"},
		{&open, "metadata.google.internal.", "metadata"},
		{&named, "metadata.goog", "metadata"},
		{&named, "receiver.test", ""},
		{&named, "Receiver.test.", ""},
		{&named, "a.receiver.test", "allowed_hosts"},
		{&named, "192.0.2.7", ""},
		{&named, "192.0.2.8", "allowed_networks"},
		{&named, "[2001:db8::1]", ""},
		{&named, "169.254.169.254", "link-local"},
		{&named, "fe80::1%eth0", "link-local"},
		{&named, "0xa9fea9fe", "link-local"},
		{&open, "0.0.0.0", "one host"},
		{&open, "0.0.0.1", "one host"},
		{&open, "::", "one host"},
		{&open, "224.0.0.5", "link-local"},
		{&open, "239.1.1.1", "one host"},
		{&open, "255.255.255.255", "one host"},
	} {
		err := c.guard.CheckHost(c.host)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("CheckHost(%q) = %v, want %q in it", c.host, err, c.why)
		}
	}
}
