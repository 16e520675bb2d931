package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/perfd/perfd/internal/block"
)

func parse(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// commandLineOf returns the parsed arguments of a container, which must be those of perfd run.
func commandLineOf(t *testing.T, args []string) *commandLine {
	t.Helper()
	if len(args) == 0 || args[0] != "run" {
		t.Fatalf("the arguments are %q, want those of perfd run", args)
	}
	c := newCommandLine("run", io.Discard)
	if err := c.parse(args[1:]); err != nil {
		t.Fatal(err)
	}
	if _, err := c.options(io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	return c
}

// checked is what perfd check says of a configuration, which must be right.
func checked(t *testing.T, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"check", "--config.file=" + file}, &out, &errs); code != exitOK {
		t.Fatalf("check = %d: %s", code, errs.String())
	}
	return out.String()
}

// The manifests hold what perfd takes, and its volume what the configuration keeps.
func TestKubernetesManifests(t *testing.T) {
	type probe struct {
		HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
	}
	var set struct {
		Kind string
		Data map[string]string
		Spec struct {
			Ports []struct {
				Port       int
				TargetPort string `yaml:"targetPort"`
			}
			Template struct {
				Spec struct {
					Grace      int `yaml:"terminationGracePeriodSeconds"`
					Containers []struct {
						Args  []string
						Ports []struct {
							Name string
							Port int `yaml:"containerPort"`
						}
						LivenessProbe  probe `yaml:"livenessProbe"`
						ReadinessProbe probe `yaml:"readinessProbe"`
						VolumeMounts   []struct {
							Name, MountPath string
						} `yaml:"volumeMounts"`
					}
				}
			}
			Claims []struct {
				Spec struct {
					Resources struct{ Requests struct{ Storage string } }
				}
			} `yaml:"volumeClaimTemplates"`
		}
	}
	seen := 0
	var keeps block.Size
	decoder := yaml.NewDecoder(bytes.NewReader(read(t, "deploy", "kubernetes", "perfd.yaml")))
	for {
		object := set
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch seen++; object.Kind {
		case "ConfigMap":
			text := []byte(object.Data["perfd.yaml"])
			if out := checked(t, text); !strings.Contains(out, "shop-products") {
				t.Errorf("check says nothing of the scenario:\n%s", out)
			}
			var errs block.Errors
			block.Decode(block.Parse("perfd.yaml", text, &errs).Get("history").Get("max_size"), &keeps, &errs)
			if errs.Err() != nil {
				t.Fatal(errs.Err())
			}
		case "Service":
			if p := object.Spec.Ports; len(p) != 1 || p[0].Port != 9797 || p[0].TargetPort != "http" {
				t.Errorf("the service has ports %+v", p)
			}
		case "StatefulSet":
			c := object.Spec.Template.Spec.Containers[0]
			line := commandLineOf(t, c.Args)
			if line.opts.AutoReload == 0 {
				t.Error("a changed ConfigMap is not noticed")
			}
			if grace := time.Duration(object.Spec.Template.Spec.Grace) * time.Second; grace < line.opts.Grace+5*time.Second {
				t.Errorf("the pod is killed after %v, perfd drains for %v", grace, line.opts.Grace)
			}
			for _, path := range []string{line.opts.ConfigFile, line.opts.StoragePath + "/."} {
				if !slices.ContainsFunc(c.VolumeMounts, func(m struct{ Name, MountPath string }) bool {
					return strings.HasPrefix(path, m.MountPath+"/")
				}) {
					t.Errorf("nothing is mounted at %s: %+v", path, c.VolumeMounts)
				}
			}
			if c.LivenessProbe.HTTPGet.Path != "/-/healthy" || c.ReadinessProbe.HTTPGet.Path != "/-/ready" || !strings.HasSuffix(line.listen.values[0], fmt.Sprint(":", c.Ports[0].Port)) {
				t.Errorf("probes %+v and %+v on %v, perfd listens on %v", c.LivenessProbe, c.ReadinessProbe, c.Ports, line.listen.values)
			}
			var gib int64
			if _, err := fmt.Sscanf(object.Spec.Claims[0].Spec.Resources.Requests.Storage, "%dGi", &gib); err != nil {
				t.Fatal(err)
			}
			const queue = 1 << 30 // remote_write_queue.max_bytes
			if need := (int64(keeps) + queue) * 3 / 2; keeps == 0 || gib<<30 < need {
				t.Errorf("the claim is %d GiB, history.max_size %d and a queue ask for %d", gib, keeps, need)
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d objects, want a ConfigMap, a Service and a StatefulSet", seen)
	}
}

func TestCompose(t *testing.T) {
	var c struct {
		Services map[string]struct {
			Build struct {
				Args map[string]string
			}
			Command []string
			Volumes []string
			Grace   string `yaml:"stop_grace_period"`
		}
	}
	parse(t, read(t, "deploy", "compose", "compose.yaml"), &c)
	perfd := c.Services["perfd"]
	line := commandLineOf(t, perfd.Command)
	if line.opts.AutoReload == 0 || !slices.Contains(perfd.Volumes, "./perfd.yaml:"+line.opts.ConfigFile+":ro") || !slices.Contains(perfd.Volumes, "perfd:"+line.opts.StoragePath) {
		t.Errorf("perfd runs with %q on %q", perfd.Command, perfd.Volumes)
	}
	if grace, err := time.ParseDuration(perfd.Grace); err != nil || grace < line.opts.Grace+5*time.Second {
		t.Errorf("perfd is killed after %s, it drains for %v", perfd.Grace, line.opts.Grace)
	}
	if perfd.Build.Args["VERSION"] == "" {
		t.Error("the image is built without a version")
	}
	if out := checked(t, read(t, "deploy", "compose", "perfd.yaml")); !strings.Contains(out, "front-page") {
		t.Errorf("check says nothing of the scenario:\n%s", out)
	}
	if _, ok := c.Services["target"]; !ok {
		t.Error("nothing answers at http://target")
	}
}

func TestSystemdUnit(t *testing.T) {
	unit := string(read(t, "deploy", "systemd", "perfd.service"))
	start := regexp.MustCompile(`(?m)^ExecStart=\S+ (.*)$`).FindStringSubmatch(unit)
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(.*)$`).FindStringSubmatch(unit)
	if start == nil || stop == nil {
		t.Fatal("the unit starts nothing, or has no time to stop")
	}
	line := commandLineOf(t, strings.Fields(start[1]))
	if limit, err := time.ParseDuration(stop[1]); err != nil || limit < line.opts.Grace+5*time.Second {
		t.Errorf("perfd is killed after %s, it drains for %v", stop[1], line.opts.Grace)
	}
	if line.opts.StoragePath != "/var/lib/perfd" || !strings.Contains(unit, "StateDirectory=perfd") {
		t.Errorf("perfd keeps its state in %s, which is not the unit's", line.opts.StoragePath)
	}
}

// The image runs perfd with arguments that it takes, and is labelled with what was built.
func TestDockerfile(t *testing.T) {
	text := string(read(t, "Dockerfile"))
	var args []string
	parse(t, []byte(regexp.MustCompile(`(?m)^CMD (.*)$`).FindStringSubmatch(text)[1]), &args)
	commandLineOf(t, args)
	final := text[strings.LastIndex(text, "FROM "):]
	for _, want := range []string{"ARG VERSION", "ARG REVISION", `image.version="${VERSION}"`, `image.revision="${REVISION}"`} {
		if !strings.Contains(final, want) {
			t.Errorf("the image has no %s", want)
		}
	}
	if makefile := string(read(t, "Makefile")); !strings.Contains(makefile, "build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION)") {
		t.Error("make image passes no version on")
	}
}
