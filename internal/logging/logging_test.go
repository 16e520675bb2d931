package logging

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// logger returns a bounded logger and what it wrote, line by line.
func logger(strike func(string) string) (*slog.Logger, func() []string) {
	var b bytes.Buffer
	l := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	return Bound(l, strike), func() []string {
		return strings.FieldsFunc(b.String(), func(r rune) bool { return r == '\n' })
	}
}

// However many lines there are, at most fifty within ten seconds are written and one that says how many it stands for.
func TestALineIsBoundedAndSaysHowManyItStandsFor(t *testing.T) {
	for _, c := range []struct {
		name  string
		log   func(l *slog.Logger, i int)
		every time.Duration
		lines int
		sums  []int // in order
	}{
		{"fifty at once", func(l *slog.Logger, i int) { l.Info("x", "i", i) }, 0, 50, nil},
		{"a flood", func(l *slog.Logger, i int) { l.Info("x", "i", i) }, 0, 5000, []int{4950}},
		{"200 a second for 20 s", func(l *slog.Logger, i int) { l.Info("x", "i", i) }, 5 * time.Millisecond, 4000, []int{1950, 1950}},
		{"loggers with attributes of their own", func(l *slog.Logger, i int) { l.With("scenario", i%7).Warn("x", "i", i) }, 0, 1000, []int{950}},
		{"quiet ones", func(l *slog.Logger, i int) { l.Info("x", "i", i) }, time.Second, 100, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, written := logger(nil)
				for i := range c.lines {
					c.log(l, i)
					time.Sleep(c.every)
				}
				time.Sleep(span)
				synctest.Wait()
				var sums []int
				plain, stood := 0, 0
				for _, line := range written() {
					var n int
					if i := strings.Index(line, " lines="); i >= 0 {
						if _, err := fmt.Sscanf(line[i:], " lines=%d", &n); err != nil {
							t.Fatal(err)
						}
						sums = append(sums, n)
						stood += n
						continue
					}
					plain++
				}
				if fmt.Sprint(sums) != fmt.Sprint(c.sums) || plain+stood != c.lines {
					t.Errorf("%d lines and sums of %v were written of %d, want sums of %v", plain, sums, c.lines, c.sums)
				}
			})
		})
	}
}

// One message does not silence another, and what waits is written at the end.
func TestMessagesAreCountedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, written := logger(nil)
		for range 200 {
			l.Error("often")
		}
		l.Error("once")
		if n := len(written()); n != most+1 {
			t.Fatalf("%d lines, want %d and another message", n, most)
		}
		Flush(l)
		if lines := written(); !strings.HasSuffix(lines[len(lines)-1], "msg=often lines=150") {
			t.Errorf("the last line is %q, want the sum", lines[len(lines)-1])
		}
		for i := range 3 * mostMessages {
			l.Info(fmt.Sprint("message ", i)) //nolint:sloglint // a library's may not be constant
		}
		if n := len(written()); n > mostMessages+2*most+2 {
			t.Errorf("%d lines of messages that are no constants", n)
		}
		Flush(l)
	})
}

func TestSecretsAreStruckOutOfEverythingThatIsLogged(t *testing.T) {
	strike := strings.NewReplacer("hunter2", "<secret>").Replace
	for _, c := range []struct {
		name string
		log  func(*slog.Logger)
	}{
		{"the message", func(l *slog.Logger) { l.Info("token hunter2") }},
		{"a text", func(l *slog.Logger) { l.Info("x", "url", "http://a/?t=hunter2") }},
		{"an error", func(l *slog.Logger) { l.Info("x", "err", fmt.Errorf("get: %w", errors.New("hunter2"))) }},
		{"a group", func(l *slog.Logger) { l.Info("x", slog.Group("g", "deep", slog.StringValue("hunter2"))) }},
		{"an attribute of the logger", func(l *slog.Logger) { l.With("password", "hunter2").Info("x") }},
		{"a struct", func(l *slog.Logger) { l.Info("x", "v", struct{ A string }{"hunter2"}) }},
		{"a list", func(l *slog.Logger) { l.Info("x", "v", []string{"hunter2"}) }},
		{"within a group of the logger", func(l *slog.Logger) { l.WithGroup("g").Info("x", "v", "hunter2") }},
		{"a sum", func(l *slog.Logger) {
			for range most + 2 {
				l.Info("x", "v", "hunter2")
			}
			Flush(l)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, written := logger(strike)
			c.log(l)
			text := strings.Join(written(), "\n")
			if strings.Contains(text, "hunter2") || !strings.Contains(text, "<secret>") {
				t.Errorf("logged %s", text)
			}
		})
	}
}
