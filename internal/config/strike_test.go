package config

import (
	"encoding/base64"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

// Whatever key it stands in and however it is written, no secret is left in a text.
func TestSecretsAreStruckOut(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("token", []byte("MARKER-of-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("bearer", []byte("MARKER-bearer-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, map[string]string{"perfd.yaml": `
vars: {tok: "${env:TOK}", short: "${env:SHORT}", port: "${env:PORT}", filed: "${file:token}"}
targets:
  - {name: t, url: "http://127.0.0.1:${env:PORT}", http: {headers: {Authorization: "Bearer MARKER-literal-bearer", X-Api-Key: "MARKER-api-key"}}}
remote_write:
  - {url: "http://127.0.0.1:1/w?token=MARKER-of-a-query&x=1", name: a, identity: {job: j, instance: i}, basic_auth: {username: me, password: "MARKER-password"}}
  - {url: "http://127.0.0.1:1/w", name: b, identity: {job: j, instance: i}, headers: {X-Scope-OrgID: "MARKER-tenant"}, bearer_token: "MARKER-bearer"}
  - {url: "http://127.0.0.1:1/v", name: c, identity: {job: j, instance: i}, bearer_token_file: bearer}
tracing: {endpoint: "http://127.0.0.1:1/${file:token}", protocol: http/protobuf, headers: {Anything: "MARKER-trace-header"}}
scenarios:
  - name: s
    target: t
    workload: {executor: constant-vus}
    flow:
      - name: a
        http: {method: POST, url: "/x?api_key=MARKER-url-key&q=1", headers: {X-Session: "id=MARKER-cookie", X-Note: "${env:TOK}"}, json: {password: "MARKER-in-json", note: "${filed}"}}
`})
	tok := "MARKER &%/\"+ü"
	d := mustLoad(t, Options{Environ: []string{
		"TOK=" + tok, "SHORT=k7Qz", "PORT=19821", "PERFD_VARS__X=MARKER-perfd-var",
		"OTEL_EXPORTER_OTLP_HEADERS=api-key=MARKER-otel-header,x=y", "HTTPS_PROXY=http://me:MARKER-proxy@proxy:3128",
	}})
	for _, secret := range []string{
		tok, url.QueryEscape(tok), url.PathEscape(tok), strings.Trim(strconv.Quote(tok), `"`),
		"MARKER-of-a-file", "MARKER-bearer-file", "MARKER-literal-bearer", "MARKER-api-key", "MARKER-of-a-query", "MARKER-password", "MARKER-tenant",
		"MARKER-bearer", "MARKER-trace-header", "MARKER-url-key", "id=MARKER-cookie", "MARKER-in-json", "MARKER-perfd-var", "MARKER-otel-header", "MARKER-proxy",
		base64.StdEncoding.EncodeToString([]byte("me:MARKER-password")),
	} {
		for _, text := range []string{secret, "before " + secret + " after", `Post "http://h/` + secret + `": refused`, "x" + secret + "x"} {
			if got := d.Strike(text); strings.Contains(got, secret) || strings.Contains(got, "MARKER") || !strings.Contains(got, concealed) {
				t.Errorf("%q is shown as %q", text, got)
			}
		}
		cut := strings.Repeat("An error with much to say. ", 10) + secret[:len(secret)-2]
		if got := d.Strike(cut); len(secret) > certain+2 && strings.Contains(got, secret[:certain]) {
			t.Errorf("a text that was cut is shown as %q", got)
		}
	}
	for text, want := range map[string]string{
		"key k7Qz, k7Qz.":     "key <secret>, <secret>.",
		"sk7Qzx k7Qzs":        "sk7Qzx k7Qzs",
		"127.0.0.1:19821":     "127.0.0.1:19821",
		"nothing to see here": "nothing to see here",
		"":                    "",
	} {
		if got := d.Strike(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// Names of entries of credentials, and where a login finds its token, are no secrets; what stands in the entries is.
func TestSecretsOfCredentials(t *testing.T) {
	d, err := load(Options{File: "perfd.yaml", Kinds: kinds, Environ: []string{}}, []byte(`
credentials:
  shop-api-key: {api_key: {header: X-Api-Key, value: marker-value}}
  own-client: {oauth2: {token_url: "http://127.0.0.1/token", client_id: own-client-id, client_secret: marker-secret, params: {audience: marker-audience}}}
  own-login: {login: {url: "http://127.0.0.1/login", json: {user: some-user, password: marker-password}, token: json.access_token, expires_in: json.expires_in, headers: {X-Any: marker-header}}}
  cloud: {aws_sigv4: {region: eu-central-1, service: execute-api, access_key: marker-access, secret_key: marker-key, session_token: marker-session}}
  hook: {hmac: {secret: marker-shared}}
targets:
  - {name: shop, url: "http://127.0.0.1", credentials: shop-api-key}
scenarios:
  - name: s
    target: shop
    workload: {executor: constant-vus, vus: 1}
    flow: [{name: a, http: {url: /, credentials: own-client, json: {credentials: marker-in-body}}}]
`), new(block.Errors))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{
		"marker-value", "marker-secret", "marker-audience", "marker-password", "marker-header", "marker-access", "marker-key", "marker-session",
		"marker-shared", "marker-in-body", base64.StdEncoding.EncodeToString([]byte("own-client-id:marker-secret")),
	} {
		if got := d.Strike("it said " + secret + "."); got != "it said "+concealed+"." {
			t.Errorf("%s is struck out as %q", secret, got)
		}
	}
	const plain = "shop-api-key own-client own-client-id own-login json.access_token json.expires_in some-user execute-api"
	if got := d.Strike(plain); got != plain {
		t.Errorf("what is no secret is struck out: %q", got)
	}
	strike := Striker([]string{"a/token+of=mine", "", "x"})
	if got := strike("q=a%2Ftoken%2Bof%3Dmine, a/token+of=mine x"); strings.Contains(got, "token") || !strings.HasSuffix(got, " x") {
		t.Errorf("a token is struck out as %q", got)
	}
}
