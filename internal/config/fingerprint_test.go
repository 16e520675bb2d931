package config

import (
	"encoding/pem"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const three = `
vars: {path: home}
blackouts: []
targets:
  - {name: shop, url: "http://127.0.0.1:9798"}
  - {name: other, url: "http://127.0.0.1:9799", http: {headers: {X-Key: "${file:key}"}}}
data:
  users: {file: users.csv}
flows:
  home: {steps: [{name: get, http: {url: "/${path}"}}]}
  sign-in: {params: [who], steps: [{use: home}, {name: login, http: {url: "/${who.id}"}}]}
scenarios:
  - name: plain
    target: shop
    workload: {executor: constant-vus, vus: 2}
    flow: [{name: get, http: {url: /}}]
  - name: users
    target: shop
    labels: {team: a}
    workload: {executor: constant-vus, vus: 2}
    flow: [{use: sign-in, with: {who: "${users}"}}]
  - name: other
    target: other
    workload: {executor: constant-vus, vus: 2}
    flow: [{name: put, http: {method: PUT, url: /, file: body.bin}}]
`

// Exactly the scenarios that a change is about are other ones after it.
func TestFingerprintsTellWhatChanged(t *testing.T) {
	t.Chdir(t.TempDir())
	files := map[string]string{"perfd.yaml": three, "users.csv": "id\n1\n", "key": "k1", "body.bin": "abc"}
	prints := func() map[string]string {
		write(t, files)
		out := map[string]string{}
		for _, s := range mustLoad(t, Options{}).Scenarios {
			out[s.Name.S] = s.Fingerprint
		}
		return out
	}
	before := prints()
	for _, c := range []struct{ name, file, old, new, want string }{
		{"nothing", "perfd.yaml", "", "", ""},
		{"a comment, blanks and another way to write a list", "perfd.yaml", "flow: [{name: get, http: {url: /}}]", "flow: # steps\n      - {name: get,  http: {url: \"/\"}}", ""},
		{"a workload", "perfd.yaml", "vus: 2}\n    flow: [{name: get", "vus: 3}\n    flow: [{name: get", "plain"},
		{"a label", "perfd.yaml", "team: a", "team: b", "users"},
		{"an objective of a scenario", "perfd.yaml", "labels: {team: a}", "labels: {team: a}\n    objectives: [{name: p95, that: p(95) < 1s}]", ""},
		{"an objective of a step", "perfd.yaml", "{name: get, http: {url: /}}", "{name: get, http: {url: /}, objectives: [{name: p95, that: p(95) < 1s}]}", ""},
		{"an objective of a step of a named flow", "perfd.yaml", "{name: login,", "{name: login, objectives: [{name: p95, that: p(95) < 1s}],", ""},
		{"the margin of regressions", "perfd.yaml", "labels: {team: a}", "labels: {team: a}\n    regression: {margin: 3%}", ""},
		{"a target's address", "perfd.yaml", "9799", "9800", "other"},
		{"a secret of a target", "key", "k1", "k2", "other"},
		{"a body file", "body.bin", "abc", "abd", "other"},
		{"a flow that is used by a used flow", "perfd.yaml", "[{name: get, http: {url: \"/${path}\"}}]", "[{name: get, http: {url: \"/a${path}\"}}]", "users"},
		{"a var", "perfd.yaml", "path: home", "path: start", "users"},
		{"a row of data", "users.csv", "1", "2", "users"},
		{"what may never happen", "perfd.yaml", "blackouts: []", "safety: {max_request_rate: 5/s}", "other plain users"},
		{"the order of scenarios", "perfd.yaml", "scenarios:\n", "scenarios:\n  - {name: first, target: shop, workload: {executor: constant-vus}, flow: [{name: get, http: {url: /}}]}\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := files[c.file]
			defer func() { files[c.file] = old }()
			if !strings.Contains(old, c.old) {
				t.Fatalf("%s does not hold %q", c.file, c.old)
			}
			files[c.file] = strings.Replace(old, c.old, c.new, 1)
			after := prints()
			var changed []string
			for _, name := range []string{"other", "plain", "users"} {
				if after[name] != before[name] {
					changed = append(changed, name)
				}
			}
			if got := strings.Join(changed, " "); got != c.want {
				t.Errorf("changed: %q, want %q", got, c.want)
			}
		})
	}
}

// The version that a target is spoken to in is part of how it is measured, as the workload and the flow are, and other keys of
// the target are not.
func TestTheShapeOfLoad(t *testing.T) {
	t.Chdir(t.TempDir())
	shape := func(target string) string {
		write(t, map[string]string{"perfd.yaml": `
targets: [{name: shop, url: "http://127.0.0.1:9798", http: ` + target + `}]
scenarios: [{name: s, target: shop, workload: {executor: constant-vus}, flow: [{name: get, http: {url: /}}]}]
`})
		return mustLoad(t, Options{}).Scenarios[0].Shape
	}
	before := shape(`{}`)
	if got := shape(`{headers: {A: b}}`); got != before {
		t.Error("a header field of the target changes the shape of the load")
	}
	if got := shape(`{version: 2}`); got == before {
		t.Error("another version of the protocol leaves the shape of the load as it was")
	}
}

func TestFilesThatAreReadAgainRestartNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	server := httptest.NewTLSServer(nil)
	server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	files := map[string]string{"ca.pem": ca, "token": "a", "password": "a", "perfd.yaml": `
targets: [{name: shop, url: "https://127.0.0.1:9799", http: {tls: {ca_file: ca.pem}}}]
remote_write:
  - {url: "https://a", identity: {job: perfd, instance: a}, bearer_token_file: token, tls: {ca_file: ca.pem}}
  - {url: "https://b", identity: {job: perfd, instance: a}, basic_auth: {username: me, password_file: password}}
tracing: {endpoint: "https://c:4317", tls: {ca_file: ca.pem}}
scenarios: [{name: s, target: shop, workload: {executor: constant-vus}, flow: [{name: get, http: {url: /}}]}]
`}
	prints := func() (all []string) {
		write(t, files)
		d := mustLoad(t, Options{})
		for _, o := range d.Outputs {
			all = append(all, o.Fingerprint)
		}
		return append(all, d.Scenarios[0].Fingerprint, d.TargetFingerprint("shop"))
	}
	before := prints()
	for name, text := range map[string]string{"ca.pem": ca + ca, "token": "b", "password": "b"} {
		old := files[name]
		files[name] = text
		if after := prints(); !slices.Equal(after, before) {
			t.Errorf("a change of %s changes the fingerprints of outputs, scenarios or targets: %v, before %v", name, after, before)
		}
		files[name] = old
	}
}
