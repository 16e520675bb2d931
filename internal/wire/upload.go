package wire

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// uploadGrace is how long an exchange whose answer is complete waits for the last
// bytes of its request to be written, so that the connection can be used again.
const uploadGrace = 50 * time.Millisecond

// An upload writes the rest of a long request in the background, because a server
// may refuse a body, or begin to answer, before it has read all of it.
type upload struct {
	failed  atomic.Pointer[bodyError]
	written int64         // bytes
	err     error         // of the connection
	done    chan struct{} // closed at the end; written and err may be read then
}

func (u *upload) failure() error {
	if err := u.failed.Load(); err != nil {
		return err
	}
	return nil
}

// startUpload begins to write the rest of the request in the background. The
// caller must call endUpload before the exchange ends.
func (c *conn) startUpload(w net.Conn) error {
	if err := c.nc.SetWriteDeadline(c.at(c.x.Deadline)); err != nil {
		return err
	}
	if err := c.cancelled(); err != nil {
		return err
	}
	u := &upload{done: make(chan struct{})}
	c.up = u
	out, stream, size := c.x.Out[c.x.written:], c.x.Stream, c.x.StreamSize
	go func() {
		defer close(u.done)
		n, err := w.Write(out)
		u.written, u.err = int64(n), err
		if err != nil || stream == nil {
			return
		}
		s := &source{r: stream}
		m, err := io.CopyN(w, s, size)
		u.written += m
		if err == nil || s.err == nil {
			u.err = err
			return
		}
		u.failed.Store(&bodyError{s.err})
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // the answer will not come; a closed connection needs no deadline
	}()
	return nil
}

// endUpload ends the upload, given the error of reading the answer, and reports
// whether all of the request was written. It waits only for an answer that was
// read. The system reports an error of the connection to one call only, which may
// have been the upload's; then that error replaces the answer's end of stream.
func (c *conn) endUpload(answered error) (complete bool, err error) {
	u := c.up
	if u == nil {
		return true, answered
	}
	if !u.ended(answered == nil) {
		_ = c.nc.SetWriteDeadline(time.Unix(1, 0)) // a closed connection has nothing to wait for
		<-u.done
	}
	c.up = nil
	c.x.written += u.written
	if errors.Is(answered, io.EOF) && died(u.err) {
		answered = u.err
	}
	return u.err == nil && u.failed.Load() == nil, answered
}

// ended reports whether the upload has ended; with soon it waits uploadGrace for that.
func (u *upload) ended(soon bool) bool {
	grace := time.Duration(0)
	if soon {
		grace = uploadGrace
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-u.done:
		return true
	case <-t.C:
		return false
	}
}

// A source keeps the error of reading the body apart from that of writing it.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // before the promised size, after which CopyN does not read
	}
	s.err = err
	return n, err
}
