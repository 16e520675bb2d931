package e2e

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A network is servers that are no shop: one sends datagrams of JSON back, one answers queries of DNS over UDP and TCP.
type network struct {
	echo, dns string // addresses

	datagrams, answered    atomic.Int64 // that came, that were sent back
	known, unknown, stream atomic.Int64 // queries: of the name that there is, of others, over TCP
}

// theName is what the server of DNS knows.
const theName = "shop.test"

func startNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{}
	var all sync.WaitGroup
	udp := func(addr string, serve func(b []byte) []byte) (*net.UDPConn, error) {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		all.Go(func() {
			b := make([]byte, 64<<10)
			for {
				m, from, err := c.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				if out := serve(b[:m]); out != nil {
					_, _ = c.WriteToUDPAddrPort(out, from) // a client that has gone
				}
			}
		})
		return c, nil
	}
	t.Cleanup(all.Wait) // runs after what closes the sockets
	c, err := udp("127.0.0.1:0", func(b []byte) []byte {
		n.datagrams.Add(1)
		if !strings.HasPrefix(string(b), "{") {
			return nil
		}
		n.answered.Add(1)
		return b
	})
	if err != nil {
		t.Fatal(err)
	}
	n.echo = c.LocalAddr().String()
	for range 20 { // until both have the same port
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n.dns = l.Addr().String()
		if _, err = udp(n.dns, n.resolve); err != nil {
			l.Close()
			continue
		}
		t.Cleanup(func() { l.Close() })
		all.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() { n.serve(c) })
			}
		})
		return n
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil
}

// serve answers queries over a connection until the client leaves.
func (n *network) serve(c net.Conn) {
	defer c.Close()
	var length [2]byte
	for {
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		n.stream.Add(1)
		out := n.resolve(query)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

// resolve answers a query.
func (n *network) resolve(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.Additionals = true, nil
	if q := m.Questions[0]; q.Name.String() == theName+"." {
		n.known.Add(1)
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}}
	} else {
		n.unknown.Add(1)
		m.RCode = dnsmessage.RCodeNameError
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
