package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// A visit is the block of a step that calls an endpoint of the demo shop.
type visit struct {
	Method string `yaml:"method" doc:"Method."`
	URL    string `yaml:"url" doc:"URL."`

	shop  *demo.Shop
	token *atomic.Pointer[string] // that the shop gave whoever signed in last
}

// Compile returns the step.
func (v *visit) Compile(*protocol.Compiler) protocol.Step { return v }

// Do calls the shop in the time that the engine keeps.
func (v *visit) Do(c *protocol.Call) {
	ctx, cancel := context.WithTimeout(context.Background(), c.Deadline-c.VU.Env.Now())
	defer cancel()
	c.Result.Sent = int64(c.VU.Env.Now())
	w := httptest.NewRecorder()
	body := strings.NewReader(`{"email": "a@example.com", "password": "p", "productId": 7, "quantity": 1}`)
	r := httptest.NewRequestWithContext(ctx, v.Method, v.URL, body)
	if token := v.token.Load(); token != nil {
		r.Header.Set("Authorization", "Bearer "+*token)
	}
	v.shop.ServeHTTP(w, r)
	var got struct{ Token string }
	if json.Unmarshal(w.Body.Bytes(), &got) == nil && got.Token != "" {
		v.token.Store(&got.Token)
	}
	c.Result.Done, c.Result.Code = int64(c.VU.Env.Now()), int32(w.Code)
	if ctx.Err() != nil {
		c.Result.Cause = load.Timeout
	}
}

// Judge fails what the shop failed.
func (v *visit) Judge(c *protocol.Call) load.Cause {
	if c.Result.Code >= http.StatusBadRequest {
		return load.Status
	}
	return load.None
}

// A process answers the watches of the demo without a socket. The heap that a collection leaves
// is what the shop leaked and the rest of perfd.
type process struct {
	shop  *demo.Shop
	began time.Time
}

// RoundTrip answers a watch.
func (p *process) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.URL.Path != "/metrics" {
		p.shop.ServeHTTP(w, r)
		return w.Result(), nil
	}
	noise := rand.New(rand.NewPCG(1, uint64(time.Since(p.began)))).IntN(1_000_000)
	warm := min(1, time.Since(p.began).Minutes())
	fmt.Fprintf(w, "# TYPE go_gc_heap_live_bytes gauge\ngo_gc_heap_live_bytes %.0f\n# TYPE go_goroutines gauge\ngo_goroutines 90\n# TYPE process_open_fds gauge\nprocess_open_fds 60\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.3f\n",
		24e6+8e6*warm+float64(p.shop.Leaked())+float64(noise), 0.2*time.Since(p.began).Seconds())
	return w.Result(), nil
}

// What the shop's answers hold is for the real protocol to read.
var (
	ofAnswers = regexp.MustCompile(`(?m)^ *(extract|checks|expect): .*\n|^ *- \{name: finds, .*\n`)
	request   = regexp.MustCompile(`http: \{(.*)\}`)
	method    = regexp.MustCompile(`method: (\w+)`)
	path      = regexp.MustCompile(`url: "?(/[a-z/]*)(\$\{product.id\})?`)
)

// visits makes visits of the demo's requests.
func visits(config []byte) []byte {
	config = ofAnswers.ReplaceAll(config, nil)
	return request.ReplaceAllFunc(config, func(r []byte) []byte {
		m, u := method.FindSubmatch(r), path.FindSubmatch(r)
		v := visit{Method: http.MethodGet, URL: string(u[1])}
		switch {
		case m != nil:
			v.Method = string(m[1])
		case bytes.Contains(r, []byte("json: ")):
			v.Method = http.MethodPost
		}
		if u[2] != nil {
			v.URL += "7"
		}
		return fmt.Appendf(nil, "visit: {method: %s, url: %s}", v.Method, v.URL)
	})
}

// demoSpan is how long the demo is watched: what its script says is over by then.
const demoSpan = 19 * time.Minute

