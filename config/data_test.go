package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/config"
)

// TestExamplesOfTheDataPageLoad loads each example of docs/data.md with the files of the examples.
func TestExamplesOfTheDataPageLoad(t *testing.T) {
	page, err := os.ReadFile("../docs/data.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 5 {
		t.Fatalf("found %d examples", len(blocks))
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("examples")); err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks {
		top, flow, _ := strings.Cut("\n"+block[1], "\nflow:")
		text := "targets: [{name: shop, url: \"http://127.0.0.1:9798\"}]" + top +
			"\nscenarios:\n  - name: example\n    target: shop\n    workload: {executor: constant-vus, vus: 1}\n    flow:" + strings.ReplaceAll(flow, "\n", "\n    ")
		file := filepath.Join(dir, "example.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(config.Options{File: file, Environ: []string{}, Kinds: kinds}); err != nil {
			t.Errorf("%s\n%v", block[1], err)
		}
	}
}
