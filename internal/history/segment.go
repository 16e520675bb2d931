package history

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/queue"
)

// A tier is how finely a stretch of time is kept.
type tier struct {
	name    string
	length  time.Duration // windows of it are folded to this; 0: as they came
	keep    time.Duration // then they go to the next tier; 0: there is none
	stretch time.Duration // a segment lies within a multiple of it
	share   float64       // most of all bytes that it takes; 0: what the others and spare leave
}

// spare is the share of all bytes for what comes between two passes of
// maintenance, and for a segment that is being made.
const spare = 0.05

// tiers, from fine to coarse.
var tiers = [...]tier{
	{"10s", 0, 6 * time.Hour, 10 * time.Minute, 0.15},
	{"1m", time.Minute, 7 * 24 * time.Hour, time.Hour, 0.25},
	{"10m", 10 * time.Minute, 0, 24 * time.Hour, 0},
}

const (
	family  = "perfdh\x00"
	version = 1

	segmentSuffix = ".seg"
	partSuffix    = ".part" // of a segment that is being made
	stretchTime   = "20060102T1504"
)

// header begins every segment.
var header = []byte(family + string(rune(version)))

// A segment is a file of one tier. It holds what ends after from and not after
// to. Its stretch is part of its name: one whose stretch lies within that of a
// coarser segment was folded into it and counts no more.
type segment struct {
	tier     int
	from, to time.Time
	size     int64
	trimmed  bool // no torn end is left of a crash
}

func (s *segment) name() string {
	return tiers[s.tier].name + "-" + s.from.Format(stretchTime) + "-" + s.to.Format(stretchTime) + segmentSuffix
}

// parseName is the inverse of name.
func parseName(name string) (s segment, ok bool) {
	text, ok := strings.CutSuffix(name, segmentSuffix)
	parts := strings.Split(text, "-")
	if !ok || len(parts) != 3 {
		return s, false
	}
	s.tier = slices.IndexFunc(tiers[:], func(t tier) bool { return t.name == parts[0] })
	from, err1 := time.Parse(stretchTime, parts[1])
	to, err2 := time.Parse(stretchTime, parts[2])
	s.from, s.to = from, to
	return s, s.tier >= 0 && err1 == nil && err2 == nil && from.Before(to)
}

// covers reports whether what ends at t belongs into s.
func (s *segment) covers(t time.Time) bool { return t.After(s.from) && !t.After(s.to) }

// replaces reports whether o was folded into s.
func (s *segment) replaces(o *segment) bool {
	return s.tier > o.tier && !o.from.Before(s.from) && !o.to.After(s.to)
}

// list returns the segments of a folder that count, in order of time, and those
// that were folded into others.
func list(dir string) (live, replaced []*segment, err error) {
	all, err := names(dir)
	coarser := slices.DeleteFunc(slices.Clone(all), func(s *segment) bool { return s.tier == 0 })
	for _, s := range all {
		if slices.ContainsFunc(coarser, func(c *segment) bool { return c.replaces(s) }) {
			replaced = append(replaced, s)
		} else {
			live = append(live, s)
		}
	}
	slices.SortFunc(live, inTime)
	return live, replaced, err
}

// names lists the segments of a folder. While files come and go a list may miss
// both a segment and the one it was folded into; two lists in a row that are
// alike do not, because the finer one goes only after the coarser one came.
func names(dir string) ([]*segment, error) {
	var before []string
	for try := 0; ; try++ {
		entries, err := os.ReadDir(dir)
		var now []string
		var all []*segment
		for _, e := range entries {
			s, ok := parseName(e.Name())
			if !ok {
				continue
			}
			// One that went meanwhile is missed when it is opened. A folder or a pipe of this name would hold up who opens it.
			stat, err := os.Stat(filepath.Join(dir, e.Name()))
			if err == nil && !stat.Mode().IsRegular() {
				continue
			}
			if err == nil {
				s.size = stat.Size()
			}
			now = append(now, e.Name())
			all = append(all, &s)
		}
		if err != nil || try > 0 && slices.Equal(now, before) || try == 10 {
			return all, err
		}
		before = now
	}
}

// inTime orders segments by what they hold; of two that begin together the
// coarser one holds what the other does.
func inTime(a, b *segment) int { return cmp.Or(a.from.Compare(b.from), cmp.Compare(b.tier, a.tier)) }

// A NewerError says that a file was written by a newer perfd, whose format this
// one does not know.
type NewerError struct {
	File         string
	Found, Known int // versions of the format
}

// Error names the file and both versions.
func (e *NewerError) Error() string {
	return fmt.Sprintf("%s has version %d of the history's format, this perfd reads up to %d: run the newer perfd, or move the file away", e.File, e.Found, e.Known)
}

// versionOf reads the version of a file that is a segment. A header that is
// damaged counts as the newest: frames prove themselves.
func versionOf(f io.ReaderAt, path string) (byte, error) {
	head := make([]byte, len(header))
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read segment: %w", err)
	}
	if n < len(head) || string(head[:len(family)]) != family {
		return version, nil
	}
	v := head[len(family)]
	if v > version {
		return 0, &NewerError{path, int(v), version}
	}
	return max(v, 1), nil
}

// checkVersions refuses a folder with a segment that is newer than this perfd.
func checkVersions(dir string, segments []*segment) error {
	for _, s := range segments {
		path := filepath.Join(dir, s.name())
		f, err := os.Open(path)
		if err != nil {
			continue // reading it will say so
		}
		_, err = versionOf(f, path)
		f.Close()
		if _, newer := errors.AsType[*NewerError](err); newer {
			return err
		}
	}
	return nil
}

// trim cuts a torn end off a segment and leaves its size. Without a whole header
// it becomes empty.
func (s *segment) trim(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	size := info.Size()
	end := min(size, int64(len(header)))
	if size < int64(len(header)) {
		end = 0
	} else {
		err = frames(f, size, func(at int64, f queue.Frame) error {
			end = at + int64(len(f))
			return nil
		}, nil)
	}
	if err == nil && end < size {
		err = f.Truncate(end)
	}
	if err != nil {
		return fmt.Errorf("trim segment: %w", err)
	}
	s.size, s.trimmed = end, true
	return nil
}

// frames calls visit with each whole frame of a segment, whose bytes are its own
// until the next, and damaged with what lies between two of them. A torn end is
// not reported: it may be one that is being written.
func frames(f io.ReaderAt, size int64, visit func(at int64, f queue.Frame) error, damaged func(at, bytes int64)) error {
	var buf []byte
	for at := int64(len(header)); at < size; {
		frame, err := queue.ReadFrame(f, at, size, buf)
		if errors.Is(err, queue.ErrDamaged) {
			next, err := queue.FindFrame(f, at, size)
			if err != nil {
				return err
			}
			if next < size && damaged != nil {
				damaged(at, next-at)
			}
			at = next
			continue
		}
		if err != nil {
			return err
		}
		if err := visit(at, frame); err != nil {
			return err
		}
		buf, at = frame, at+int64(len(frame))
	}
	return nil
}

// gone reports whether a file is missing.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
