package proc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

// FreePort returns a port on 127.0.0.1 that nothing listens on. It lies below the
// range from which Linux takes the ports of outgoing connections: one of that
// range may belong to a connection by the time a server binds it, or binds it
// again after a restart.
func FreePort() (int, error) {
	const file, most = "/proc/sys/net/ipv4/ip_local_port_range", 10_000
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var low, high int
	if _, err := fmt.Sscan(string(text), &low, &high); err != nil {
		return 0, fmt.Errorf("parse %s: %q", file, text)
	}
	const privileged = 1024
	from := max(privileged, low-most)
	if from >= low {
		return 0, fmt.Errorf("all ports from %d are for outgoing connections", low)
	}
	for range 100 {
		port := from + rand.N(low-from)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port, nil
		}
	}
	return 0, errors.New("no free port")
}
