package http

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/wire"
)

// A format says how events stand in the body of an answer.
type format uint8

const (
	byType    format = iota // as the answer's content type says
	sseFormat               // server-sent events (HTML, section 9.2)
	lineFormat
	chunkFormat
)

var formatNames = []string{"", "sse", "lines", "chunks"}

const (
	spareEvent = 4 << 10 // bytes; a larger buffer is not kept for the next event
	mostName   = 1 << 10 // bytes of an event's type and of its id
)

// An eventReader cuts a body into events. It is fed with pieces of the body, and keeps nothing of a piece that was read.
type eventReader struct {
	format format
	most   int // bytes of an event

	rest  []byte // of the piece, not read yet
	begun bool   // the first line was read, before which a byte order mark may stand
	cr    bool   // the last line ended with a carriage return, to which a line feed may belong
	skips bool   // the line under way is a comment
	line  []byte // the line under way, as far as pieces before have it

	// The event under way, or the last one. All is valid until the next call of next.
	data []byte
	kind []byte
	any  bool // there is data
	over bool // the event was returned

	id    []byte // of the last event, which may have had none of its own
	newID []byte
	retry int64 // ms that the server asks to wait before a reconnect, -1 for none
}

// begin makes the reader one of the body of another answer. What it knows of the last event stays.
func (r *eventReader) begin(f format, most int) {
	*r = eventReader{
		format: f, most: most, id: r.id, newID: append(r.newID[:0], r.id...), retry: r.retry,
		line: r.line[:0], data: r.data[:0], kind: r.kind[:0],
	}
}

// forget forgets the last event, for another stream.
func (r *eventReader) forget() {
	r.id, r.newID, r.retry = r.id[:0], r.newID[:0], -1
}

// feed adds a piece of the body; all of the one before was read.
func (r *eventReader) feed(p []byte) { r.rest = p }

// An eventSizeError is the bound on the bytes of an event.
type eventSizeError int

func (e eventSizeError) Error() string {
	return fmt.Sprintf("an event is larger than %d bytes (max_event)", int(e))
}
func (eventSizeError) Cause() load.Cause { return load.Overload }

// errCut is the end of a body within an event.
var errCut error = &cutError{}

type cutError struct{}

func (*cutError) Error() string     { return "the answer ended within an event" }
func (*cutError) Cause() load.Cause { return load.Partial }

// next reports whether there is an event in what was fed. Last says that the piece ends a chunk.
func (r *eventReader) next(last bool) (bool, error) {
	if r.over {
		r.over, r.any, r.kind = false, false, r.kind[:0]
		if r.data = r.data[:0]; cap(r.data) > spareEvent {
			r.data = nil
		}
	}
	if r.format == chunkFormat {
		if len(r.data)+len(r.rest) > r.most {
			return false, eventSizeError(r.most)
		}
		r.data = append(r.data, r.rest...)
		r.rest = nil
		r.over = last && len(r.data) > 0
		return r.over, nil
	}
	for len(r.rest) > 0 {
		line, whole, err := r.cut()
		if err != nil || !whole {
			return false, err
		}
		found, err := r.take(line)
		if r.line = r.line[:0]; cap(r.line) > spareEvent {
			r.line = nil
		}
		if err != nil || found {
			r.over = found
			return found, err
		}
	}
	return false, nil
}

// cut returns the line at the front of what was fed, if its end is there. Comments are left out.
func (r *eventReader) cut() (line []byte, whole bool, err error) {
	for len(r.rest) > 0 {
		if r.cr {
			if r.cr = false; r.rest[0] == '\n' {
				r.rest = r.rest[1:]
				continue
			}
		}
		i := bytes.IndexByte(r.rest, '\n')
		if r.format == sseFormat {
			i = bytes.IndexAny(r.rest, "\r\n")
		}
		if line, whole = r.rest, i >= 0; whole {
			line, r.cr, r.rest = r.rest[:i], r.rest[i] == '\r', r.rest[i+1:]
		} else {
			r.rest = nil
		}
		if r.format == sseFormat && len(r.line) == 0 && len(line) > 0 && line[0] == ':' {
			r.skips = true
		}
		if r.skips { // nothing of a comment is kept, so that it has no bound
			r.skips = !whole
			continue
		}
		if len(r.data)+len(r.line)+len(line) > r.most {
			return nil, false, eventSizeError(r.most)
		}
		if len(r.line) > 0 || !whole {
			r.line = append(r.line, line...)
			line = r.line
		}
		return line, whole, nil
	}
	return nil, false, nil
}

var byteOrderMark = []byte("\ufeff")

// take takes a line, and reports whether it ends an event.
func (r *eventReader) take(line []byte) (bool, error) {
	if !r.begun {
		r.begun = true
		if line = bytes.TrimPrefix(line, byteOrderMark); len(line) > 0 && line[0] == ':' {
			return false, nil
		}
	}
	if r.format == lineFormat {
		line = bytes.TrimSuffix(line, []byte("\r"))
		r.data = append(r.data, line...)
		return len(line) > 0, nil
	}
	if len(line) == 0 {
		r.id = append(r.id[:0], r.newID...)
		if found := r.any; found {
			return true, nil
		}
		r.kind = r.kind[:0] // what has no data is no event
		return false, nil
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		if r.any {
			r.data = append(r.data, '\n')
		}
		r.data, r.any = append(r.data, value...), true
	case "event", "id":
		if len(value) > mostName {
			return false, &wire.ProtocolError{Text: fmt.Sprintf("the %s of an event has more than %d bytes", name, mostName)}
		}
		if name[0] == 'e' {
			r.kind = append(r.kind[:0], value...)
		} else if bytes.IndexByte(value, 0) < 0 {
			r.newID = append(r.newID[:0], value...)
		}
	case "retry":
		if n, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			r.retry = int64(n)
		}
	}
	return false, nil
}

// end reports whether the end of the body ends an event.
func (r *eventReader) end() (bool, error) {
	switch {
	case r.format == lineFormat && len(r.line) > 0: // the last line needs no end
		found, err := r.take(r.line)
		r.line, r.over = nil, found
		return found, err
	case r.format == sseFormat && (r.any && !r.over || len(r.line) > 0):
		return false, errCut
	}
	return false, nil
}
