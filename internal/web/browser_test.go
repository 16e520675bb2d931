package web

import (
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var screenshots = flag.String("screenshots", "", "`folder` for pictures of the pages that the browser sees")

// chromium runs a headless browser that talks to this machine only, and returns what it prints.
func chromium(t *testing.T, args ...string) string {
	t.Helper()
	// Its children may write to the profile after it has ended: what then remains is no failure.
	profile, err := os.MkdirTemp("", "perfd-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile)
	cmd := exec.CommandContext(t.Context(), "chromium", append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + profile,
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
	}, args...)...)
	cmd.WaitDelay = 10 * time.Second
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, &errors)
	}
	return string(out)
}

// TestPageIsLiveInABrowser sees what only a browser can: that the page's policy
// lets its style and script in, and that the script brings what is new.
func TestPageIsLiveInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("chromium is not installed: the page's script is not run")
	}
	f := shop(time.Now())
	var asked atomic.Int32
	pages := handler(f, true)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" && asked.Add(1) > 1 {
			later := *f
			later.status.Paused = true
			handler(&later, true).ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	}))
	defer func() {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	url := "http://" + s.Addrs()[0].String()
	dom := chromium(t, "--virtual-time-budget=5000", "--dump-dom", url+"/")
	if !strings.Contains(dom, "All load is paused") {
		t.Errorf("the page did not refresh itself; it was asked for %d times", asked.Load())
	}
	if *screenshots == "" {
		return
	}
	if err := os.MkdirAll(*screenshots, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"landing":       {"--window-size=1280,1400", url + "/"},
		"landing-dark":  {"--window-size=1280,1400", "--force-dark-mode", "--blink-settings=preferredColorScheme=0", url + "/"},
		"landing-wall":  {"--window-size=1920,1080", url + "/"},
		"landing-phone": {"--window-size=500,3000", url + "/"},
		"scenario":      {"--window-size=1280,2300", url + "/scenarios/shop-soak?debug=1"},
		"missing":       {"--window-size=1280,400", url + "/scenarios/none"},
	} {
		asked.Store(0)
		chromium(t, append([]string{"--screenshot=" + filepath.Join(*screenshots, name+".png")}, args...)...)
	}
}
