package protocoltest

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// ofConnections are rules of what only a connection can do: end, and bring bytes that belong to another request.
var ofConnections = []string{"a failure does not spoil the next request", "a connection that was closed while idle is replaced", unaskedRule}

// RunDatagrams is Run for a protocol over UDP. A server's connection is then all its clients: it reads one datagram at a
// time, and writes to whom it has read of last.
func RunDatagrams(t *testing.T, s Subject) {
	s.datagrams = true
	for _, r := range rules {
		if slices.Contains(ofConnections, r.name) {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			tr := newTrial(t, s, 10*time.Second)
			defer tr.close()
			if err := r.check(tr); err != nil {
				t.Error(err)
			}
		})
	}
}

// A packets is a server's socket as a connection.
type packets struct {
	*net.UDPConn
	s    *server
	from netip.AddrPort // of the datagram that was read last
}

func (p *packets) Read(b []byte) (n int, err error) {
	n, p.from, err = p.ReadFromUDPAddrPort(b)
	p.s.read.Add(int64(n))
	return n, err
}

func (p *packets) Write(b []byte) (int, error) {
	p.s.written.Add(int64(len(b)))
	return p.WriteToUDPAddrPort(b, p.from)
}

// listenPackets is listen over UDP.
func listenPackets(t testing.TB, handle func(net.Conn)) *server {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{packets: &packets{UDPConn: c}, conns: map[*conn]bool{}}
	s.packets.s = s
	s.serve(handle)
	return s
}

// hand gives the socket to the function, once the one before has returned it.
func (p *packets) hand(handle func(net.Conn)) {
	_ = p.SetReadDeadline(time.Unix(1, 0)) // a socket that is closed reads nothing anyway
	p.s.wg.Wait()
	_ = p.SetReadDeadline(time.Time{}) // likewise
	p.s.wg.Go(func() { handle(p) })
}
