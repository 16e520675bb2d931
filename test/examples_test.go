package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/test/daemon"
)

// A visited is the demo shop behind a count of its requests: by scenario, and by endpoint.
type visited struct {
	shop *demo.Shop

	mu     sync.Mutex
	counts map[string]map[string]float64
}

var number = regexp.MustCompile(`/(\d+|\$\{[^}]*\})$`)

// endpoint is the method and path of a request, with {id} for what is a number.
func endpoint(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	return method + " " + number.ReplaceAllString(path, "/{id}")
}

func (v *visited) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scenario, _, _ := strings.Cut(r.Header.Get("X-Perfd"), "/")
	v.mu.Lock()
	if v.counts[scenario] == nil {
		v.counts[scenario] = map[string]float64{}
	}
	v.counts[scenario][endpoint(r.Method, r.URL.Path)]++
	v.mu.Unlock()
	v.shop.ServeHTTP(w, r)
}

// examples returns the flows that a page of docs shows, each as a configuration of one flow, with its line.
func examples(t *testing.T, page string) (texts []string, lines []int) {
	t.Helper()
	text, err := os.ReadFile(repository("docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatchIndex(string(text), -1) {
		texts = append(texts, string(text[m[2]:m[3]]))
		lines = append(lines, 1+strings.Count(string(text[:m[2]]), "\n"))
	}
	return texts, lines
}

// scenariosOf writes one configuration of all examples: named flows are shared, so that their names must differ.
func scenariosOf(t *testing.T, url string, texts []string, lines []int) (config string, endpoints map[string]map[string]string) {
	t.Helper()
	doc := map[string]any{
		"targets":   []any{map[string]any{"name": "shop", "url": url}},
		"flows":     map[string]any{},
		"scenarios": []any{},
	}
	endpoints = map[string]map[string]string{}
	for i, text := range texts {
		var one map[string]any
		if err := yaml.Unmarshal([]byte(text), &one); err != nil {
			t.Fatalf("line %d: %v", lines[i], err)
		}
		flows, _ := one["flows"].(map[string]any)
		maps.Copy(doc["flows"].(map[string]any), flows)
		name := fmt.Sprintf("line-%d", lines[i])
		scenario := map[string]any{
			"name": name, "target": "shop",
			"schedule": map[string]any{"manual": true, "duration": "3s"},
			"workload": map[string]any{"executor": "constant-arrival-rate", "rate": "6/s", "max_vus": 30},
		}
		for _, part := range []string{"setup", "flow", "teardown"} {
			if one[part] != nil {
				scenario[part] = one[part]
			}
		}
		doc["scenarios"] = append(doc["scenarios"].([]any), scenario)
		endpoints[name] = map[string]string{}
		steps(one, endpoints[name])
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), endpoints
}

// steps notes the endpoint of each request within a tree by the name of its step.
func steps(tree any, into map[string]string) {
	switch n := tree.(type) {
	case []any:
		for _, item := range n {
			steps(item, into)
		}
	case map[string]any:
		if req, ok := n["http"].(map[string]any); ok {
			method, _ := req["method"].(string)
			if method == "" && req["json"] != nil {
				method = "POST"
			} else if method == "" {
				method = "GET"
			}
			into[n["name"].(string)] = endpoint(method, req["url"].(string))
			return
		}
		for _, value := range n {
			steps(value, into)
		}
	}
}

// TestTheExamplesOfTheLanguageRun performs each flow that the reference shows against the demo shop: nothing fails, and
// what perfd says it sent to each endpoint is what the shop counted.
func TestTheExamplesOfTheLanguageRun(t *testing.T) {
	shop := demo.New(demo.Default(), 1)
	v := &visited{shop: shop, counts: map[string]map[string]float64{}}
	g := newTarget(t, v.ServeHTTP, nil)
	texts, lines := examples(t, "scenarios.md")
	if len(texts) < 10 {
		t.Fatalf("%d examples, that cannot be all", len(texts))
	}
	config, endpoints := scenariosOf(t, g.URL, texts, lines)
	d := start(t, config)
	for name := range endpoints {
		post(t, d, "/api/v1/scenarios/"+name+"/start")
	}
	m := until(t, d, 30*time.Second, func(m daemon.Metrics) string {
		for name := range endpoints {
			scenario := "scenario=" + name
			started := m.Value("perfd_iterations_started_total", scenario)
			if started < 10 || started > m.Value("perfd_iterations_total", scenario) || m.Value("perfd_runs_total", scenario) < 1 {
				return name + " has not ended"
			}
		}
		return ""
	})
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		said := map[string]float64{}
		for step, at := range endpoints[name] {
			for _, family := range []string{"perfd_requests_total", "perfd_request_retries_total", "perfd_unmeasured_requests_total"} {
				for _, s := range m.Series(family, "scenario="+name) {
					for _, l := range s.GetLabel() {
						if l.GetName() == "step" && (l.GetValue() == step || strings.HasSuffix(l.GetValue(), "/"+step)) {
							said[at] += s.GetCounter().GetValue()
						}
					}
				}
			}
		}
		maps.DeleteFunc(said, func(_ string, n float64) bool { return n == 0 })
		v.mu.Lock()
		counted := v.counts[name]
		v.mu.Unlock()
		if !maps.Equal(said, counted) {
			t.Errorf("%s: perfd says it sent %v, the shop counted %v", name, said, counted)
		}
		for _, s := range m.Series("perfd_request_failures_total", "scenario="+name) {
			if n := s.GetCounter().GetValue(); n > 0 {
				t.Errorf("%s: %v", name, s)
			}
		}
	}
}
