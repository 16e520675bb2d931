// Package config_test holds what operators read and edit to what perfd does.
package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/kind/builtin"
)

var update = flag.Bool("update", false, "rewrite the JSON schema")

var kinds = builtin.Kinds()

func TestEveryConfigurationLoads(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("examples/*/perfd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range slices.Concat([]string{"perfd.yaml"}, files, more) {
		t.Run(file, func(t *testing.T) {
			d, err := config.Load(config.Options{File: file, Environ: []string{}, Kinds: kinds})
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Scenarios) == 0 {
				t.Error("has no scenarios")
			}
		})
	}
}

// Each executor and each shape has a file of its own that shows it.
func TestEachExecutorAndShapeHasAnExample(t *testing.T) {
	var names []string
	for _, e := range kinds.Executors {
		names = append(names, e.Name)
	}
	for _, s := range kinds.Shapes {
		if s.Name != "stages" { // which the ramping executors show
			names = append(names, s.Name)
		}
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("examples", "workloads", "each", strings.ReplaceAll(name, "_", "-")+".yaml"))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(text), "executor: "+name+",") && !strings.Contains(string(text), " "+name+": {") {
			t.Errorf("the example of %s does not use it:\n%s", name, text)
		}
	}
}

func TestSchemaIsCurrent(t *testing.T) {
	const file = "perfd.schema.json"
	want, err := config.Schema(kinds)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what the types say; run make docs (-want +got):\n%s", file, diff)
	}
}
