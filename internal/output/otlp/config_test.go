package otlp

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestConfigDecodes(t *testing.T) {
	c := must(t, `
endpoint: https://otel-collector:4318
protocol: http/protobuf
sampling_ratio: 0
keep_failures: false
keep_slowest: true
headers: {Authorization: Bearer x, X-Scope: "7"}
timeout: 3s
compression: none
tls: {ca_file: ca.pem, cert_file: c.pem, key_file: k.pem, server_name: collector, insecure_skip_verify: true}
queue_size: 100
batch_size: 10
delay: 1s
`)
	if c.SamplingRatio == nil || *c.SamplingRatio != 0 || *c.KeepFailures || !*c.KeepSlowest || c.Timeout.D() != 3*time.Second {
		t.Errorf("got %+v", c)
	}
	if got := c.Headers["Authorization"]; got.Value() != "Bearer x" || got.String() != "<secret>" {
		t.Errorf("header: %q", got.Value())
	}
	must(t, "{}")
}

func TestConfigMistakes(t *testing.T) {
	for _, c := range []struct{ text, path string }{
		{`endpoint: otel-collector:4317`, "endpoint"},
		{`endpoint: http://otel-collector`, "endpoint"},
		{`endpoint: ftp://otel-collector:4317`, "endpoint"},
		{`endpoint: ""`, "endpoint"},
		{`endpoint: http://me:secret@otel-collector:4317`, "endpoint"},
		{`endpoint: http://otel-collector:4318/?a=b`, "endpoint"},
		{`{endpoint: "http://otel-collector:4317/otlp", protocol: grpc}`, "endpoint"},
		{`{endpoint: "http://otel-collector:4317", tls: {ca_file: ca.pem}}`, "endpoint"},
		{`protocol: http/json`, "protocol"},
		{`compression: zstd`, "compression"},
		{`sampling_ratio: 1.1`, "sampling_ratio"},
		{`sampling_ratio: -0.1`, "sampling_ratio"},
		{`queue_size: 0`, "queue_size"},
		{`batch_size: -1`, "batch_size"},
		{`timeout: 0s`, "timeout"},
		{`delay: 0s`, "delay"},
		{`headers: {"a b": c}`, "headers.a b"},
		{`headers: {a: "c\n"}`, "headers.a"},
		{`sampling: 1`, "sampling"},
	} {
		_, err := decode(t, c.text)
		if err == nil || !strings.Contains(err.Error(), ": "+c.path+": ") {
			t.Errorf("%s: got %v, want a mistake at %s", c.text, err, c.path)
		}
		if err != nil && strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: the message holds the password: %v", c.text, err)
		}
	}
}

