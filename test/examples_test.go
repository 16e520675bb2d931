package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

// agrees compares what perfd says each scenario sent to its endpoints, by step, with what was counted.
func (v *visited) agrees(t *testing.T, m daemon.Metrics, endpoints map[string]map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		said := map[string]float64{}
		for step, at := range endpoints[name] {
			said[at] += sent(m, step, "scenario="+name)
		}
		maps.DeleteFunc(said, func(_ string, n float64) bool { return n == 0 })
		v.mu.Lock()
		counted := v.counts[name]
		v.mu.Unlock()
		if !maps.Equal(said, counted) || len(said) == 0 {
			t.Errorf("%s: perfd says it sent %v, the shop counted %v", name, said, counted)
		}
	}
}

// examples returns the flows that a page of docs shows in fences of a language, each as a configuration of one flow, with its line.
func examples(t *testing.T, page, language string) (texts []string, lines []int) {
	t.Helper()
	text, err := os.ReadFile(repository("docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatchIndex(string(text), -1) {
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
		placed(t, one["flow"])
		flows, _ := one["flows"].(map[string]any)
		maps.Copy(doc["flows"].(map[string]any), flows)
		name := fmt.Sprintf("line-%d", lines[i])
		scenario := map[string]any{
			"name": name, "target": "shop",
			"schedule": map[string]any{"manual": true, "duration": "3s"},
			"workload": map[string]any{"executor": "constant-arrival-rate", "rate": "6/s", "max_vus": 30},
		}
		for _, part := range []string{"setup", "metrics", "objectives", "http", "flow", "teardown"} {
			if one[part] != nil {
				scenario[part] = one[part]
			}
		}
		doc["scenarios"] = append(doc["scenarios"].([]any), scenario)
		delete(one, "http") // which is no request
		endpoints[name] = map[string]string{}
		steps(one, endpoints[name])
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), endpoints
}

// writtenByHand is a request of HTTP as bytes.
var writtenByHand = regexp.MustCompile(`send:([A-Z]+) (/\S*) HTTP/1`)

// steps notes the endpoint of each request within a tree by the name of its step. A step without an address goes on with
// an answer.
func steps(tree any, into map[string]string) {
	switch n := tree.(type) {
	case []any:
		for _, item := range n {
			steps(item, into)
		}
	case map[string]any:
		if req, ok := n["http"].(map[string]any); ok {
			method, _ := req["method"].(string)
			if method == "" {
				method = "GET"
				for _, body := range []string{"json", "form", "body", "multipart", "file"} {
					if req[body] != nil {
						method = "POST"
					}
				}
			}
			if at, ok := req["url"].(string); ok {
				into[n["name"].(string)] = endpoint(method, at)
			}
			return
		}
		if ws, ok := n["websocket"].(map[string]any); ok {
			if at, ok := ws["url"].(string); ok {
				into[n["name"].(string)] = endpoint("GET", at)
			}
			return
		}
		if req, ok := n["tcp"].(map[string]any); ok {
			if m := writtenByHand.FindStringSubmatch(fmt.Sprint(req)); m != nil {
				into[n["name"].(string)] = endpoint(m[1], m[2])
			}
			return
		}
		for _, value := range n {
			steps(value, into)
		}
	}
}

// placed makes the names of files that requests send those of config/examples.
func placed(t *testing.T, tree any) {
	t.Helper()
	switch n := tree.(type) {
	case []any:
		for _, item := range n {
			placed(t, item)
		}
	case map[string]any:
		if name, ok := n["file"].(string); ok {
			path, err := filepath.Abs(repository("config", "examples", name))
			if err != nil {
				t.Fatal(err)
			}
			n["file"] = path
		}
		for _, value := range n {
			placed(t, value)
		}
	}
}

// TestTheExamplesOfTheLanguageRun performs each flow that the reference shows against the demo shop: nothing fails, and
// what perfd says it sent to each endpoint is what the shop counted.
func TestTheExamplesOfTheLanguageRun(t *testing.T) {
	shop := demo.New(faultless(), 1)
	v := &visited{shop: shop, counts: map[string]map[string]float64{}}
	g := newTarget(t, v.ServeHTTP, nil)
	texts, lines := examples(t, "scenarios.md", "yaml")
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
	v.agrees(t, m, endpoints)
	succeeded(t, m)
}

// small returns a configuration file of config/examples with the load of each scenario at a size that a test can afford,
// its think times shortened, and started by hand. Everything that its flows do is as it is written.
func small(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(repository("config", "examples", file))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, s := range doc["scenarios"].([]any) {
		s := s.(map[string]any)
		s["schedule"] = map[string]any{"manual": true, "duration": "4s"}
		s["workload"] = map[string]any{"executor": "constant-arrival-rate", "rate": "5/s", "max_vus": 30}
	}
	hurry(doc)
	for _, data := range doc["data"].(map[string]any) {
		data := data.(map[string]any)
		path, err := filepath.Abs(repository("config", "examples", data["file"].(string)))
		if err != nil {
			t.Fatal(err)
		}
		data["file"] = path
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// hurry makes all think times of a tree ten milliseconds, and streams listen for no longer than a tenth of a second.
func hurry(tree any) {
	switch n := tree.(type) {
	case []any:
		for _, item := range n {
			hurry(item)
		}
	case map[string]any:
		if n["think"] != nil {
			n["think"] = "10ms"
		}
		if n["listen"] != nil {
			n["listen"] = "100ms"
		}
		for _, value := range n {
			hurry(value)
		}
	}
}

// runAll starts the scenarios of a configuration and waits until each has ended.
func runAll(t *testing.T, config string, env ...string) daemon.Metrics {
	t.Helper()
	return runAllWith(t, daemon.Options{Config: config, Env: env})
}

// runAllWith is runAll of a daemon with other options.
func runAllWith(t *testing.T, o daemon.Options) daemon.Metrics {
	t.Helper()
	var doc struct {
		Scenarios []struct{ Name string }
	}
	if err := yaml.Unmarshal([]byte(o.Config), &doc); err != nil {
		t.Fatal(err)
	}
	d := startWith(t, o)
	for _, s := range doc.Scenarios {
		post(t, d, "/api/v1/scenarios/"+s.Name+"/start")
	}
	return until(t, d, time.Minute, func(m daemon.Metrics) string {
		for _, s := range doc.Scenarios {
			if m.Value("perfd_runs_total", "scenario="+s.Name) < 1 {
				return s.Name + " has not ended"
			}
		}
		return ""
	})
}

// sent sums up what perfd says it sent, retries and unmeasured requests included, in the steps of a name.
func sent(m daemon.Metrics, step string, labels ...string) (n float64) {
	for _, family := range []string{"perfd_requests_total", "perfd_request_retries_total", "perfd_unmeasured_requests_total"} {
		for _, s := range m.Series(family, labels...) {
			for _, l := range s.GetLabel() {
				if l.GetName() == "step" && (l.GetValue() == step || strings.HasSuffix(l.GetValue(), "/"+step)) {
					n += s.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// messages sums up the messages of a direction on the streams that the steps of a name opened.
func messages(m daemon.Metrics, step, direction string) (n float64) {
	for _, s := range m.Series("perfd_messages_total", "step="+step, "direction="+direction) {
		n += s.GetCounter().GetValue()
	}
	return n
}

// faultless are the knobs of a demo target whose requests take the time that they usually take, and never fail.
func faultless() demo.Knobs {
	k := demo.Default()
	k.ErrorRatio = nil
	return k
}

// succeeded reports each series of failures that is not zero.
func succeeded(t *testing.T, m daemon.Metrics) {
	t.Helper()
	for _, family := range []string{"perfd_request_failures_total", "perfd_unmeasured_request_failures_total", "perfd_iterations_stopped_total"} {
		for _, s := range m.Series(family) {
			if s.GetCounter().GetValue() > 0 {
				t.Errorf("%s: %v", family, s)
			}
		}
	}
}

// answersOf is how many requests to an endpoint a target of the demo has answered.
func answersOf(c demo.Counts, endpoint string) (n float64) {
	for _, k := range c[endpoint] {
		n += float64(k)
	}
	return n
}

func TestTheShopForTenThousandUsersRunsSmall(t *testing.T) {
	shop := demo.New(faultless(), 1)
	g := newTarget(t, shop.ServeHTTP, nil)
	m := runAll(t, small(t, "shop.yaml"), "BASE_URL="+g.URL)
	succeeded(t, m)
	counts := shop.Counts()
	for step, endpoints := range map[string][]string{
		"login": {"POST /auth/login"}, "list products": {"GET /products"}, "show product": {"GET /products/{id}"},
		"search": {"GET /search"}, "report": {"POST /reports/generate"}, "complex query": {"GET /analytics/sales"},
		"stream":              {"GET /realtime"},
		"intensive operation": {"GET /api/intensive-operation-0", "GET /api/intensive-operation-1", "GET /api/intensive-operation-2"},
	} {
		want := 0.0
		for _, e := range endpoints {
			want += answersOf(counts, e)
		}
		if got := sent(m, step); got != want || got == 0 {
			t.Errorf("%s: perfd says it sent %v, the shop answered %v", step, got, want)
		}
	}
	added := sent(m, "add to cart", "scenario=baseline") + sent(m, "add", "scenario=stress")
	if want := answersOf(counts, "POST /cart/items"); added != want || added == 0 {
		t.Errorf("carts: perfd says it sent %v, the shop answered %v", added, want)
	}
	if n := m.Value("perfd_messages_total", "scenario=realtime", "direction=received"); n == 0 || m.Value("perfd_messages_missing_total", "scenario=realtime") > 0 {
		t.Errorf("%v messages came, and %v are missing", n, m.Value("perfd_messages_missing_total", "scenario=realtime"))
	}
}

// The examples of single constructs run beside each other: nothing fails, each does what it shows, and what perfd says it
// sent is what the shop answered.
func TestTheConstructsRunSmall(t *testing.T) {
	shop := demo.New(faultless(), 1)
	v := &visited{shop: shop, counts: map[string]map[string]float64{}}
	g := newTarget(t, v.ServeHTTP, nil)
	files, err := filepath.Glob(repository("config", "examples", "flows", "constructs", "*.yaml"))
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	doc := map[string]any{"targets": []any{map[string]any{"name": "shop", "url": g.URL}}, "flows": map[string]any{}}
	var scenarios []any
	endpoints := map[string]map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var one map[string]any
		if err := yaml.Unmarshal(text, &one); err != nil {
			t.Fatal(err)
		}
		flows, _ := one["flows"].(map[string]any)
		maps.Copy(doc["flows"].(map[string]any), flows)
		for _, s := range one["scenarios"].([]any) {
			s := s.(map[string]any)
			s["schedule"] = map[string]any{"manual": true, "duration": "4s"}
			scenarios = append(scenarios, s)
			at := map[string]string{}
			steps(one, at)
			endpoints[s["name"].(string)] = at
		}
	}
	doc["scenarios"] = scenarios
	text, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	n := startNetwork(t)
	m := runAll(t, string(text), "ECHO_ADDRESS="+n.echo, "DNS_ADDRESS="+n.dns, "DNS_NAME="+theName)
	succeeded(t, m)
	delete(endpoints, "udp") // which the shop does not see
	delete(endpoints, "dns") // likewise
	v.agrees(t, m, endpoints)
	for step, counted := range map[string]int64{
		"echo": n.answered.Load(), "count": n.datagrams.Load() - n.answered.Load(),
		"cached": n.known.Load() - n.stream.Load(), "not cached": n.unknown.Load(), "over tcp": n.stream.Load(),
	} {
		if said := sent(m, step); said != float64(counted) || said == 0 {
			t.Errorf("%s: perfd says it sent %v, %d came", step, said, counted)
		}
	}
	for _, scenario := range []string{"tcp", "dns"} {
		if n := m.Value("perfd_checks_total", "scenario="+scenario) - m.Value("perfd_check_failures_total", "scenario="+scenario); n == 0 || n < m.Value("perfd_checks_total", "scenario="+scenario) {
			t.Errorf("%s: %v checks held of %v", scenario, n, m.Value("perfd_checks_total", "scenario="+scenario))
		}
	}
	// Each question is answered by as many words as events or as lines, and what the shop sent of the feed is what came but for
	// what was under way when it was left.
	words, lines, feed := messages(m, "ask", "received"), messages(m, "ask for lines", "received"), messages(m, "feed", "received")
	if each := words / sent(m, "ask"); each < 8 || each != math.Trunc(each) || each != lines/sent(m, "ask for lines") {
		t.Errorf("%v events and %v lines of %v and %v answers", words, lines, sent(m, "ask"), sent(m, "ask for lines"))
	}
	polls := messages(m, "poll for news", "received") + messages(m, "the last news", "received")
	if want := sent(m, "poll for news") + sent(m, "the last news"); polls != want || polls == 0 {
		t.Errorf("%v polls brought %v events", want, polls)
	}
	said := shopValue(t, shop, `shop_messages_total{direction="sent"}`) - polls
	if under := said - words - lines - feed; feed == 0 || under < 0 || under > 2*sent(m, "feed") {
		t.Errorf("%v events of the feed, %v in all, the shop sent %v", feed, feed+words+lines, said)
	}
}

// shopValue is a sample of what the demo shop exposes.
func shopValue(t *testing.T, shop *demo.Shop, series string) float64 {
	t.Helper()
	w := httptest.NewRecorder()
	shop.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("the shop exposes no %s", series)
	return 0
}

// TestTheWorkloadsRunFast performs the example of each executor and shape within seconds: each sends something, those that count iterations
// make as many as they say, nothing fails, and what perfd says it sent is what the shop answered.
func TestTheWorkloadsRunFast(t *testing.T) {
	shop := demo.New(faultless(), 1)
	g := newTarget(t, shop.ServeHTTP, nil)
	files, err := filepath.Glob(repository("config", "examples", "workloads", "each", "*.yaml"))
	if err != nil || len(files) < 13 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	traffic, err := filepath.Abs(repository("config", "examples", "traffic.csv"))
	if err != nil {
		t.Fatal(err)
	}
	var scenarios []any
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var one struct{ Scenarios []any }
		if err := yaml.Unmarshal(bytes.ReplaceAll(text, []byte("../traffic.csv"), []byte(traffic)), &one); err != nil {
			t.Fatal(err)
		}
		scenarios = append(scenarios, one.Scenarios...)
	}
	config, err := yaml.Marshal(map[string]any{
		"targets":   []any{map[string]any{"name": "shop", "url": g.URL, "limits": map[string]any{"request_rate": "300/s"}}},
		"scenarios": scenarios,
	})
	if err != nil {
		t.Fatal(err)
	}
	m := runAllWith(t, daemon.Options{Config: string(config), Flags: []string{"--time-scale=120", "--load-scale=0.2"}})
	succeeded(t, m)
	for _, s := range scenarios {
		name := s.(map[string]any)["name"].(string)
		got := m.Value("perfd_iterations_total", "scenario="+name)
		want := map[string]float64{"shared-iterations": 200, "per-vu-iterations": 10}[name]
		if got == 0 || want > 0 && got != want {
			t.Errorf("%s: %v iterations, want %v, or any where that is 0", name, got, want)
		}
	}
	if said, answered := sent(m, "list products"), answersOf(shop.Counts(), "GET /products"); said != answered {
		t.Errorf("perfd says it sent %v requests, the shop answered %v", said, answered)
	}
}

// startServices starts the demo's microservices.
func startServices(t *testing.T) *demo.Services {
	t.Helper()
	services, err := demo.NewServices(demo.ServicesOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- services.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	return services
}

// The flows on streams of gRPC that the reference shows run against the demo's services, and every message that is sent comes back.
func TestTheExamplesOfStreamsRun(t *testing.T) {
	services := startServices(t)
	texts, lines := examples(t, "scenarios.md", "yaml services")
	if len(texts) == 0 {
		t.Fatal("there is no example")
	}
	config, _ := scenariosOf(t, services.URL("inventory"), texts, lines)
	config = strings.Replace(config, "targets:\n", "targets:\n"+
		"    - {name: inventory, url: \""+services.URL("inventory")+"\"}\n    - {name: notification, url: \""+services.URL("notification")+"\"}\n", 1)
	m := runAll(t, config)
	succeeded(t, m)
	for step, opens := range map[string]float64{"watch stock": 3, "tell": 1} {
		if got, least := messages(m, step, "received"), opens*sent(m, step); got < least || least == 0 {
			t.Errorf("%s: %v messages came on %v streams", step, got, sent(m, step))
		}
	}
	if sent, came := messages(m, "tell", "sent"), messages(m, "tell", "received"); sent != came {
		t.Errorf("%v messages were sent and %v came back", sent, came)
	}
}

func TestTheMicroservicesRunSmall(t *testing.T) {
	services := startServices(t)
	var env []string
	for _, name := range demo.ServiceNames {
		env = append(env, strings.ToUpper(name)+"_URL="+services.URL(name))
	}
	m := runAll(t, small(t, "microservices.yaml"), env...)
	succeeded(t, m)
	counts := services.Counts()
	for step, at := range map[string][2]string{
		"login": {"user", "POST /api/auth/login"}, "create": {"order", "POST /api/orders"}, "charge": {"payment", "POST /api/payments"},
		"browse": {"catalog", "GET /api/products"}, "add to cart": {"cart", "POST /api/cart/items"},
	} {
		// Both faces of an endpoint count in one, and so does each message of a stream.
		rpc := sent(m, "rpc "+strings.Replace(step, "login", "sign in", 1))
		switch step {
		case "login":
			rpc += sent(m, "stream sign in")
		case "add to cart":
			rpc += messages(m, "begin a cart", "sent")
		}
		if got, want := sent(m, step)+rpc, answersOf(counts[at[0]], at[1]); got != want || got == rpc || rpc == 0 {
			t.Errorf("%s: perfd says it sent %v, %v of them by gRPC, %s answered %v", step, got, rpc, at[0], want)
		}
	}
	watched := messages(m, "watch stock", "received")
	if got, want := sent(m, "quantity")+sent(m, "stock")+sent(m, "rpc stock")+watched, answersOf(counts["inventory"], "GET /api/inventory/{id}"); got != want || got == 0 {
		t.Errorf("stock: perfd says it sent %v, inventory answered %v", got, want)
	}
	// Of each stream as many messages come as the server sends: five of the stock, an answer to each notification, one cart.
	for step, each := range map[string]float64{"watch stock": 5, "converse": 3, "begin a cart": 1} {
		if got, want := messages(m, step, "received"), each*sent(m, step); got != want || got == 0 {
			t.Errorf("%s: perfd says that %v messages came, want %v", step, got, want)
		}
	}
	for family, want := range map[string]float64{
		"perfd_message_gap_seconds": 4*sent(m, "watch stock") + 2*sent(m, "converse"), "perfd_message_round_trip_seconds": 3 * sent(m, "converse"),
	} {
		n := 0.0
		for _, s := range m.Series(family) {
			n += float64(s.GetHistogram().GetSampleCount())
		}
		if n != want {
			t.Errorf("%s has %v observations, want %v", family, n, want)
		}
	}
	for _, family := range []string{"perfd_messages_missing_total", "perfd_messages_unmet_total"} {
		for _, s := range m.Series(family) {
			if s.GetCounter().GetValue() != 0 {
				t.Errorf("%s: %v", family, s)
			}
		}
	}
	// The cart asks the user service whose cart it is, and order tells the customer: these endpoints have other clients too.
	if got, want := sent(m, "profile"), answersOf(counts["user"], "GET /api/users/profile"); got == 0 || got > want {
		t.Errorf("profile: perfd says it sent %v, user answered %v", got, want)
	}
	if got, want := sent(m, "send")+sent(m, "notify")+sent(m, "rpc notify")+messages(m, "converse", "received"), answersOf(counts["notification"], "POST /api/notifications"); got == 0 || got > want {
		t.Errorf("notifications: perfd says it sent %v, notification answered %v", got, want)
	}
}

// Both shops of a twin answer the same number of requests to each endpoint, which perfd counts apart.
func TestTheTwinRunsSmall(t *testing.T) {
	shop, stable := demo.New(faultless(), 1), demo.New(faultless(), 2)
	m := runAll(t, small(t, "twin.yaml"), "SHOP_URL="+newTarget(t, shop.ServeHTTP, nil).URL, "STABLE_URL="+newTarget(t, stable.ServeHTTP, nil).URL)
	succeeded(t, m)
	for step, endpoint := range map[string]string{"login": "POST /auth/login", "list products": "GET /products", "show product": "GET /products/{id}"} {
		own, other := answersOf(shop.Counts(), endpoint), answersOf(stable.Counts(), endpoint)
		if own != other || own == 0 {
			t.Errorf("%s: the shop answered %v requests and its twin %v", step, own, other)
		}
		if got := sent(m, step, "scenario=buy"); got != own {
			t.Errorf("%s: perfd says it sent %v, the shop answered %v", step, got, own)
		}
		if got := sent(m, step, "scenario=buy@shop-stable"); got != other {
			t.Errorf("%s: perfd says it sent %v to the twin, which answered %v", step, got, other)
		}
	}
}
