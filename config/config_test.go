// Package config_test holds what operators read and edit to what perfd does.
package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
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