func TestEnabled(t *testing.T) {
	for _, c := range []struct {
		config *Config
		env    []string
		want   bool
	}{
		{nil, nil, false},
		{&Config{}, nil, true},
		{nil, []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317"}, true},
		{nil, []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h:4317"}, true},
		{&Config{}, []string{"OTEL_SDK_DISABLED", "TRUE"}, false},
		{&Config{}, []string{"OTEL_SDK_DISABLED", "1"}, true},
		{&Config{}, []string{"OTEL_TRACES_EXPORTER", "none"}, false},
		{&Config{}, []string{"OTEL_TRACES_EXPORTER", "otlp"}, true},
	} {
		if got := Enabled(c.config, environ(c.env...)); got != c.want {
			t.Errorf("Enabled(%v, %v) = %v", c.config, c.env, got)
		}
	}
}

func TestEnvironmentAndDefaults(t *testing.T) {
	var log bytes.Buffer
	half, percent := 0.5, float64(defaultRatio)
	onePercent := uint64(percent * (1 << 63))
	for _, c := range []struct {
		name   string
		config Config
		env    []string
		check  func(*Exporter) bool
		warns  bool
	}{
		{"defaults", Config{}, nil, func(e *Exporter) bool {
			return e.bound == onePercent && e.timeout == 10*time.Second && e.delay == 5*time.Second &&
				e.queue.size == 2048 && e.queue.batch == 512 && e.keepSlowest && e.keepFailures
		}, false},
		{"batch span processor", Config{}, []string{"OTEL_BSP_MAX_QUEUE_SIZE", "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "200", "OTEL_BSP_SCHEDULE_DELAY", "250"}, func(e *Exporter) bool {
			return e.queue.size == 100 && e.queue.batch == 100 && e.delay == 250*time.Millisecond
		}, false},
		{"configuration wins", Config{QueueSize: 7, BatchSize: 3, SamplingRatio: &half}, []string{"OTEL_BSP_MAX_QUEUE_SIZE", "100", "OTEL_TRACES_SAMPLER", "always_on"}, func(e *Exporter) bool {
			return e.queue.size == 7 && e.queue.batch == 3 && e.bound == 1<<62
		}, false},
		{"timeout", Config{}, []string{"OTEL_EXPORTER_OTLP_TIMEOUT", "1000", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"}, func(e *Exporter) bool { return e.timeout == 2*time.Second }, false},
		{"always_on", Config{}, []string{"OTEL_TRACES_SAMPLER", "always_on"}, func(e *Exporter) bool { return e.bound == 1<<63 }, false},
		{"parentbased_always_off", Config{}, []string{"OTEL_TRACES_SAMPLER", "parentbased_always_off"}, func(e *Exporter) bool { return e.bound == 0 }, false},
		{"ratio", Config{}, []string{"OTEL_TRACES_SAMPLER", "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG", "0.25"}, func(e *Exporter) bool { return e.bound == 1<<61 }, false},
		{"ratio without its argument", Config{}, []string{"OTEL_TRACES_SAMPLER", "traceidratio"}, func(e *Exporter) bool { return e.bound == 1<<63 }, false},
		{"ratio out of bounds", Config{}, []string{"OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG", "7"}, func(e *Exporter) bool { return e.bound == onePercent }, true},
		{"unknown sampler", Config{}, []string{"OTEL_TRACES_SAMPLER", "jaeger_remote"}, func(e *Exporter) bool { return e.bound == onePercent }, true},
		{"a size that is none", Config{}, []string{"OTEL_BSP_MAX_QUEUE_SIZE", "many"}, func(e *Exporter) bool { return e.queue.size == 2048 }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			log.Reset()
			e := build(t, Options{Config: c.config, Environ: environ(c.env...), Log: slog.New(slog.NewTextHandler(&log, nil)), client: &fakeClient{}})
			if !c.check(e) {
				t.Errorf("got bound %d, timeout %v, delay %v, queue %d, batch %d", e.bound, e.timeout, e.delay, e.queue.size, e.queue.batch)
			}
			if got := log.Len() > 0; got != c.warns {
				t.Errorf("warned: %s", log.String())
			}
		})
	}
}

func TestProtocolFollowsThePort(t *testing.T) {
	for _, c := range []struct {
		endpoint string
		env      []string
		want     string
	}{
		{"", nil, "grpc"},
		{"http://h:4317", nil, "grpc"},
		{"h:4317", nil, "grpc"},
		{"http://h:4318", nil, "http/protobuf"},
		{"https://h:443/otlp", nil, "http/protobuf"},
		{"http://h:4318", []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, "grpc"},
		{"http://h:4317", []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"}, "http/json"},
		{"http://h:4317", []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"}, "grpc"},
	} {
		env := environment{environ(c.env...), slog.New(slog.DiscardHandler)}
		if got := env.protocol(c.endpoint); got != c.want {
			t.Errorf("%s with %v: %s, want %s", c.endpoint, c.env, got, c.want)
		}
	}
}

func TestResource(t *testing.T) {
	env := environment{environ("OTEL_RESOURCE_ATTRIBUTES", "service.name=ignored, deployment.environment.name=sta%20ging,broken", "OTEL_SERVICE_NAME", "load"), slog.New(slog.DiscardHandler)}
	got := plain(resource("1.2", "host-1", env).Attributes)
	want := map[string]any{"service.name": "load", "service.version": "1.2", "service.instance.id": "host-1", "deployment.environment.name": "sta ging"}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	if got := plain(resource("", "", environment{noEnviron, nil}).Attributes); len(got) != 1 || got["service.name"] != "perfd" {
		t.Errorf("without more: %v", got)
	}
}
