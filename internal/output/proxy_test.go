package output

import (
	"net/http"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

func TestProxyMistakesShowNoSecret(t *testing.T) {
	for _, c := range []struct {
		text  string
		plain bool
		wrong bool
	}{
		{"http://me:hush@proxy:3128", false, false},
		{"https://proxy", false, false},
		{"socks5://proxy:1080", false, false},
		{"none", true, false},
		{"''", true, false},
		{"http://proxy:3128", true, false},
		{"socks5://me:hush@proxy:1080", true, true},
		{"proxy:3128", false, true},
		{"ftp://me:hush@proxy", false, true},
		{"http://me:hush@", false, true},
		{"http://me:hush@proxy/path", false, true},
		{"'http://me:hush@proxy:port'", false, true},
		{"http://proxy:3128?key=hush", false, true},
	} {
		var errs block.Errors
		root := block.Parse("perfd.yaml", []byte("proxy_url: "+c.text), &errs)
		var d struct {
			ProxyURL block.Secret `yaml:"proxy_url"`
		}
		block.Decode(root, &d, &errs)
		CheckProxy(d.ProxyURL, root.Get("proxy_url"), c.plain, &errs)
		err := errs.Err()
		if (err != nil) != c.wrong || err != nil && (!strings.Contains(err.Error(), "perfd.yaml:1:12: proxy_url: must be") || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v, want a mistake without the password: %v", c.text, err, c.wrong)
		}
		if shown := root.String(); strings.Contains(shown, "hush") {
			t.Errorf("%s: the document prints as %s", c.text, shown)
		}
	}
}

func TestProxyFollowsTheEnvironment(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "REQUEST_METHOD"} {
		t.Setenv(name, "")
	}
	t.Setenv("HTTPS_PROXY", "http://secure:1")
	t.Setenv("HTTP_PROXY", "http://plain:2")
	t.Setenv("NO_PROXY", ".internal,10.0.0.0/8,exact.test:81")
	find := Proxy(block.Secret{})
	for address, want := range map[string]string{
		"https://a.test": "http://secure:1", "http://a.test": "http://plain:2", "http://a.internal": "", "https://10.1.2.3:4": "",
		"http://exact.test:81": "", "http://exact.test": "http://plain:2", "http://localhost:9": "", "https://127.0.0.1": "",
	} {
		r, err := http.NewRequest(http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		u, err := find(r)
		got := ""
		if u != nil {
			got = u.String()
		}
		if err != nil || got != want {
			t.Errorf("%s goes by %q, %v, want %q", address, got, err, want)
		}
	}
}
