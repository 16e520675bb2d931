package target

import (
	"testing"

	"github.com/perfd/perfd/internal/block"
)

func TestConfig(t *testing.T) {
	var c Config
	if got := decode(t, `
name: shop
url: https://shop.staging.example.com/v1
http: {headers: {A: b}}
limits: {request_rate: 300/s, connections: 500}
sql: {}
`, &c); got != "" {
		t.Fatal(got)
	}
	if c.Name.S != "shop" || c.URL.S != "https://shop.staging.example.com/v1" || c.Limits.RequestRate.PerSecond() != 300 || c.Limits.Connections != 500 {
		t.Errorf("decoded %+v", c)
	}
	if len(c.Blocks) != 2 || c.Blocks[0].Name != "http" || c.Blocks[1].Name != "sql" {
		t.Fatalf("blocks = %v, want http and sql", c.Blocks)
	}
	if got := c.Blocks[0].Value.Get("headers").Path; got != "http.headers" {
		t.Errorf("path below a block = %q, want http.headers", got)
	}
}

func TestConfigMistakes(t *testing.T) {
	const address = "must be an address such as https://shop.staging.example.com, got "
	for _, c := range []struct{ name, text, want string }{
		{"name and url are required", "limits: {}", "x.yaml:1:1: name: is required\nx.yaml:1:1: url: is required"},
		{"no mapping", "shop", `x.yaml:1:1: must be a mapping, got "shop"`},
		{"no scheme", "{name: a, url: shop.example.com}", "x.yaml:1:16: url: " + address + `"shop.example.com"`},
		{"no host", "{name: a, url: http:///x}", "x.yaml:1:16: url: " + address + `"http:///x"`},
		{
			"credentials", "{name: a, url: 'http://u:p@h'}",
			"x.yaml:1:16: url: must not hold a user or password\n\thint: write an entry of credentials, and its name as credentials of the target",
		},
		{"a query", "{name: a, url: 'http://h/?q=1'}", "x.yaml:1:16: url: must end with its path, got \"http://h/?q=1\"\n\thint: queries belong to steps"},
		{"no rate", "{name: a, url: 'http://h', limits: {request_rate: 0/s}}", "x.yaml:1:51: limits.request_rate: must be more than 0, got 0/s"},
		{"no connections", "{name: a, url: 'http://h', limits: {connections: 0}}", "x.yaml:1:50: limits.connections: must be at least 1, got 0"},
		{
			"local addresses", "{name: a, url: 'http://h', local_addresses: [127.0.0.2, 10.0.0.0/24, '::', 127.0.0.2]}",
			"x.yaml:1:57: local_addresses[1]: must be an address such as 10.0.0.7 or fd00::7, got \"10.0.0.0/24\"\n" +
				"x.yaml:1:70: local_addresses[2]: must be the address of one machine, got \"::\"\n" +
				"x.yaml:1:76: local_addresses[3]: 127.0.0.2 is there already",
		},
		{
			"addresses of hosts", "{name: a, url: 'http://h', resolve: {h: 127.0.0.1, 127.0.0.1:80: 127.0.0.2, 'h:80': [], 'h:81': g}}",
			"x.yaml:1:38: resolve.h: must be a host and its port such as shop.staging.example.com:443, got \"h\"\n" +
				"x.yaml:1:52: resolve.127.0.0.1:80: 127.0.0.1 is an address already, which nothing resolves\n\thint: write the name that the url has\n" +
				"x.yaml:1:85: resolve.h:80: lists no address\n" +
				"x.yaml:1:97: resolve.h:81: must be an address such as 10.0.0.7 or fd00::7, got \"g\"",
		},
		{
			"addresses beside a proxy", "{name: a, url: 'http://h', proxy_url: 'http://127.0.0.1:3128', resolve: {'h:80': 127.0.0.1}}",
			"x.yaml:1:73: resolve: has no effect beside proxy_url: the proxy resolves the names\n\thint: leave one of them out",
		},
		{
			"an unknown limit", "{name: a, url: 'http://h', limits: {conections: 5}}",
			"x.yaml:1:37: limits.conections: unknown key \"conections\"\n\thint: did you mean \"connections\"?",
		},
	} {
		var d Config
		if got := decode(t, c.text, &d); got != c.want {
			t.Errorf("%s: %s\ngot  %s\nwant %s", c.name, c.text, got, c.want)
		}
	}
}

func TestASecretInAnAddressIsNotShown(t *testing.T) {
	var errs block.Errors
	n := block.Parse("x.yaml", []byte("{name: a, url: hunter2}"), &errs)
	n.Get("url").Hidden = true
	var c Config
	block.Decode(n, &c, &errs)
	const want = `x.yaml:1:16: url: must be an address such as https://shop.staging.example.com, got "<secret>"`
	if got := errs.Err().Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSchemas(t *testing.T) {
	for name, schema := range map[string]map[string]any{
		"targets":  block.Schema(Config{}),
		"back_off": block.Schema(BackOff{}),
	} {
		for key, p := range schema["properties"].(map[string]any) {
			if p.(map[string]any)["description"] == nil {
				t.Errorf("%s.%s has no description", name, key)
			}
		}
	}
}
