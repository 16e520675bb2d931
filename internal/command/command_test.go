package command

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/load"
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

func TestExitCodesFollowTheVerdict(t *testing.T) {
	for _, c := range []struct {
		name    string
		result  string
		verdict load.Verdict
		basis   analysis.Basis
		want    int
	}{
		{"all is well", "", load.Pass, analysis.Judged, OncePassed},
		{"an objective fails", "", load.Fail, analysis.Judged, OnceBroken},
		{"too little evidence", "", load.Inconclusive, analysis.Judged, OnceInconclusive},
		{"nothing to pass", "", load.Inconclusive, analysis.NoObjectives, OncePassed},
		{"a doubt", "", load.Inconclusive, analysis.Doubted, OnceInconclusive},
		{"interrupted", "interrupted", load.Inconclusive, analysis.Cut, OnceInconclusive},
		{"died", "error", load.Inconclusive, analysis.Cut, OnceFailed},
	} {
		if got := onceCode(c.result, c.verdict, c.basis); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}
