package feeder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// longestRow bounds a row, in bytes, so that a quote that is never closed does not take the whole file into memory.
	longestRow = 1 << 20
	// leastBuffer is the size of the first read of a scanner.
	leastBuffer = 8 << 10
)

// A scanner reads rows one after another and keeps one of them at a time.
type scanner struct {
	from io.Reader
	format

	buf        []byte
	start, end int   // of what is in buf and not taken
	at         int64 // offset in the file of what is taken next
	lines      int   // that are taken
	last       bool  // from has no more

	row  int64 // offset of the row at hand
	line int   // number of its first line
}

func (s *scanner) reset(from io.Reader, f format, at int64) {
	buf := s.buf
	if buf == nil {
		buf = make([]byte, leastBuffer)
	}
	*s = scanner{from: from, format: f, buf: buf, at: at}
}

// next returns the next row, which is valid until it is called again, or io.EOF. A *mistake has its line.
func (s *scanner) next() ([]byte, error) {
	for {
		if s.start < s.end {
			n, row, err := s.split(s.buf[s.start:s.end], s.last)
			if err != nil {
				return nil, s.mistaken(err, s.lines+1)
			}
			if n > 0 {
				s.row, s.line = s.at, s.lines+1
				s.lines += bytes.Count(s.buf[s.start:s.start+n], []byte{'\n'})
				s.start, s.at = s.start+n, s.at+int64(n)
				if row != nil {
					return row, nil
				}
				continue
			}
		}
		if s.last {
			if err := s.finish(); err != nil {
				return nil, s.mistaken(err, s.lines+1)
			}
			return nil, io.EOF
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// mistaken gives an error the line that it is on, or counts from.
func (s *scanner) mistaken(err error, line int) error {
	m, ok := errors.AsType[*mistake](err)
	if !ok {
		return &mistake{line: line, text: err.Error()}
	}
	return &mistake{m.line + line, m.text, m.hint}
}

// fill reads more.
func (s *scanner) fill() error {
	s.end = copy(s.buf, s.buf[s.start:s.end])
	s.start = 0
	if s.end == len(s.buf) {
		if s.end >= longestRow {
			return &mistake{line: s.lines + 1, text: fmt.Sprintf("a row is longer than %d KiB", longestRow>>10), hint: "is a quote not closed?"}
		}
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for {
		n, err := s.from.Read(s.buf[s.end:])
		s.end += n
		switch {
		case errors.Is(err, io.EOF):
			s.last = true
			return nil
		case err != nil || n > 0:
			return err
		}
	}
}

// skipMark takes the byte order mark of UTF-8 at the begin of a file.
func (s *scanner) skipMark() error {
	for s.end-s.start < 3 && !s.last {
		if err := s.fill(); err != nil {
			return err
		}
	}
	head := s.buf[s.start:s.end]
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		s.start, s.at = s.start+3, s.at+3
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return &mistake{line: 1, text: "in UTF-16", hint: "save it as UTF-8"}
	}
	return nil
}
