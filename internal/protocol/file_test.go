package protocol

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

func TestFilesOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int64{"hunter2.ok": 16 << 20, "hunter2.large": 16<<20 + 1} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		hidden bool
		want   string // empty for none
	}{
		{"hunter2.ok", false, ""},
		{"hunter2.ok", true, ""},
		{"hunter2.large", false, "hunter2.large is larger than 16 MiB"},
		{"hunter2.large", true, "<secret>"},
		{"hunter2.missing", false, "hunter2.missing: no such file"},
		{"hunter2.missing", true, "<secret>"},
		{".", false, "is not a regular file"},
		{".", true, "<secret>"},
	} {
		var errs block.Errors
		k := &Compiler{Dir: dir, Errors: &errs}
		content := k.Content(&block.Text{S: c.name, Path: "at", Hidden: c.hidden})
		switch err := errs.Err(); {
		case c.want == "":
			if err != nil || len(content) != 16<<20 {
				t.Errorf("%+v: %d bytes, %v", c, len(content), err)
			}
		case err == nil || !strings.Contains(err.Error(), c.want) || errs.Len() != 1:
			t.Errorf("%+v: %v", c, err)
		case c.hidden && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%+v: the secret is shown: %v", c, err)
		}
	}
}
