package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const shop = `
targets:
  - {name: shop, url: "http://127.0.0.1:9798"}
`

// write puts files into the current folder, which must be a temporary one.
func write(t *testing.T, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func mustLoad(t *testing.T, o Options) *Document {
	t.Helper()
	if o.File == "" {
		o.File = "perfd.yaml"
	}
	if o.Environ == nil {
		o.Environ = []string{}
	}
	o.Kinds = kinds
	d, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLayersLieOverEachOther(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, map[string]string{
		"none.yaml": "",
		"perfd.yaml": `
vars: {a: file, b: file, c: file}
safety: {max_request_rate: 10/s, allowed_hosts: [a.example.com]}
`,
	})
	const key = "PERFD_SAFETY__MAX_REQUEST_RATE"
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"a default", Options{File: "none.yaml"}, "1000/s"},
		{"the environment over a default", Options{File: "none.yaml", Environ: []string{key + "=20/s"}}, "20/s"},
		{"the file over a default", Options{}, "10/s"},
		{"the environment over the file", Options{Environ: []string{key + "=20/s"}}, "20/s"},
		{"a flag over the environment", Options{Environ: []string{key + "=20/s"}, Flags: map[string]string{"safety.max_request_rate": "30/s"}}, "30/s"},
		{"a reference in the environment", Options{Environ: []string{key + "=${env:RATE}/s", "RATE=40"}}, "40/s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mustLoad(t, c.o).Safety.MaxRequestRate.String(); got != c.want {
				t.Errorf("safety.max_request_rate = %s, want %s", got, c.want)
			}
		})
	}
	d := mustLoad(t, Options{Environ: []string{"PERFD_VARS__B=env", "PERFD_VARS__D=env"}})
	var got []string
	for _, v := range d.Vars {
		got = append(got, v.Name.S+"="+v.Value.Scalar+" "+v.Value.Pos.String())
	}
	want := []string{"a=file perfd.yaml:2:11", "b=env environment PERFD_VARS__B", "c=file perfd.yaml:2:29", "d=env environment PERFD_VARS__D"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("vars (-want +got):\n%s", diff)
	}
	if d.Safety.AllowedHosts[0] != "a.example.com" {
		t.Errorf("what the environment does not name is gone: %v", d.Safety)
	}
}

// Kubernetes puts the services of its namespace into every pod's environment.
func TestServiceVariablesAreNoKeys(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, map[string]string{"perfd.yaml": ""})
	mustLoad(t, Options{Environ: []string{
		"PERFD_SERVICE_HOST=10.0.0.1", "PERFD_SERVICE_PORT=9797", "PERFD_SERVICE_PORT_HTTP_METRICS=9797",
		"PERFD_PORT=tcp://10.0.0.1:9797", "PERFD_PORT_9797_TCP=tcp://10.0.0.1:9797", "PERFD_PORT_9797_TCP_PROTO=tcp",
		"PERFD_PORT_9797_TCP_PORT=9797", "PERFD_PORT_9797_TCP_ADDR=10.0.0.1", "PERFD_DEMO_SHOP_SERVICE_HOST=10.0.0.2",
		"PERFDX=1", "PATH=/bin",
	}})
}

func TestScenarioFilesAreOneDocument(t *testing.T) {
	t.Chdir(t.TempDir())
	one := func(name string) string {
		return "scenarios:\n  - {name: " + name + ", target: shop, workload: {executor: constant-vus}, flow: [{use: home}]}\n"
	}
	write(t, map[string]string{
		"etc/perfd.yaml":     `scenario_files: [conf.d/*.yaml, "${env:MORE:-more.yaml}", "*.yaml", none/*.yaml]` + shop + one("main"),
		"etc/conf.d/b.yaml":  "vars: {path: home}\n" + one("b"),
		"etc/conf.d/a.yaml":  "flows: {home: {steps: [{name: get, http: {url: \"/${path}/${users.id}\"}}]}}\n" + one("a"),
		"etc/more.yaml":      "data: {users: {file: users.csv}}\n" + one("more"),
		"etc/users.csv":      "id\n1\n",
		"etc/conf.d/ignored": "nothing: here",
	})
	d := mustLoad(t, Options{File: "etc/perfd.yaml"})
	var got []string
	for _, s := range d.Scenarios {
		got = append(got, s.Name.S+" "+s.Name.Pos.String())
	}
	want := []string{"main etc/perfd.yaml:5:12", "a etc/conf.d/a.yaml:3:12", "b etc/conf.d/b.yaml:3:12", "more etc/more.yaml:3:12"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scenarios (-want +got):\n%s", diff)
	}
	if d.Feeder("users").Rows() != 1 || d.Scenario("b").Program == nil || d.Scenario("c") != nil {
		t.Errorf("feeder or scenarios are not to be found: %v", d)
	}
}

