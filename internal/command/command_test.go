package command

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/demo"
)

func TestDemoConfigurationRuns(t *testing.T) {
	dir := t.TempDir()
	if err := writeDemoConfig(dir, "127.0.0.1:12345"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Check(app.Options{ConfigFile: filepath.Join(dir, demo.ConfigFile)}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"shop-soak", "sign-in/login (http to shop)", "4 requests an iteration"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("check of the demo says\n%s\nwithout %q", out.String(), want)
		}
	}
}
