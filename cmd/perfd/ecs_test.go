package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestECSLinesAreOfTheSchema(t *testing.T) {
	var out bytes.Buffer
	log := newECSLog(slog.LevelInfo, &out)
	log.Debug("not shown")
	log.With("scenario", "shop").Warn("request failed", "run", "r1", "trace_id", "ab", "err", errors.New("refused"), "duration", 1500*time.Microsecond, "code", 503)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	at, err := time.Parse(time.RFC3339, got["@timestamp"].(string))
	if err != nil || time.Since(at) > time.Minute {
		t.Errorf("@timestamp = %v", got["@timestamp"])
	}
	delete(got, "@timestamp")
	delete(got, "service.version")
	if diff := cmp.Diff(map[string]any{
		"log.level": "warn", "message": "request failed", "ecs.version": "8.11.0", "service.name": "perfd",
		"error.message": "refused", "trace.id": "ab", "labels.scenario": "shop", "labels.run": "r1",
		"labels.duration": "1.5ms", "labels.code": "503",
	}, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}
