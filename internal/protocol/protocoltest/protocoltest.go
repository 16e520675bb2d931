// Package protocoltest holds the contract that every protocol over TCP keeps,
// as a test: what a Step must do when its server answers, and when it does not.
//
// It knows no protocol; a Subject brings what is particular to one.
package protocoltest

import (
	"net"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/protocol"
)

// A Subject is a protocol under test. Its functions are called from several
// goroutines at once.
type Subject struct {
	// Step compiles a step that asks the server at an address of the form
	// host:port. The host is a name or an address, which may be one that the guard
	// refuses.
	Step func(t testing.TB, addr string) protocol.Step
	// Greet is the server's part of the handshake with which a connection of the
	// protocol begins, before its first request; it reports whether the client kept to it.
	// Nil is for protocols without one.
	Greet func(net.Conn) bool
	// Answer serves a connection until its client leaves. It allocates nothing
	// for a request, or the contract would count that against the Step.
	Answer func(net.Conn)
	// Ask reads one whole request, for a server that then misbehaves.
	Ask func(net.Conn)
	// Garbage is what no server of the protocol answers.
	Garbage string
	// Allocations is the most that the library below the protocol may allocate for a
	// request. It is 0 where perfd writes and reads the connection itself.
	Allocations float64
	// Pushes says that a server of the protocol may say what nobody asked for.
	Pushes bool

	datagrams bool // the protocol is one over UDP
}

// A rule is one promise of a Step. Its error says how the promise was broken.
type rule struct {
	name  string
	check func(*trial) error
}

// unaskedRule is of protocols whose servers speak when they are asked only.
const unaskedRule = "an unasked answer is not taken"

var rules = []rule{
	{"an answer is measured", answer},
	{"a failure has its cause", causes},
	{"load goes only where it may", guarded},
	{"a failure does not spoil the next request", recovery},
	{"a connection that was closed while idle is replaced", idle},
	{unaskedRule, unasked},
	{"the deadline is kept", deadline},
	{"an interrupt unblocks", interrupt},
	{"an interrupt ends a dial", interruptedDial},
	{"an interrupted user stays interrupted", interruptedBefore},
	{"a call keeps nothing of its user", lending},
	{"one step serves many users", sharing},
	{"nothing is left behind", leaks},
	{"steady state allocates nothing", allocations},
}

// Run checks that a protocol keeps the contract. It counts goroutines,
// descriptors and allocations of the process, so it must not run in parallel
// with other tests.
func Run(t *testing.T, s Subject) {
	for _, r := range rules {
		if s.Pushes && r.name == unaskedRule {
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
