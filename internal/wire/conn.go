package wire

import (
	"cmp"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// A conn is an agent's connection to one origin.
type conn struct {
	redialer
	ready func(fd uintptr) bool // onReady, or onProbe for TLS; bound once so that a request allocates nothing
	x     *Exchange             // the exchange under way
	up    *upload               // the upload under way, nil for none
}

func newConn(t *Transport, o Origin, vu int) *conn {
	c := &conn{}
	c.init(t, o, vu)
	c.ready = c.onReady
	if o.TLS {
		c.ready = c.onProbe
	}
	return c
}

// idlePeek is how long, in ns, a connection may be idle before its reuse for an
// idempotent request tests it for an end of stream. Idle timeouts of servers are
// far longer.
const idlePeek = int64(time.Millisecond)

// onReady is the callback of RawConn.Read for plaintext. RawConn.Read resets the
// poller's edge before the first call: that call must write before it waits, or
// bytes that came before the reset would never wake it.
func (c *conn) onReady(fd uintptr) bool {
	x := c.x
	if x.writing {
		x.writing = false
		if x.peek && ended(fd) {
			x.ioErr = errStale
			return true
		}
		n, errno := write(fd, x.Out)
		if errno == syscall.EAGAIN {
			n, errno = 0, 0
		}
		if errno != 0 {
			x.ioErr = errno
			return true
		}
		x.written = int64(n)
		c.nc.sent.Add(x.written)
		return n < len(x.Out) || x.Stream != nil // the rest goes through net.Conn
	}
	n, errno := read(fd, x.in.room())
	switch {
	case errno == syscall.EAGAIN:
		if x.in.w == 0 {
			x.in.drop()
		}
		return false
	case errno != 0:
		x.ioErr = errno
	case n == 0:
		x.ioErr = io.EOF
	default:
		x.in.w += n
		x.received += int64(n)
	}
	return true
}

// onProbe is the callback of RawConn.Read for TLS. It tests a reused connection before a request is written.
func (c *conn) onProbe(fd uintptr) bool {
	if hungUp(fd) {
		c.x.ioErr = errStale
	}
	return true
}

// arm makes reads return by the exchange's deadline. Setting a deadline for each
// request costs too much, so that one which is set already stays if it is early
// enough; wait sets the next when it fires. A TLS connection cannot be read after
// a timeout, so that there the deadline is always exact.
func (c *conn) arm(now int64) error {
	if c.tls == nil && c.armed > now && c.armed <= c.x.Deadline {
		return nil
	}
	c.armed = c.x.Deadline
	if err := c.nc.SetReadDeadline(c.at(c.armed)); err != nil {
		return err
	}
	return c.cancelled()
}

// cancelled returns the reason for which the exchange is to end at once, nil for none.
func (c *conn) cancelled() error {
	if err := c.redialer.cancelled(); err != nil {
		return err
	}
	if c.up != nil {
		return c.up.failure()
	}
	return nil
}

// wait runs the callback until it is done.
func (c *conn) wait() error {
	for {
		err := c.raw.Read(c.ready)
		if err == nil {
			c.came()
			err, c.x.ioErr = c.x.ioErr, nil
			return err
		}
		if why := c.cancelled(); why != nil {
			return why
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		now := c.now()
		if now >= c.x.Deadline {
			return err
		}
		c.armed = 0
		if err := c.arm(now); err != nil {
			return err
		}
	}
}

// perform sends the request and receives its answer, and reports whether the connection can be used again.
func (c *conn) perform(now int64) (reusable bool, err error) {
	if err := c.send(now); err != nil {
		return false, err
	}
	reusable, err = c.receive()
	whole, err := c.endUpload(err)
	return reusable && whole, err
}

// send writes the request, or begins to write a long one. For a short request on
// a plaintext connection the first bytes of the answer have come when send returns.
func (c *conn) send(now int64) error {
	x := c.x
	c.before = c.nc.sent.Load()
	if err := c.arm(now); err != nil {
		return err
	}
	if c.tls == nil {
		x.writing = true
		if err := c.wait(); err != nil {
			return err
		}
		if x.written < int64(len(x.Out)) || x.Stream != nil {
			return c.startUpload(c.nc)
		}
		return nil
	}
	if x.peek {
		if err := c.wait(); err != nil {
			return err
		}
	}
	if x.Stream != nil || len(x.Out) > smallBuffer {
		return c.startUpload(c.tls)
	}
	if err := c.nc.SetWriteDeadline(c.at(x.Deadline)); err != nil {
		return err
	}
	if err := c.cancelled(); err != nil {
		return err
	}
	n, err := c.tls.Write(x.Out)
	x.written += int64(n)
	return c.because(err)
}

// because returns the reason for which the exchange was cancelled, if it was, in place of the resulting error.
func (c *conn) because(err error) error {
	if err != nil {
		if why := c.cancelled(); why != nil {
			return why
		}
	}
	return err
}

// fill reads more of the answer.
func (c *conn) fill() error {
	x := c.x
	if c.tls == nil {
		if err := c.wait(); err != nil {
			return err
		}
	} else {
		n, err := c.tls.Read(x.in.room())
		for n == 0 && err == nil {
			n, err = c.tls.Read(x.in.room())
		}
		x.in.w += n
		x.received += int64(n)
		c.came()
		if n == 0 {
			return c.because(err)
		}
	}
	return nil
}

// came records when the answer's first byte came.
func (c *conn) came() {
	if c.x.first == 0 && c.x.received > 0 {
		c.x.first = c.now()
	}
}

// receive reads the answer and reports whether the connection can be used again.
func (c *conn) receive() (reusable bool, err error) {
	x := c.x
	f, err := c.readHead()
	if err != nil {
		return false, err
	}
	if x.HeadOnly || x.status == 204 || x.status == 304 {
		f = framing{close: f.close}
	}
	if x.Into != nil && x.status/100 == 2 && !f.empty() {
		x.Into.adopt(c, f)
		x.Adopted = true
		return true, nil
	}
	if err := c.readBody(f); err != nil {
		return false, err
	}
	// Unasked bytes would be taken for the next answer.
	return !f.close && !f.untilClose() && x.in.r == x.in.w, nil
}

// readHead reads heads up to that of the final answer, which it keeps at the front of the input.
func (c *conn) readHead() (f framing, err error) {
	x := c.x
	for {
		if x.in.r == x.in.w || x.scanned > 0 {
			if err := c.fill(); err != nil {
				if x.received > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
					err = errPartial
				}
				return f, err
			}
		}
		p := x.in.unread()
		n := headEnd(p, max(0, x.scanned-3))
		if most := cmp.Or(x.MaxHead, defaultHead); n > most || n < 0 && len(p) > most {
			return f, &HeadError{most}
		}
		if n < 0 {
			x.scanned = len(p)
			continue
		}
		x.scanned = 0
		x.status, f, err = parseHead(p[:n])
		if errors.Is(err, errFolded) {
			unfold(p[:n])
			x.status, f, err = parseHead(p[:n])
		}
		if err != nil {
			return f, err
		}
		if x.status >= 200 {
			x.in.keep(n)
			x.cookies = f.cookies
			return f, nil
		}
		if x.status == 101 {
			return f, &ProtocolError{"the server switched protocols, which was not asked for"}
		}
		x.in.r += n
	}
}