func TestReferencesAreResolved(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, map[string]string{
		"token": "s3cret-token\n",
		"perfd.yaml": `
vars:
  host: "localhost:${port}"
  port: 9798
  vus: 7
  fast: true
  empty: ""
  dollar: "a$${b}"
  token: "${file:token}"
targets:
  - name: shop
    url: http://${host}
    limits: {connections: "${env:MAX}", request_rate: "${vus}/s"}
    http: {headers: {X-Key: "${token}", X-Run: "${vu}"}, redirects: "${env:REDIRECTS:-3}"}
scenarios:
  - name: soak
    target: shop
    labels: {literal: "$${port} ${env:EMPTY}${env:EMPTY:-fallback}", price: "5$", number: "${env:MAX}"}
    tolerate: ${fast}
    workload: {executor: constant-vus, vus: "${vus}", warm_up: "${env:WARM:-5m}"}
    flow:
      - name: home
        http:
          url: /${port}/${iteration}/$${x}
          json: {port: "${port}", token: "${env:BRACES}", dollar: "${dollar}", both: "${port}-${vu}"}
        extract: {id: json.id}
      - {name: item, http: {url: "/${id}"}}
`,
	})
	d := mustLoad(t, Options{Environ: []string{"MAX=50", "EMPTY=", "BRACES=x${y}"}})
	s := d.Scenario("soak")
	body := s.At.Get("flow").Items[0].Get("http")
	for _, c := range []struct{ name, got, want string }{
		{"a reference in a reference", d.Targets[0].URL.S, "http://localhost:9798"},
		{"a number from the environment", fmt.Sprint(d.Targets[0].Limits.Connections), "50"},
		{"a number in a text", d.Targets[0].Limits.RequestRate.String(), "7/s"},
		{"a var keeps its type", fmt.Sprint(s.Workload.Peak(), s.Tolerate), "7 true"},
		{"a default", s.Workload.WarmUp.String(), "5m"},
		{"a literal, a set but empty variable and its default", s.Labels["literal"], "${port} fallback"},
		{"a dollar", s.Labels["price"], "5$"},
		{"text that looks like a number", s.Labels["number"], "50"},
		{"what is the run's is left", body.Get("url").Scalar, "/9798/${iteration}/$${x}"},
		{"a number keeps its type in a body", body.Get("json").Get("port").Kind.String() + " " + body.Get("json").Get("port").Scalar, "a number 9798"},
		{"a secret that looks like a template stays literal", body.Get("json").Get("token").Scalar, "x$${y}"},
		{"a var that looks like a template stays literal", body.Get("json").Get("dollar").Scalar, "a$${b}"},
		{"vars and values of the run in one text", body.Get("json").Get("both").Scalar, "9798-${vu}"},
		{"a target's protocol block", d.Targets[0].Blocks[0].Value.Get("headers").Get("X-Run").Scalar, "${vu}"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, c.got, c.want)
		}
	}
	if diff := cmp.Diff([]string{"token"}, d.SecretFiles()); diff != "" {
		t.Errorf("SecretFiles (-want +got):\n%s", diff)
	}
}

func TestSecretsChangedOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, map[string]string{"token": "a", "perfd.yaml": `vars: {a: "${file:token}"}`})
	d := mustLoad(t, Options{})
	step := func(what string, want bool) {
		t.Helper()
		if got := d.SecretsChanged(); got != want {
			t.Errorf("SecretsChanged %s = %v, want %v", what, got, want)
		}
	}
	step("at first", false)
	write(t, map[string]string{"token": "b"})
	step("after a change", true)
	step("after the change was reported", false)
	if err := os.Remove("token"); err != nil {
		t.Fatal(err)
	}
	step("while the file is away", false)
	write(t, map[string]string{"token": "b"})
	step("when it is back unchanged", false)
}

