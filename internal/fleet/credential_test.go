package fleet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/perfd/perfd/internal/metric"
)

// A watch reads its target's release and resources with the target's credential; another host does not get it.
func TestWatchesHaveTheTargetsCredential(t *testing.T) {
	var seen, elsewhere atomic.Pointer[string]
	note := func(to *atomic.Pointer[string]) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			text := r.Header.Get("Authorization") + r.Header.Get("X-Key") + r.URL.Query().Get("key") + r.Header.Get("X-Signature")
			to.Store(&text)
			fmt.Fprint(w, `{"version": "1"}`)
		}
	}
	srv := httptest.NewServer(note(&seen))
	defer srv.Close()
	other := httptest.NewServer(note(&elsewhere))
	defer other.Close()
	sum := hmac.New(sha256.New, []byte("key"))
	sum.Write([]byte("GET"))
	signed := hex.EncodeToString(sum.Sum(nil))
	for _, c := range []struct{ block, header, want string }{
		{`bearer: {token: of-the-target}`, "", "Bearer of-the-target"},
		{`api_key: {query: key, value: of-the-target}`, "", "of-the-target"},
		{`api_key: {header: X-Key, value: of-the-target}`, "", "of-the-target"},
		{`hmac: {secret: key, over: [method]}`, "", signed},
		{`bearer: {token: of-the-target}`, "{Authorization: its own}", "its own"},
	} {
		t.Run(c.block+c.header, func(t *testing.T) {
			seen.Store(nil)
			elsewhere.Store(nil)
			header := ""
			if c.header != "" {
				header = ", headers: " + c.header
			}
			watching(t, fmt.Sprintf(`
credentials: {c: {%s}}
targets:
  - {name: shop, url: "%s", credentials: c, release: {url: /version, json: version, every: 1s%s}}
  - {name: far, url: "%s", credentials: c, release: {url: "%s/version", json: version, every: 1s}}
`, c.block, srv.URL, header, srv.URL, "http://localhost"+other.URL[len("http://127.0.0.1"):]), nil)
			await(t, "both targets are read", func() bool { return seen.Load() != nil && elsewhere.Load() != nil })
			if *seen.Load() != c.want {
				t.Errorf("%s: the target is read with %q, want %q", c.block, *seen.Load(), c.want)
			}
			if *elsewhere.Load() != "" {
				t.Errorf("%s: another host is read with %q", c.block, *elsewhere.Load())
			}
		})
	}
}

// Without a credential the watch says so, and does not ask.
func TestAWatchWithoutACredentialSaysSo(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer srv.Close()
	f := watching(t, fmt.Sprintf(`
credentials:
  gone: {oauth2: {token_url: "http://127.0.0.1:1/token", client_id: perfd}}
  unused: {oauth2: {token_url: "http://127.0.0.1:1/token", client_id: perfd}}
targets:
  - {name: shop, url: "%s", credentials: gone, release: {url: /version, json: version, every: 1s}}
`, srv.URL), nil)
	await(t, "the read fails for want of a credential", func() bool {
		_, faults := reads(f, "shop")
		return slices.Contains(faults, "release credential")
	})
	if n := asked.Load(); n > 0 {
		t.Errorf("the target was read %d times", n)
	}
	up, failed := map[string]float64{}, ""
	f.Collect(func(d *metric.Desc, v float64, labels ...string) {
		switch d {
		case metric.CredentialUp:
			up[labels[0]] = v
		case metric.CredentialFetchFailures:
			failed = labels[1]
		}
	})
	if v, ok := up["gone"]; !ok || v != 0 || len(up) != 1 || failed != "refused" {
		t.Errorf("credentials are up %v, and fail as %q; want the one that is used down, refused", up, failed)
	}
}
