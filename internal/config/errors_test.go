package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/kind/builtin"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var kinds = builtin.Kinds()

// A situation is one configuration of an archive: the files "NAME/…", among
// them perfd.yaml, whose leading comments may set the environment and flags
// ("# env: A=b", "# flag: key=value"), and "NAME/want" with the messages.
type situation struct {
	name  string
	files []*txtar.File
	want  *txtar.File
}

func situations(a *txtar.Archive) []*situation {
	var all []*situation
	for i := range a.Files {
		f := &a.Files[i]
		name, file, _ := strings.Cut(f.Name, "/")
		if len(all) == 0 || all[len(all)-1].name != name {
			all = append(all, &situation{name: name})
		}
		s := all[len(all)-1]
		if file == "want" {
			s.want = f
		} else {
			s.files = append(s.files, f)
		}
	}
	return all
}

// load writes the files into the current folder and loads perfd.yaml.
func (s *situation) load(t *testing.T) (*Document, error) {
	o := Options{File: "perfd.yaml", Kinds: kinds, Environ: []string{"HOME=/nowhere"}, Flags: map[string]string{}}
	for _, f := range s.files {
		_, name, _ := strings.Cut(f.Name, "/")
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
		if name != "perfd.yaml" {
			continue
		}
		for line := range strings.Lines(string(f.Data)) {
			if v, ok := strings.CutPrefix(line, "# env: "); ok {
				o.Environ = append(o.Environ, strings.TrimSuffix(v, "\n"))
			}
			if v, ok := strings.CutPrefix(line, "# flag: "); ok {
				key, value, _ := strings.Cut(strings.TrimSuffix(v, "\n"), "=")
				o.Flags[key] = value
			}
		}
	}
	return Load(o)
}

// Each wrong configuration gives exactly these messages. Read them when they
// change: they are what a person has who sits before a daemon that will not start.
func TestWrongConfigurations(t *testing.T) {
	golden, err := filepath.Abs("testdata/errors.txtar")
	if err != nil {
		t.Fatal(err)
	}
	archive, err := txtar.ParseFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	all := situations(archive)
	if len(all) < 70 {
		t.Errorf("%d wrong configurations, want 70 or more", len(all))
	}
	var names []string
	out := &txtar.Archive{Comment: archive.Comment}
	for _, s := range all {
		if slices.Contains(names, s.name) {
			t.Errorf("two configurations are named %s", s.name)
		}
		names = append(names, s.name)
		t.Run(s.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			_, err := s.load(t)
			if err == nil {
				t.Fatal("Load accepted it")
			}
			got := err.Error() + "\n"
			for _, f := range s.files {
				out.Files = append(out.Files, *f)
			}
			out.Files = append(out.Files, txtar.File{Name: s.name + "/want", Data: []byte(got)})
			var want string
			if s.want != nil {
				want = string(s.want.Data)
			}
			if diff := cmp.Diff(want, got); diff != "" && !*update {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
	if *update {
		if err := os.WriteFile(golden, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMissingFile(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Load(Options{File: "perfd.yaml"})
	want := "perfd.yaml: no such file or directory\n\thint: --config.file names the configuration file"
	if err == nil || err.Error() != want {
		t.Errorf("Load of a missing file = %v, want %s", err, want)
	}
	if _, ok := errors.AsType[block.Mistakes](err); !ok {
		t.Errorf("Load returned a %T, want block.Mistakes", err)
	}
	_, err = Load(Options{File: "."})
	if got, want := fmt.Sprint(err), ". is not a regular file\n\thint: --config.file names the configuration file"; got != want {
		t.Errorf("Load of a folder = %v, want %s", got, want)
	}
}