// A change of the main file, of one that it names, or of which files a pattern matches is reported once.
func TestFilesChangedOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("v1", 0o700); err != nil {
		t.Fatal(err)
	}
	main := `scenario_files: ["v1/*.yaml", plain.yaml]`
	write(t, map[string]string{"v1/a.yaml": "vars: {a: 1}", "plain.yaml": "vars: {p: 1}", "perfd.yaml": main})
	d := mustLoad(t, Options{})
	step := func(what string, want bool) {
		t.Helper()
		if got := d.FilesChanged(); got != want {
			t.Errorf("FilesChanged %s = %v, want %v", what, got, want)
		}
		if d.FilesChanged() {
			t.Errorf("%s is reported twice", what)
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	step("at first", false)
	write(t, map[string]string{"perfd.yaml": main})
	step("after it was written without a change", false)
	write(t, map[string]string{"perfd.yaml": main + "\nvars: {c: 1}"})
	step("after the main file changed", true)
	write(t, map[string]string{"v1/a.yaml": "vars: {a: 2}"})
	step("after a matched file changed", true)
	write(t, map[string]string{"v1/b.yaml": "vars: {b: 1}"})
	step("after one more is matched", true)
	remove("v1/b.yaml")
	step("after it is gone", true)
	write(t, map[string]string{"plain.yaml": "vars: {p: 2}"})
	step("after a named file changed", true)
	remove("plain.yaml")
	step("while a named file is away", false)
	write(t, map[string]string{"plain.yaml": "vars: {p: 2}"})
	step("when it is back unchanged", false)
	remove("perfd.yaml")
	step("while the main file is away", false)
}

// Dumps and logs of a document show it as it was resolved, but for its secrets.
func TestDumpsHoldNoSecret(t *testing.T) {
	t.Chdir(t.TempDir())
	const secret, short, over = "hunter2-hunter2", "pw1", "overridden-secret"
	write(t, map[string]string{
		"token": secret,
		"perfd.yaml": `
vars: {token: "${file:token}", name: "${env:SHORT}", over: written}
targets:
  - {name: shop, url: "http://localhost/${token}", http: {headers: {A: "Bearer ${token}", B: "${env:SHORT}"}}}
scenarios:
  - name: soak
    target: shop
    labels: {a: "${name}"}
    workload: {executor: constant-vus}
    flow: [{name: home, http: {url: "/${token}", json: {p: "${env:SHORT}"}}}]
`,
	})
	d := mustLoad(t, Options{Environ: []string{"SHORT=" + short, "PERFD_VARS__OVER=" + over}})
	var dump strings.Builder
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	dump.Write(text)
	text, err = json.Marshal(d.Scenarios)
	if err != nil {
		t.Fatal(err)
	}
	dump.Write(text)
	for _, v := range []any{d, *d, d.Scenarios, d.Scenarios[0], d.Targets, d.Targets[0].URL, d.Vars} {
		fmt.Fprintf(&dump, "%v %+v %#v %s", v, v, v, v)
		slog.New(slog.NewTextHandler(&dump, nil)).Info("loaded", "it", v)
		slog.New(slog.NewJSONHandler(&dump, nil)).Info("loaded", "it", v)
	}
	for _, s := range []string{secret, short, over} {
		if i := strings.Index(dump.String(), s); i >= 0 {
			t.Errorf("%q was printed: …%s…", s, dump.String()[max(0, i-200):i+len(s)])
		}
	}
	if !strings.Contains(dump.String(), "soak") {
		t.Error("the dumps say nothing at all")
	}
}

func TestDefaultsHold(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, map[string]string{"perfd.yaml": shop + `
scenarios:
  - {name: soak, target: shop, workload: {executor: constant-vus}, flow: [{name: home, http: {url: /}}]}
`})
	d := mustLoad(t, Options{})
	s := d.Scenario("soak")
	if s.Test != LoadTest || s.Tolerate || !d.Safety.BackOff.Enabled || s.Workload.GracefulStop.D() != 30*time.Second {
		t.Errorf("defaults: test %s, tolerate %v, back_off %+v, graceful_stop %s", s.Test, s.Tolerate, d.Safety.BackOff, s.Workload.GracefulStop)
	}
	if err := d.Safety.Guard().CheckHost("127.0.0.1"); err != nil {
		t.Errorf("loopback is refused: %v", err)
	}
	if err := d.Safety.Guard().CheckHost("example.com"); err == nil {
		t.Error("example.com is allowed")
	}
}

// Each check is an objective, but for those that have one.
func TestChecksAreObjectives(t *testing.T) {
	t.Chdir(t.TempDir())
	const text = `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
scenarios:
  - name: soak
    target: shop
    workload: {executor: constant-vus, vus: 1}
    checks: {at_least: 99.5%, severity: critical}
    objectives: [{name: mine, that: 'check_ratio("own") > 90%'}]
    flow:
      - {name: home, http: {url: /}, checks: {fine: status == 200, own: status == 200}}
      - {name: list, http: {url: /list}, checks: {fine: status == 200, 'not "empty"': status == 200}}
`
	write(t, map[string]string{"perfd.yaml": text})
	s := mustLoad(t, Options{}).Scenarios[0]
	var got []string
	for _, o := range s.Judged {
		got = append(got, fmt.Sprintf("%s|%s|%s|%v|%s|%s", o.Name, o.Kind, o.Check, o.Limit, o.Severity, o.Step))
	}
	want := []string{
		"mine|check_ratio|own|0.9|warning|",
		"check fine|check_ratio|fine|0.995|critical|",
		`check not "empty"|check_ratio|not "empty"|0.995|critical|`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("objectives (-want +got):\n%s", d)
	}
	write(t, map[string]string{"perfd.yaml": strings.Replace(text, "99.5%", "98%", 1)})
	if again := mustLoad(t, Options{}).Scenarios[0]; again.Fingerprint != s.Fingerprint {
		t.Error("another share is another scenario, and would restart its load")
	}
}
