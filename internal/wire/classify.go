package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/perfd/perfd/internal/load"
)

// A ProtocolError says how an answer broke the rules of its protocol.
type ProtocolError struct{ Text string }

func (e *ProtocolError) Error() string { return e.Text }

var (
	// errPartial is the end of the connection inside an answer.
	errPartial = errors.New("the answer ended early")
	// errInterrupted is the error of a request that Interrupt cancelled.
	errInterrupted = errors.New("interrupted")
	// errStale is the error of a reused connection that is not usable, before anything was sent.
	errStale = errors.New("the idle connection was closed by its peer")
	// errRetry asks for a request to be sent once more.
	errRetry = errors.New("retry")
	// errAgain is errRetry of a request that was written: its peer may have read it.
	errAgain = fmt.Errorf("again: %w", errRetry)
)

// A handshakeError is a failure of a TLS handshake other than one of the network.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// A bodyError is a failure to read a request's body.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "the request's body: " + e.err.Error() }

// A caused error knows the cause of the failure that it is, as one does of what
// keeps a request from being written.
type caused interface {
	error
	Cause() load.Cause
}

// Classify returns the cause of a failed request.
func Classify(err error) load.Cause {
	switch {
	case err == nil:
		return load.None
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return load.Canceled
	case is[*bodyError](err):
		return load.Internal
	case is[caused](err):
		e, _ := errors.AsType[caused](err)
		return e.Cause()
	case is[*RefusedError](err), is[*TooLargeError](err), is[*BombError](err), is[*HeadError](err), errors.Is(err, ErrTooManyConnections), errors.Is(err, ErrNoToken),
		anyOf(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL):
		return load.Overload
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), anyOf(err, syscall.ETIMEDOUT):
		return load.Timeout
	case is[*net.DNSError](err):
		return load.DNS
	case isTLS(err):
		return load.TLS
	case anyOf(err, syscall.ECONNREFUSED):
		return load.Refused
	case is[*proxyError](err), anyOf(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN):
		return load.Unreachable
	case anyOf(err, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED):
		return load.Reset
	case is[*ProtocolError](err):
		return load.Protocol
	case errors.Is(err, errPartial):
		return load.Partial
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return load.Closed
	}
	return load.Internal
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func anyOf(err error, list ...syscall.Errno) bool {
	e, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(list, e)
}

func isTLS(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return true // an alert; its type is not exported by crypto/tls
	}
	return is[*handshakeError](err) || is[tls.RecordHeaderError](err) || is[*tls.CertificateVerificationError](err)
}

// gaveUp reports whether an error is the end of the caller's context.
func gaveUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// died reports whether an error means that the peer closed or reset the connection.
func died(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || anyOf(err, syscall.ECONNRESET, syscall.EPIPE)
}
