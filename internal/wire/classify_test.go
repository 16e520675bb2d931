package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/perfd/perfd/internal/load"
)

func TestClassify(t *testing.T) {
	op := func(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }
	sys := func(e syscall.Errno) error { return op(os.NewSyscallError("read", e)) }
	for _, c := range []struct {
		err  error
		want load.Cause
	}{
		{nil, load.None},
		{errInterrupted, load.Canceled},
		{context.Canceled, load.Canceled},
		{context.DeadlineExceeded, load.Timeout},
		{op(os.ErrDeadlineExceeded), load.Timeout},
		{sys(syscall.ETIMEDOUT), load.Timeout},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, load.DNS},
		{op(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), load.DNS},
		{sys(syscall.ECONNREFUSED), load.Refused},
		{sys(syscall.EHOSTUNREACH), load.Unreachable},
		{sys(syscall.ENETUNREACH), load.Unreachable},
		{sys(syscall.ECONNRESET), load.Reset},
		{syscall.EPIPE, load.Reset},
		{io.EOF, load.Closed},
		{io.ErrUnexpectedEOF, load.Closed},
		{net.ErrClosed, load.Closed},
		{&handshakeError{errors.New("bad")}, load.TLS},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, load.TLS},
		{tls.RecordHeaderError{}, load.TLS},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, load.TLS},
		{&ProtocolError{"garbage"}, load.Protocol},
		{errPartial, load.Partial},
		{&RefusedError{"a", "b"}, load.Overload},
		{ErrTooManyConnections, load.Overload},
		{sys(syscall.EMFILE), load.Overload},
		{sys(syscall.EADDRNOTAVAIL), load.Overload},
		{&bodyError{io.ErrUnexpectedEOF}, load.Internal},
		{errors.New("something else"), load.Internal},
	} {
		if got := Classify(c.err); got != c.want {
			t.Errorf("Classify(%v) = %v, want %v", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := Classify(fmt.Errorf("wrapped: %w", c.err)); got != c.want {
			t.Errorf("Classify(%v), wrapped = %v, want %v", c.err, got, c.want)
		}
	}
}
