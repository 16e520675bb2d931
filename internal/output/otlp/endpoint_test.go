package otlp

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

func TestResolveTheEndpoint(t *testing.T) {
	const all, traces, insecure, protocol = "OTEL_EXPORTER_OTLP_ENDPOINT", tracesEndpoint, "OTEL_EXPORTER_OTLP_INSECURE", "OTEL_EXPORTER_OTLP_PROTOCOL"
	for _, c := range []struct {
		config string
		env    []string
		want   endpoint
	}{
		{"{}", nil, endpoint{protocol: "grpc", url: "http://localhost:4317"}},
		{"protocol: http/protobuf", nil, endpoint{protocol: "http/protobuf", url: "http://localhost:4318/v1/traces"}},
		{"endpoint: http://c:4318/otlp/", []string{all, "ignored:1"}, endpoint{protocol: "http/protobuf", url: "http://c:4318/otlp/v1/traces"}},
		{"{}", []string{all, " http://c:4318 "}, endpoint{protocol: "http/protobuf", url: "http://c:4318/v1/traces", variable: all}},
		{"{}", []string{all, "https://c/otlp"}, endpoint{protocol: "http/protobuf", url: "https://c/otlp/v1/traces", variable: all}},
		{"{}", []string{traces, "http://c:4318/spans", all, "nonsense"}, endpoint{protocol: "http/protobuf", url: "http://c:4318/spans", variable: traces}},
		{"{}", []string{all, "http://c:4317"}, endpoint{protocol: "grpc", url: "http://c:4317", variable: all}},
		// Without a scheme: TLS, unless the environment says otherwise.
		{"{}", []string{all, "c:4317"}, endpoint{protocol: "grpc", target: "c:4317", variable: all}},
		{"{}", []string{all, "127.0.0.1:4317", insecure, "True"}, endpoint{protocol: "grpc", target: "127.0.0.1:4317", plain: true, variable: all}},
		{"{}", []string{traces, "[::1]:9", protocol, "grpc", "OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true"}, endpoint{protocol: "grpc", target: "[::1]:9", plain: true, variable: traces}},
		{"protocol: grpc", []string{all, "c:4318", insecure, "false"}, endpoint{protocol: "grpc", target: "c:4318", variable: all}},
		{"protocol: grpc", []string{all, "dns:///c:4317"}, endpoint{protocol: "grpc", target: "dns:///c:4317", variable: all}},
		{"protocol: grpc", []string{all, "unix:///run/otel.sock"}, endpoint{protocol: "grpc", target: "unix:///run/otel.sock", plain: true, variable: all}},
		// A scheme decides over OTEL_EXPORTER_OTLP_INSECURE.
		{"{}", []string{all, "https://c:4317", insecure, "true"}, endpoint{protocol: "grpc", url: "https://c:4317", variable: all}},
	} {
		config := must(t, c.config)
		got, err := resolve(&config, environment{environ(c.env...), discard})
		if err != nil || got != c.want {
			t.Errorf("%s with %v: %+v, %v; want %+v", c.config, c.env, got, err, c.want)
		}
	}
}

func TestEndpointsOfTheEnvironmentThatAreRefused(t *testing.T) {
	const all, protocol = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"
	for _, c := range []struct {
		env  []string
		hint string
	}{
		{[]string{all, "c:4318"}, "write http://c:4318, or https://c:4318"},
		{[]string{all, "127.0.0.1:4317", protocol, "http/protobuf"}, "write http://127.0.0.1:4317, or"},
		{[]string{all, "127.0.0.1:4317", protocol, "http/json"}, "write http://127.0.0.1:4317, or"},
		{[]string{tracesEndpoint, "c"}, "before the host"},
		{[]string{all, "c", protocol, "grpc"}, "before the host"},
		{[]string{all, "c:http", protocol, "grpc"}, "before the host"},
		{[]string{all, "//c:4317", protocol, "grpc"}, "before the host"},
		{[]string{all, "ftp://c:4317"}, "before the host"},
		{[]string{all, "http://"}, "after ://"},
		{[]string{all, "http://c:4318/?tenant=a"}, "after ://|leave out"},
		{[]string{all, "http://c:4317/otlp", protocol, "grpc"}, "leave out the path"},
		{[]string{all, "http://me:hush@c:4317"}, "OTEL_EXPORTER_OTLP_HEADERS"},
		{[]string{all, "me:hush@c:4317"}, "before the host"},
	} {
		t.Run(c.env[1], func(t *testing.T) {
			for i := 0; i < len(c.env); i += 2 {
				t.Setenv(c.env[i], c.env[i+1])
			}
			var errs block.Errors
			Kind.Config().Check(block.Parse("perfd.yaml", nil, &errs), t.TempDir(), &errs)
			err := errs.Err()
			if err == nil || !strings.HasPrefix(err.Error(), "environment "+c.env[0]+": tracing.endpoint: must ") {
				t.Fatalf("got %v, want a mistake of %s", err, c.env[0])
			}
			found := false
			for hint := range strings.SplitSeq(c.hint, "|") {
				found = found || strings.Contains(err.Error(), hint)
			}
			if !found || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v, want the hint %q and no password", err, c.hint)
			}
			if _, err := New(Options{Environ: os.Getenv}); err == nil || !strings.Contains(err.Error(), c.env[0]) {
				t.Errorf("New: %v, want an error that names the variable", err)
			}
		})
	}
	t.Run("off", func(t *testing.T) {
		t.Setenv(all, "c:4318")
		t.Setenv("OTEL_SDK_DISABLED", "true")
		var errs block.Errors
		Kind.Config().Check(block.Parse("perfd.yaml", nil, &errs), t.TempDir(), &errs)
		if err := errs.Err(); err != nil {
			t.Errorf("got %v where nothing is exported", err)
		}
	})
}

func TestHostAndPortByGRPC(t *testing.T) {
	for _, c := range []struct {
		name     string
		insecure string
		exported uint64
	}{
		{"without TLS", "true", 3},
		{"with TLS", "", 0},
		{"with TLS, said so", "false", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := &grpcCollector{}
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", strings.TrimPrefix(server.serve(t), "http://"))
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
			t.Setenv("OTEL_EXPORTER_OTLP_INSECURE", c.insecure)
			var log bytes.Buffer
			s := export(t, Options{
				Config: must(t, "timeout: 300ms"), Environ: os.Getenv, Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if s.Exported != c.exported || uint64(server.spans()) != c.exported {
				t.Errorf("stats: %+v, %d spans came, want %d", s, server.spans(), c.exported)
			}
			if named := strings.Contains(log.String(), "OTEL_EXPORTER_OTLP_ENDPOINT has no scheme"); named != (c.exported == 0) {
				t.Errorf("the log: %s", log.String())
			}
		})
	}
}

func TestASecretEndpointIsNotLogged(t *testing.T) {
	c := Config{Endpoint: block.Text{S: "http://hush:4317", Path: "endpoint", Hidden: true}}
	e, err := resolve(&c, environment{noEnviron, discard})
	if err != nil || len(e.shown()) != 0 {
		t.Errorf("got %v, %v, want nothing to show", e.shown(), err)
	}
}
