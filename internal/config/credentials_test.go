package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

// Every example of the page on credentials is a configuration, but for the scenario that some leave out.
func TestExamplesOfThePageOnCredentials(t *testing.T) {
	page, err := os.ReadFile("../../docs/credentials.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(examples) < 2 {
		t.Fatalf("%d examples, that cannot be all", len(examples))
	}
	for _, e := range examples {
		text := string(e[1])
		if !strings.Contains(text, "scenarios:") {
			text += "targets: [{name: t, url: \"http://127.0.0.1\"}]\nscenarios: [{name: s, target: t, workload: {executor: constant-vus, vus: 1}, flow: [{name: a, http: {url: /}}]}]\n"
		}
		if _, err := load(Options{File: "perfd.yaml", Kinds: kinds, Environ: []string{}}, []byte(text), new(block.Errors)); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
	for _, k := range kinds.Credentials {
		if !strings.Contains(string(page), "`"+k.Name+"`") {
			t.Errorf("the page does not name %s", k.Name)
		}
	}
}
