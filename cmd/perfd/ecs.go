package main

import (
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/common/version"
)

// ecsFormat is the --log.format whose lines Elasticsearch can index as they are.
const ecsFormat = "ecs"

// ecsNames maps perfd's attributes to fields of the Elastic Common Schema. All
// others become labels, which the schema leaves to programs.
var ecsNames = map[string]string{
	slog.TimeKey: "@timestamp", slog.LevelKey: "log.level", slog.MessageKey: "message",
	"err": "error.message", "error": "error.message", "trace_id": "trace.id", "span_id": "span.id", "url": "url.full",
}

// newECSLog returns a logger that writes one JSON object a line, by the Elastic Common Schema 8.
func newECSLog(level slog.Leveler, to io.Writer) *slog.Logger {
	h := slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		name, own := ecsNames[a.Key]
		switch {
		case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
			return slog.String(name, a.Value.Time().UTC().Format("2006-01-02T15:04:05.000Z07:00"))
		case a.Key == slog.LevelKey:
			return slog.String(name, strings.ToLower(a.Value.String()))
		case own:
			return slog.Attr{Key: name, Value: a.Value}
		case strings.Contains(a.Key, "."):
			return a
		case a.Value.Kind() == slog.KindDuration:
			return slog.String("labels."+a.Key, a.Value.Duration().Round(time.Microsecond).String())
		}
		return slog.String("labels."+a.Key, a.Value.String()) // labels are keywords
	}})
	return slog.New(h).With("ecs.version", "8.11.0", "service.name", "perfd", "service.version", version.Version) //nolint:sloglint // the schema's names
}
