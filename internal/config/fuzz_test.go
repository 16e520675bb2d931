package config

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/perfd/perfd/internal/block"
)

// Whatever stands in a file, loading it ends soon, in a document or in
// mistakes that a person can read and that hold no secret.
func FuzzLoad(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/errors.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		if strings.HasSuffix(file.Name, "/perfd.yaml") {
			f.Add(file.Data)
		}
	}
	complete, err := os.ReadFile("../../config/perfd.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(complete)
	const secret = "hunter2-hunter2"
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, special := range []string{"/dev/", "/proc/", "/sys/"} {
			if bytes.Contains(text, []byte(special)) {
				t.Skip("files of the kernel may block or never end")
			}
		}
		start := time.Now()
		var errs block.Errors
		d, err := load(Options{File: "perfd.yaml", Environ: []string{"SECRET=" + secret, "HOST=localhost"}, Kinds: kinds}, text, &errs)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("load took %v", took)
		}
		var all block.Mistakes
		switch {
		case err == nil:
			if strings.Contains(d.root.String(), secret) {
				t.Errorf("the dump holds a secret: %v", d)
			}
		case !errors.As(err, &all) || len(all) == 0:
			t.Errorf("load returned %T %v, want mistakes", err, err)
		case strings.Contains(err.Error(), secret):
			t.Errorf("a message holds a secret: %v", err)
		}
		for _, e := range all {
			if e.Text == "" || e.Pos.String() == "" {
				t.Errorf("a mistake without text or place: %+v", e)
			}
		}
	})
}
