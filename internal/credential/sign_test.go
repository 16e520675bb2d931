package credential

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sign returns the header fields of a signature.
func sign(t *testing.T, text string, r Request) map[string]string {
	t.Helper()
	v, err := fetch(t, source(t, text))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := v.Sign([]byte("before\r\n"), &r)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(string(lines), "before\r\n"), "\r\n"), "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("%q is no header field", line)
		}
		fields[name] = value
	}
	return fields
}

const exampleKeys = `access_key: AKIDEXAMPLE, secret_key: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY`

// The requests and signatures of AWS's signature version 4 test suite (aws-sig-v4-test-suite, published with
// "Signature Version 4 test suite" of the AWS General Reference), whose time is 2015-08-30 12:36:00 UTC.
func TestSigV4OfTheSuiteOfAWS(t *testing.T) {
	for _, c := range []struct{ name, method, target, signature string }{
		{"get-vanilla", "GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-vanilla-empty-query-key", "GET", "/?Param1=value1", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
		{"get-vanilla-query-unreserved", "GET", "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
		{"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		{"post-vanilla", "POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-vanilla-query", "POST", "/?Param1=value1", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
	} {
		got := sign(t, `aws_sigv4: {region: us-east-1, service: service, `+exampleKeys+`}`, Request{
			Method: c.method, Host: []byte("example.amazonaws.com"), Target: []byte(c.target), At: time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC),
		})
		want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + c.signature
		if got["Authorization"] != want || got["X-Amz-Date"] != "20150830T123600Z" || len(got) != 2 {
			t.Errorf("%s: %v\nwant %s", c.name, got, want)
		}
	}
}

// What the suite has no request of: a session token, a body and S3.
func TestSigV4SignsWhatIsSent(t *testing.T) {
	at := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	keys := `aws_sigv4: {region: eu-central-1, service: s3, session_token: temporary, ` + exampleKeys + `}`
	base := Request{Method: "PUT", Host: []byte("b.s3.amazonaws.com"), Target: []byte("/a%20b/c?x=1"), Body: []byte("hello"), At: at}
	got := sign(t, keys, base)
	// SHA-256 of "hello".
	if got["X-Amz-Content-Sha256"] != "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" || got["X-Amz-Security-Token"] != "temporary" ||
		!strings.Contains(got["Authorization"], "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token") {
		t.Errorf("%v", got)
	}
	path := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	same := base
	same.Body, same.File = nil, file
	if again := sign(t, keys, same); again["Authorization"] != got["Authorization"] {
		t.Error("a body from a file has another signature than the same body")
	}
	for name, change := range map[string]func(*Request){
		"method": func(r *Request) { r.Method = "POST" }, "host": func(r *Request) { r.Host = []byte("c.s3.amazonaws.com") },
		"path": func(r *Request) { r.Target = []byte("/a%20b/d?x=1") }, "query": func(r *Request) { r.Target = []byte("/a%20b/c?x=2") },
		"body": func(r *Request) { r.Body = []byte("hell0") }, "time": func(r *Request) { r.At = at.Add(time.Second) },
	} {
		other := base
		change(&other)
		if sign(t, keys, other)["Authorization"] == got["Authorization"] {
			t.Errorf("another %s has the same signature", name)
		}
	}
}

// RFC 4231 section 4.3 (HMAC-SHA-256 and -512, test case 2) and RFC 2202 section 3 (HMAC-SHA-1, test case 2).
func TestHMACOfTheRFCs(t *testing.T) {
	for algorithm, want := range map[string]string{
		"sha256": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		"sha512": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
		"sha1":   "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
	} {
		got := sign(t, "hmac: {secret: Jefe, algorithm: "+algorithm+", header: X-Hub-Signature, prefix: "+algorithm+"=}", Request{Body: []byte("what do ya want for nothing?")})
		if got["X-Hub-Signature"] != algorithm+"="+want || len(got) != 1 {
			t.Errorf("%s: %v, want %s", algorithm, got, want)
		}
	}
}

func TestPartsOfAnHMAC(t *testing.T) {
	at := time.Date(2026, 1, 5, 8, 0, 0, 5e6, time.UTC)
	request := Request{Method: "POST", Host: []byte("h:1"), Target: []byte("/p?q=1"), Body: []byte("b"), At: at}
	// Each list of parts is the signature of the text that it comes to.
	for _, c := range []struct{ keys, text, stamp string }{
		{`over: [method, host, target]`, "POST\nh:1\n/p?q=1", ""},
		{`over: [path, query, body], separator: ""`, "/pq=1b", ""},
		{`over: [timestamp, body], separator: ".", timestamp_header: X-Time`, "1767600000.b", "1767600000"},
		{`over: [timestamp], timestamp_header: X-Time, timestamp_format: unix_ms`, "1767600000005", "1767600000005"},
		{`over: [timestamp], timestamp_header: X-Time, timestamp_format: rfc3339`, "2026-01-05T08:00:00Z", "2026-01-05T08:00:00Z"},
		{`over: [body_sha256]`, "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d", ""},
	} {
		got := sign(t, "hmac: {secret: key, encoding: base64, "+c.keys+"}", request)
		want := sign(t, "hmac: {secret: key, encoding: base64}", Request{Body: []byte(c.text)})
		if got["X-Signature"] != want["X-Signature"] || got["X-Time"] != c.stamp {
			t.Errorf("%s: %v, want the signature of %q and the time %q", c.keys, got, c.text, c.stamp)
		}
	}
}

func TestASignatureAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector empties pools")
	}
	v, err := fetch(t, source(t, `hmac: {secret: key, over: [timestamp, method, target, body], timestamp_header: X-Time}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{Method: "POST", Host: []byte("h"), Target: []byte("/"), Body: []byte("b"), At: time.Now()}
	dst := make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(100, func() { _, err = v.Sign(dst, r) }); n > 0 || err != nil {
		t.Errorf("a signature allocates %v times, %v", n, err)
	}
}

func TestRequestsOfNetHTTPAreDressed(t *testing.T) {
	for _, c := range []struct{ text, url, header, value, query string }{
		{`bearer: {token: t}`, "http://h/?a=1", "Authorization", "Bearer t", "a=1"},
		{`api_key: {query: key, value: "a b"}`, "http://h/", "", "", "key=a+b"},
		{`api_key: {query: key, value: k}`, "http://h/?a=1", "", "", "a=1&key=k"},
		{`api_key: {query: key, value: k}`, "http://h/?a=1&key=k", "", "", "a=1&key=k"},
		{`api_key: {header: X-Own, value: k}`, "http://h/", "X-Own", "is there", ""},
	} {
		kept := New(Options{Source: source(t, c.text)})
		req := &http.Request{Method: "GET", Header: http.Header{"X-Own": {"is there"}}}
		req.URL, _ = url.Parse(c.url)
		if _, err := kept.Dress(req); err != ErrNone { //nolint:errorlint // it is that error
			t.Errorf("without a value: %v", err)
		}
		v, _ := fetch(t, kept.o.Source)
		kept.take(v, time.Now())
		if _, err := kept.Dress(req); err != nil || c.header != "" && req.Header.Get(c.header) != c.value || req.URL.RawQuery != c.query {
			t.Errorf("%s: %v, query %q, %v", c.text, req.Header, req.URL.RawQuery, err)
		}
	}
}
