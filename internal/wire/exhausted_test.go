package wire

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestADialerKnowsWhatItHadNoneOf(t *testing.T) {
	d := NewDialer(DialerOptions{})
	connect := func(err error) {
		if err != nil {
			err = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}
		}
		d.noteExhaustion(err)
	}
	connect(nil)
	connect(syscall.ECONNREFUSED)
	if x := d.Exhausted(); x != nil || d.NoPorts() != 0 {
		t.Fatalf("Exhausted() = %+v, where nothing was", x)
	}
	for _, c := range []struct {
		err     error
		ports   bool
		noPorts uint64
	}{{syscall.EMFILE, false, 0}, {syscall.EADDRNOTAVAIL, true, 1}, {syscall.ENFILE, false, 1}} {
		before := time.Now()
		connect(c.err)
		if x := d.Exhausted(); x == nil || x.Ports != c.ports || x.At.Before(before) || d.NoPorts() != c.noPorts {
			t.Errorf("after %v: Exhausted() = %+v, NoPorts() = %d", c.err, x, d.NoPorts())
		}
	}
}
