package command

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/demo"
)

// A rehearsal of the example's suite, two and a half hours for ten thousand users, in seconds: what the shop counted is what
// perfd reports, to the request.
func TestARehearsalOfTheShop(t *testing.T) {
	t.Parallel()
	shop := demo.New(demo.Default(), 1)
	server := httptest.NewServer(shop)
	defer server.Close()
	opts := app.Options{
		ConfigFile: "../../config/examples/shop.yaml", Flags: map[string]string{"vars.base_url": server.URL, "scale.time": "1800", "scale.load": "0.005"},
		Shards: 1, Grace: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
	}
	var out, progress bytes.Buffer
	if _, err := Once(t.Context(), opts, OnceOptions{Scenario: "ten-thousand", Format: "json", Summary: &out, Progress: &progress}); err != nil {
		t.Fatal(err)
	}
	var said struct {
		Scaled string
		Runs   []struct {
			Scenario, Scaled             string
			Requests, Iterations, Failed int
			Steps                        []struct {
				Name     string
				Group    bool
				Requests int
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	const scaled = "scaled: time 1/1800, load 0.005"
	if said.Scaled != scaled || !strings.Contains(progress.String(), scaled) || len(said.Runs) != 4 {
		t.Fatalf("the summary says %q of %d runs, progress %q", said.Scaled, len(said.Runs), progress.String())
	}
	reported, logins := 0, 0
	for _, r := range said.Runs {
		if r.Scaled != scaled || r.Iterations == 0 && r.Scenario != "spike" { // whose 0.4 s a busy machine may miss
			t.Errorf("%s: %q, %d iterations", r.Scenario, r.Scaled, r.Iterations)
		}
		reported += r.Requests
		for _, s := range r.Steps {
			switch s.Name {
			case "sign-in/login":
				logins += s.Requests
			case "watch", "leave": // on a stream that is open, which the shop counted once
				reported -= s.Requests
			}
		}
	}
	counted := 0
	for _, codes := range shop.Counts()["POST /auth/login"] {
		counted += codes
	}
	if reported == 0 || reported != shop.Requests() || logins == 0 || logins != counted {
		t.Errorf("perfd reports %d requests, %d of them logins; the shop counted %d and %d", reported, logins, shop.Requests(), counted)
	}
}

// TestMessagesOfTheShop compares what the shop counted of its streams with what perfd says of them, to the byte.
func TestMessagesOfTheShop(t *testing.T) {
	t.Parallel()
	shop := demo.New(demo.Default(), 1)
	server := httptest.NewServer(shop)
	defer server.Close()
	a, err := app.New(app.Options{
		ConfigFile: "../../config/examples/shop.yaml", Flags: map[string]string{"vars.base_url": server.URL, "scale.time": "600", "scale.load": "0.04"},
		StoragePath: t.TempDir(), Listen: []string{"127.0.0.1:0"}, Shards: 1, Grace: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	defer func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	}()
	s := a.Fleet().Scenario("realtime")
	if err := s.StartRun(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); s.Schedule().LastEnd.IsZero() || s.Schedule().Running; time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 45*time.Second {
			t.Fatal("the run does not end")
		}
	}
	said, counted := samples(t, "http://"+a.Addr().String()+"/metrics"), samples(t, server.URL+"/metrics")
	for ours, theirs := range map[string]string{
		`perfd_messages_total{direction="sent",scenario="realtime",step="stream"}`:          `shop_messages_total{direction="received"}`,
		`perfd_messages_total{direction="received",scenario="realtime",step="stream"}`:      `shop_messages_total{direction="sent"}`,
		`perfd_message_bytes_total{direction="sent",scenario="realtime",step="stream"}`:     `shop_message_bytes_total{direction="received"}`,
		`perfd_message_bytes_total{direction="received",scenario="realtime",step="stream"}`: `shop_message_bytes_total{direction="sent"}`,
		`perfd_requests_total{scenario="realtime",step="stream"}`:                           `shop_responses_total{code="101",endpoint="GET /realtime",method="GET"}`,
		`perfd_stream_closes_total{code="1000",scenario="realtime",step="stream"}`:          `shop_responses_total{code="101",endpoint="GET /realtime",method="GET"}`,
		`perfd_messages_missing_total{scenario="realtime",step="stream"}`:                   `shop_messages_skipped_total`,
	} {
		if said[ours] != counted[theirs] || said[ours] == "" {
			t.Errorf("%s is %q, and the shop's %s is %q", ours, said[ours], theirs, counted[theirs])
		}
	}
	if n := said[`perfd_iterations_total{scenario="realtime"}`]; n == "" || n == "0" {
		t.Errorf("%q iterations", n)
	}
}

// samples returns the values of /metrics by their series.
func samples(t *testing.T, url string) map[string]string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 {
			found[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return found
}

// What is planned says that it is a rehearsal, and draws that.
func TestPlanOfARehearsal(t *testing.T) {
	var out bytes.Buffer
	opts := app.Options{ConfigFile: "testdata/plan/perfd.yaml", Flags: map[string]string{"scale.time": "60", "scale.load": "0.1"}}
	if err := Plan(opts, PlanOptions{Scenario: "ramp_and_hold", Format: "json"}, &out); err != nil {
		t.Fatal(err)
	}
	var p struct {
		Scaled string
		Peak   float64
		Loaded float64 `json:"loaded_seconds"`
	}
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if p.Scaled != "scaled: time 1/60, load 0.1" || p.Peak != 10 || p.Loaded != 35 {
		t.Errorf("%+v, want a peak of 10 users and 35 s", p)
	}
	if err := Check(opts, io.Discard); err != nil {
		t.Errorf("check: %v", err)
	}
}
