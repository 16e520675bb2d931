// Package logging bounds what a daemon logs: how often it says the same, and what it
// says of secrets.
package logging

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// most is how many lines of one message are written within span: enough for what
	// a hundred scenarios have to say once, and few enough to read and to pay for.
	most = 50
	span = 10 * time.Second
	// mostMessages bounds the messages that are counted each by itself. They are constants of the
	// code; those of libraries may not be.
	mostMessages = 1000
	// standsFor is the attribute that says how many lines one stands for.
	standsFor = "lines"
)

// Bound returns a logger that writes at most 50 lines of one message within ten
// seconds. What is over that becomes one line at the end of them: the last one, with
// the attribute lines, the number of lines that it stands for. Every text that is
// logged passes through strike, which may be nil. A logger that is bounded already is
// returned, and what it and those derived from it log passes through strike from then on.
func Bound(l *slog.Logger, strike func(string) string) *slog.Logger {
	h, ok := l.Handler().(*handler)
	if !ok {
		h = &handler{next: l.Handler(), counts: &counts{of: map[string]*count{}}}
		l = slog.New(h)
	}
	if strike != nil {
		h.counts.strike.Store(&strike)
	}
	return l
}

// Flush writes the lines that wait, before the process ends. Loggers that are not
// bounded have none.
func Flush(l *slog.Logger) {
	h, ok := l.Handler().(*handler)
	if !ok {
		return
	}
	h.counts.mu.Lock()
	defer h.counts.mu.Unlock()
	for _, c := range h.counts.of {
		c.sum()
	}
}

// A handler bounds what goes to the next one. Handlers with other attributes share the counts.
type handler struct {
	next   slog.Handler
	counts *counts
}

type counts struct {
	strike atomic.Pointer[func(string) string]

	mu sync.Mutex
	of map[string]*count // by message
}

// A count is what was logged of one message since an instant.
type count struct {
	began   time.Time
	written int
	over    int // lines that were not written
	last    slog.Record
	to      *handler    // of the last one
	timer   *time.Timer // writes the sum; nil while nothing is over
}

// Enabled reports what the next handler does.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs returns a handler that shares the counts.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	struck := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		struck[i] = h.attr(a)
	}
	own := *h
	own.next = h.next.WithAttrs(struck)
	return &own
}

// WithGroup returns a handler that shares the counts.
func (h *handler) WithGroup(name string) slog.Handler {
	own := *h
	own.next = h.next.WithGroup(name)
	return &own
}

// Handle writes a record, or counts it.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	c := h.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	key := r.Message
	if c.of[key] == nil && len(c.of) >= mostMessages {
		key = "" // all others are one
	}
	n := c.of[key]
	if n == nil {
		n = &count{}
		c.of[key] = n
	}
	now := time.Now()
	if now.Sub(n.began) >= span {
		n.sum()
		n.began, n.written = now, 0
	}
	if n.written < most {
		n.written++
		return h.next.Handle(ctx, h.record(r))
	}
	n.over++
	n.last, n.to = r.Clone(), h
	if n.timer == nil {
		n.timer = time.AfterFunc(n.began.Add(span).Sub(now), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			n.sum()
		})
	}
	return nil
}

// sum writes the line that stands for those that were not written. The caller holds the lock.
func (n *count) sum() {
	if n.over == 0 {
		return
	}
	n.timer.Stop()
	r := n.last
	r.AddAttrs(slog.Int(standsFor, n.over))
	_ = n.to.next.Handle(context.Background(), n.to.record(r)) // there is nobody to tell
	n.over, n.timer, n.last = 0, nil, slog.Record{}
}

// record is a record without secrets.
func (h *handler) record(r slog.Record) slog.Record {
	strike := h.counts.strike.Load()
	if strike == nil {
		return r
	}
	struck := slog.NewRecord(r.Time, r.Level, (*strike)(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		struck.AddAttrs(h.attr(a))
		return true
	})
	return struck
}

// attr is an attribute without secrets. Values that a handler would print by their methods are printed here.
func (h *handler) attr(a slog.Attr) slog.Attr {
	p := h.counts.strike.Load()
	if p == nil {
		return a
	}
	strike := *p
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, strike(v.String()))
	case slog.KindGroup:
		var group []any
		for _, g := range v.Group() {
			group = append(group, h.attr(g))
		}
		return slog.Group(a.Key, group...)
	case slog.KindAny:
		text := fmt.Sprint(v.Any())
		if struck := strike(text); struck != text {
			return slog.String(a.Key, struck)
		}
	}
	return slog.Attr{Key: a.Key, Value: v}
}
