package e2e

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// An image made from scratch holds the binary and nothing else: no time zones,
// no CA roots, no PATH, no /etc.
func TestEmptyRootKnowsTimeZonesAndRoots(t *testing.T) {
	root := t.TempDir()
	t.Setenv("CGO_ENABLED", "0")
	bin, err := daemon.Build(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	const config = `
targets:
  - {name: server, url: "https://127.0.0.1:1"}
scenarios:
  - name: nightly
    test: load
    target: server
    schedule: {cron: "30 2 * * *", time_zone: Europe/Berlin, duration: 10m}
    workload: {executor: constant-arrival-rate, rate: 1/s, max_vus: 1}
    flow:
      - {name: get, http: {url: /get}}
`
	if err := os.WriteFile(filepath.Join(root, "perfd.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	inside := &syscall.SysProcAttr{Chroot: root}
	if os.Getuid() != 0 {
		// A user may change the root of a user namespace of its own.
		inside.Cloneflags = syscall.CLONE_NEWUSER
		inside.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	code, out := run(t, proc.Spec{
		Path: "/" + filepath.Base(bin), Args: []string{"check", "--config.file=/perfd.yaml"},
		Env: []string{}, Dir: "/", Sys: inside,
	})
	if code != 0 {
		t.Errorf("perfd check in an empty root: exit %d, want 0:\n%s", code, out)
	}

	built, err := buildinfo.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(built.Deps, func(m *debug.Module) bool { return m.Path == "golang.org/x/crypto/x509roots/fallback" }) {
		t.Error("the binary holds no CA roots of its own")
	}
}

// What the repository ships as a configuration must load.
func TestShippedConfigurationsLoad(t *testing.T) {
	dir := t.TempDir()
	files := []string{repository("deploy", "compose", "perfd.yaml"), kubernetesConfig(t, dir)}
	for _, glob := range []string{repository("config", "*.yaml"), repository("config", "examples", "*.yaml")} {
		found, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, f := range files {
		t.Run(strings.ReplaceAll(f, "/", "_"), func(t *testing.T) {
			if code, out := run(t, proc.Spec{Path: perfd, Args: []string{"check", "--config.file=" + f}}); code != 0 {
				t.Errorf("perfd check of %s: exit %d, want 0:\n%s", f, code, out)
			}
		})
	}
}

// kubernetesConfig writes the configuration that the manifest holds to a file.
func kubernetesConfig(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Open(repository("deploy", "kubernetes", "perfd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var manifest struct {
		Kind string
		Data map[string]string
	}
	if err := yaml.NewDecoder(f).Decode(&manifest); err != nil {
		t.Fatal(err)
	}
	text, ok := manifest.Data["perfd.yaml"]
	if manifest.Kind != "ConfigMap" || !ok {
		t.Fatalf("the manifest begins with a %s without perfd.yaml, want the ConfigMap", manifest.Kind)
	}
	path := filepath.Join(dir, "kubernetes.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
