package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
)

// A document that takes scenarios over is the one that is loaded without the one before.
func TestUnchangedScenariosAreTakenOver(t *testing.T) {
	t.Chdir(t.TempDir())
	files := map[string]string{"perfd.yaml": three, "users.csv": "id\n1\n", "key": "k1", "body.bin": "abc"}
	write(t, files)
	was := mustLoad(t, Options{Environ: []string{"WHO=me"}})
	for _, c := range []struct{ name, file, old, new, taken string }{
		{"nothing", "perfd.yaml", "", "", "plain users"}, // other sends a file, which may have changed
		{"a comment before", "perfd.yaml", "scenarios:\n", "scenarios: # one\n\n", "plain users"},
		{"a workload", "perfd.yaml", "vus: 2}\n    flow: [{name: get", "vus: 3}\n    flow: [{name: get", "users"},
		{"a step", "perfd.yaml", "url: /}}]\n  - name: users", "url: /b}}]\n  - name: users", "users"},
		{"an objective", "perfd.yaml", "labels: {team: a}", "objectives: [{name: p95, that: p(95) < 1s}]", "plain"},
		{"a value that is a secret now", "perfd.yaml", "labels: {team: a}", "labels: {team: \"${env:TEAM}\"}", "plain"},
		{"a name", "perfd.yaml", "name: plain", "name: simple", "users"},
		{"the order", "perfd.yaml", "scenarios:\n", "scenarios:\n  - {name: first, target: shop, workload: {executor: constant-vus}, flow: [{name: get, http: {url: /}}]}\n", "plain users"},
		{"a suite", "perfd.yaml", "scenarios:\n", "suites: []\nscenarios:\n", "plain users"},
		{"a target's address", "perfd.yaml", "9799", "9800", ""},
		{"a secret of a target", "key", "k1", "k2", ""},
		{"a body file", "body.bin", "abc", "abd", "plain users"},
		{"a flow", "perfd.yaml", "[{name: get, http: {url: \"/${path}\"}}]", "[{name: get, http: {url: \"/a${path}\"}}]", ""},
		{"a var", "perfd.yaml", "path: home", "path: start", ""},
		{"a row of data", "users.csv", "1", "2", ""},
		{"how rows are dealt", "perfd.yaml", "{file: users.csv}", "{file: users.csv, order: random}", ""},
		{"what may never happen", "perfd.yaml", "blackouts: []", "safety: {max_request_rate: 5/s}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := files[c.file]
			defer func() { write(t, map[string]string{c.file: old}) }()
			if !strings.Contains(old, c.old) {
				t.Fatalf("%s does not hold %q", c.file, c.old)
			}
			write(t, map[string]string{c.file: strings.Replace(old, c.old, c.new, 1)})
			environ := []string{"TEAM=a"}
			alone, after := mustLoad(t, Options{Environ: environ}), mustLoad(t, Options{Environ: environ, Was: was})
			var taken []string
			for i, s := range after.Scenarios {
				of, own := was.Scenario(s.Name.S), alone.Scenarios[i]
				if of != nil && of.Program == s.Program {
					taken = append(taken, s.Name.S)
				}
				if s.Fingerprint != own.Fingerprint || s.Shape != own.Shape || s.At.Pos != own.At.Pos || s.At.Path != own.At.Path || s.At.String() != own.At.String() {
					t.Errorf("scenario %s is at %s (%s) %s, want at %s (%s) %s", s.Name, s.At.Pos, s.At.Path, s.At, own.At.Pos, own.At.Path, own.At)
				}
			}
			if got := strings.Join(taken, " "); got != c.taken {
				t.Errorf("taken over: %q, want %q", got, c.taken)
			}
			if d := cmp.Diff(alone.Description(), after.Description(), cmpopts.EquateEmpty(), cmp.AllowUnexported(analysis.Description{}), cmpopts.IgnoreTypes(block.Pos{})); d != "" {
				t.Errorf("what analyses know (-want +got):\n%s", d)
			}
		})
	}
	// The next takes over from one that did.
	again := mustLoad(t, Options{Was: mustLoad(t, Options{Was: was})})
	if again.Scenario("plain").Program != was.Scenario("plain").Program {
		t.Error("an unchanged scenario was compiled again")
	}
	if again.Feeder("users") != was.Feeder("users") {
		t.Error("unchanged data are in memory twice")
	}
}

// Mistakes have the places of the new document, those beside scenarios that it takes over too.
func TestMistakesBesideUnchangedScenariosHaveTheirPlaces(t *testing.T) {
	t.Chdir(t.TempDir())
	const scenario = "  - {name: s, target: shop, workload: {executor: constant-vus}, flow: [{name: get, http: {url: /}}]}\n"
	write(t, map[string]string{"perfd.yaml": shop + "scenarios:\n" + scenario})
	was := mustLoad(t, Options{})
	for name, text := range map[string]string{
		"a name that is used twice": shop + "# one\n# more\nscenarios:\n" + scenario + "  - {name: s, target: shop, workload: {executor: constant-vus}, flow: [{name: get, http: {url: /b}}]}\n",
		"one mistake":               shop + "scenarios:\n  - {name: new, target: shops, workload: {executor: constant-vus}, flow: [{name: get, http: {url: /}}]}\n" + scenario,
	} {
		write(t, map[string]string{"perfd.yaml": text})
		o := Options{File: "perfd.yaml", Environ: []string{}, Kinds: kinds}
		_, want := Load(o)
		o.Was = was
		if _, got := Load(o); want == nil || got == nil || got.Error() != want.Error() {
			t.Errorf("%s: %v\nwant: %v", name, got, want)
		}
	}
}
