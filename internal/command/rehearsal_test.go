package command

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/demo"
)

// A rehearsal of the example's suite, an hour and a half for ten thousand users, in seconds: what the shop counted is what
// perfd reports, to the request.
func TestARehearsalOfTheShop(t *testing.T) {
	shop := demo.New(demo.Default(), 1)
	server := httptest.NewServer(shop)
	defer server.Close()
	t.Setenv("BASE_URL", server.URL)
	opts := app.Options{
		ConfigFile: "../../config/examples/shop.yaml", Flags: map[string]string{"scale.time": "1800", "scale.load": "0.005"},
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
	if said.Scaled != scaled || !strings.Contains(progress.String(), scaled) || len(said.Runs) != 3 {
		t.Fatalf("the summary says %q of %d runs, progress %q", said.Scaled, len(said.Runs), progress.String())
	}
	reported, logins := 0, 0
	for _, r := range said.Runs {
		if r.Scaled != scaled || r.Iterations == 0 {
			t.Errorf("%s: %q, %d iterations", r.Scenario, r.Scaled, r.Iterations)
		}
		reported += r.Requests
		for _, s := range r.Steps {
			if s.Name == "sign-in/login" {
				logins += s.Requests
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