// watchDemo plays the script of `perfd demo` with its own configuration, in fake time, and looks every five seconds.
func watchDemo(t *testing.T, seed uint64, look func(now time.Duration, a *App)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{demo.ConfigFile, "users.csv"} {
			text, err := demo.Config.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if name == demo.ConfigFile {
				text = visits(text)
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		shop := demo.New(demo.Default(), seed)
		kinds := builtin.Kinds()
		token := new(atomic.Pointer[string])
		kinds.Protocols = append(kinds.Protocols, protocol.Kind{Name: "visit", Step: func() protocol.Config { return &visit{shop: shop, token: token} }})
		began := time.Now()
		a, err := New(Options{
			ConfigFile: filepath.Join(dir, demo.ConfigFile), StoragePath: filepath.Join(dir, "data"), Shards: 1, Grace: time.Minute, Log: quiet,
			Kinds: &kinds, NewWaiter: engine.NewTimerWaiter, Transport: &process{shop, began}, Root: dir,
		})
		if err != nil {
			t.Fatal(err)
		}
		a.Start()
		played := make(chan struct{})
		go func() {
			defer close(played)
			shop.Play(t.Context(), demo.Script(), func(demo.Scene) {})
		}()
		for time.Since(began) < demoSpan {
			time.Sleep(5 * time.Second)
			look(time.Since(began), a)
		}
		<-played
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestTheDemoShowsWhatItsScriptSays holds the demo to what its script, the page of the shop and the README promise.
func TestTheDemoShowsWhatItsScriptSays(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a third of an hour of a whole daemon takes seconds")
	}
	objective := func(name string, verdict load.Verdict) func(load.Finding) bool {
		return func(f load.Finding) bool {
			return f.Kind == load.KindObjective && f.Scenario == "shop-soak" && f.Objective == name && f.Verdict == verdict && f.State != load.Recovered
		}
	}
	leaks := func(f load.Finding) bool {
		return f.Kind == load.KindLeak && f.Resource == "heap" && f.State == load.Active
	}
	slower := func(f load.Finding) bool { return f.Kind == load.KindRegression && f.State == load.Active }
	promises := []struct {
		what     string
		from, to time.Duration
		holds    func(load.Finding) bool
		gone     bool   // that it ends is what is promised
		says     string // of the sentence
	}{
		{"p95 passes", 0, 3 * time.Minute, objective("p95", load.Pass), false, ""},
		{"p99 passes", 0, 3 * time.Minute, objective("p99", load.Pass), false, ""},
		{"errors passes", 0, 3 * time.Minute, objective("errors", load.Pass), false, ""},
		{"a leak is found", 3 * time.Minute, 6 * time.Minute, leaks, false, "to its limit of 512 MiB"},
		{"a regression is found", 3 * time.Minute, 8 * time.Minute, slower, false, "since v1.1.0 than in v1.0.0"},
		{"p95 fails", 8 * time.Minute, 9 * time.Minute, objective("p95", load.Fail), false, "is over 200ms"},
		{"p95 passes again", 9*time.Minute + 30*time.Second, 11 * time.Minute, objective("p95", load.Pass), false, ""},
		{"the leak is over", 9 * time.Minute, 11 * time.Minute, leaks, true, ""},
		{"the regression is over", 9 * time.Minute, demoSpan, slower, true, ""},
	}
	seeds := uint64(2)
	if raceDetector {
		seeds = 1
	}
	for seed := range seeds {
		kept := make([]time.Duration, len(promises))
		watchDemo(t, seed+1, func(now time.Duration, a *App) {
			findings := a.Findings()
			for i, p := range promises {
				at := slices.IndexFunc(findings, p.holds)
				if (at < 0) != p.gone || now < p.from || kept[i] > 0 && !p.gone {
					if p.gone && at >= 0 {
						kept[i] = 0 // it is back
					}
					continue
				}
				if kept[i] == 0 {
					kept[i] = now
				}
				if at >= 0 && !strings.Contains(findings[at].Sentence, p.says) {
					t.Errorf("seed %d, %v, %s: %s; want %q", seed, now, p.what, findings[at].Sentence, p.says)
				}
			}
			if now < 3*time.Minute {
				for _, f := range findings {
					if f.State == load.Active {
						t.Errorf("seed %d, %v: of a healthy shop: %s", seed, now, f.Sentence)
					}
				}
			}
		})
		for i, p := range promises {
			t.Logf("seed %d: %s at %v", seed, p.what, kept[i].Round(time.Second))
			if kept[i] == 0 || kept[i] > p.to+5*time.Second {
				t.Errorf("seed %d: %s at %v, want by %v", seed, p.what, kept[i].Round(time.Second), p.to)
			}
		}
	}
}

func TestTheReadmeTellsTheScriptOfTheDemo(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range demo.Script() {
		if row := fmt.Sprintf("| %d:%02d | %s | %s |", int(s.At.Minutes()), int(s.At.Seconds())%60, s.What, s.Expect); !strings.Contains(string(text), row) {
			t.Errorf("README.md has no row\n%s", row)
		}
	}
}
