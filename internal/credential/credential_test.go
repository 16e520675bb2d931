package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var kinds = []Kind{OAuth2, Login, Bearer, Basic, APIKey, SigV4, HMAC}

// define decodes an entry.
func define(text, dir string) (*Definition, error) {
	var errs block.Errors
	d := &Definition{Name: block.Text{S: "test"}}
	block.Decode(block.Parse("test.yaml", []byte(text), &errs), d, &errs)
	d.Decode(kinds, dir, new(wire.Guard).CheckHost, &errs)
	return d, errs.Err()
}

func source(t *testing.T, text string) Source {
	t.Helper()
	d, err := define(text, t.TempDir())
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d.Source
}

// fetch fetches one value over real sockets.
func fetch(t *testing.T, s Source) (*Value, error) {
	t.Helper()
	return s.Fetch(t.Context(), NewClient(s, ClientOptions{UserAgent: "perfd/test"}))
}

// An asked is what a token server was asked.
type asked struct {
	basic  string
	form   string
	header http.Header
	body   string
}

// tokens serves answers, one after the other and the last for ever, and keeps what was asked.
func tokens(t *testing.T, answers ...string) (url string, all func() []asked) {
	t.Helper()
	var mu sync.Mutex
	var list []asked
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a := asked{body: string(body), header: r.Header}
		if user, password, ok := r.BasicAuth(); ok {
			a.basic = user + ":" + password
		}
		a.form = string(body)
		mu.Lock()
		answer := answers[min(len(list), len(answers)-1)]
		list = append(list, a)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		status := 200
		if _, err := fmt.Sscanf(answer, "%d ", &status); err == nil {
			_, answer, _ = strings.Cut(answer, " ")
		}
		w.WriteHeader(status)
		io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []asked {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}
}

func TestGrants(t *testing.T) {
	for _, c := range []struct{ name, keys, answer, basic, form, header string }{
		{
			"client credentials", `client_id: "a b", client_secret: "s:1"`, `{"access_token":"t1","token_type":"bearer","expires_in":20}`,
			"a+b:s%3A1", "grant_type=client_credentials", "Authorization: Bearer t1\r\n",
		},
		{
			"scopes, parameters and credentials in the body", `client_id: a, client_secret: s, client_auth: body, scopes: [read, write], params: {audience: "https://api"}`,
			`{"access_token":"t2","expires_in":20}`, "", "audience=https%3A%2F%2Fapi&client_id=a&client_secret=s&grant_type=client_credentials&scope=read+write", "Authorization: Bearer t2\r\n",
		},
		{
			"password", `grant: password, client_id: a, client_secret: s, username: u@x, password: "p&q"`, `{"access_token":"t3","token_type":"Bearer","expires_in":20}`,
			"a:s", "grant_type=password&password=p%26q&username=u%40x", "Authorization: Bearer t3\r\n",
		},
		{
			"password of a public client", `grant: password, username: u, password: p`, `{"access_token":"t4","expires_in":"20"}`,
			"", "grant_type=password&password=p&username=u", "Authorization: Bearer t4\r\n",
		},
		{
			"refresh token", `grant: refresh_token, client_id: a, client_secret: s, refresh_token: r0`, `{"access_token":"t5","expires_in":20,"refresh_token":"r1"}`,
			"a:s", "grant_type=refresh_token&refresh_token=r0", "Authorization: Bearer t5\r\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, all := tokens(t, c.answer)
			s := source(t, "oauth2: {token_url: "+url+", "+c.keys+"}")
			v, err := fetch(t, s)
			if err != nil {
				t.Fatal(err)
			}
			got := all()[0]
			if string(v.Header) != c.header || got.basic != c.basic || got.form != c.form || got.header.Get("User-Agent") != "perfd/test" {
				t.Errorf("header %q, basic %q, form %q of %q; want %q, %q, %q", v.Header, got.basic, got.form, got.header.Get("User-Agent"), c.header, c.basic, c.form)
			}
			if v.Lifetime > 20*time.Second || v.Lifetime < 19*time.Second {
				t.Errorf("lifetime %s, want 20s less what the request took", v.Lifetime)
			}
			if strings.Contains(c.keys, "refresh_token: r0") {
				if _, err := fetch(t, s); err != nil || all()[1].form != "grant_type=refresh_token&refresh_token=r1" || !slices.Contains(v.Secrets, "r1") {
					t.Errorf("then %q, %v; secrets %q; want the refresh token that came", all()[1].form, err, v.Secrets)
				}
			}
		})
	}
}

func TestGrantsThatFail(t *testing.T) {
	for _, c := range []struct{ answer, reason, text string }{
		{`401 {"error":"invalid_client","error_description":"unknown client"}`, "status", "status 401: invalid_client (unknown client)"},
		{`503 down`, "status", "status 503"},
		{`302 {}`, "status", "status 302"},
		{`{"token":"x"}`, "extract", "server response missing access_token"},
		{`<html>`, "extract", "cannot parse json"},
		{`{"access_token":"a\r\nX-Evil: 1","expires_in":9}`, "extract", "holds a line end"},
		{`{"access_token":"a","expires_in":-5}`, "extract", "expired"},
		{`200 {"error":"slow_down"}`, "status", "slow_down"},
	} {
		url, all := tokens(t, c.answer)
		_, err := fetch(t, source(t, "oauth2: {token_url: "+url+", client_id: a}"))
		if err == nil || reasonOf(err) != c.reason || !strings.Contains(err.Error(), c.text) || len(all()) != 1 {
			t.Errorf("%s: %v after %d requests, want reason %s and %q after one", c.answer, err, len(all()), c.reason, c.text)
		}
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	_, err := fetch(t, source(t, `oauth2: {token_url: "`+closed.URL+`/?key=sesame", client_id: a}`))
	if err == nil || reasonOf(err) != "refused" || strings.Contains(err.Error(), "sesame") {
		t.Errorf("without a server: %v, want it refused, without the address", err)
	}
	if _, err := fetch(t, source(t, `login: {url: "`+closed.URL+`/?key=sesame", token: json.t}`)); err == nil || reasonOf(err) != "refused" || strings.Contains(err.Error(), "sesame") {
		t.Errorf("a login without a server: %v", err)
	}
}

func TestTheWayOutIsGuarded(t *testing.T) {
	var errs block.Errors
	d := &Definition{Name: block.Text{S: "test"}}
	block.Decode(block.Parse("test.yaml", []byte(`oauth2: {token_url: "http://192.0.2.1/t", client_id: a}`), &errs), d, &errs)
	d.Decode(kinds, "", nil, &errs) // nobody checks the name
	_, err := fetch(t, d.Source)
	if err == nil || reasonOf(err) != "guard" {
		t.Errorf("a token from an address that is not allowed: %v", err)
	}
}

func TestRedirectsCarryNothing(t *testing.T) {
	reached := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		srv := httptest.NewServer(http.RedirectHandler(other.URL, code))
		for _, text := range []string{"oauth2: {token_url: " + srv.URL + ", client_id: a, client_secret: b}", "login: {url: " + srv.URL + ", token: json.t, body: secret}"} {
			if _, err := fetch(t, source(t, text)); err == nil {
				t.Errorf("%d: %s has a token", code, text)
			}
		}
		srv.Close()
	}
	if reached > 0 {
		t.Errorf("%d redirects were followed", reached)
	}
}

func TestLogins(t *testing.T) {
	for _, c := range []struct {
		keys, answer, body, contentType, header string
		lifetime                                time.Duration
	}{
		{`json: {user: a, password: p}, token: json.token`, `{"token":"t"}`, `{"user":"a","password":"p"}`, "application/json", "Authorization: Bearer t\r\n", 10 * time.Minute},
		{`form: {user: "a b", password: "p&q"}, token: "json.data[0].token", expires_in: json.ttl`, `{"data":[{"token":"t"}],"ttl":7}`, "user=a+b&password=p%26q", "application/x-www-form-urlencoded", "Authorization: Bearer t\r\n", 7 * time.Second},
		{`body: "x $${y}", headers: {Content-Type: text/plain}, token: json.id, header: X-Session, lifetime: 1m`, `{"id":12345}`, "x ${y}", "text/plain", "X-Session: 12345\r\n", time.Minute},
		{`method: PUT, token: header("X-Token"), prefix: "Token "`, `{}`, "", "", "Authorization: Token of-a-header\r\n", 10 * time.Minute},
		{`expect: status == 201, token: json.t, expires_in: json.e`, `201 {"t":"u","e":"1.5"}`, "", "", "Authorization: Bearer u\r\n", 1500 * time.Millisecond},
	} {
		var body, contentType string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			body, contentType = string(text), r.Header.Get("Content-Type")
			w.Header().Set("X-Token", "of-a-header")
			answer := c.answer
			if rest, ok := strings.CutPrefix(answer, "201 "); ok {
				w.WriteHeader(201)
				answer = rest
			}
			io.WriteString(w, answer)
		}))
		v, err := fetch(t, source(t, "login: {url: "+srv.URL+"/login, "+c.keys+"}"))
		srv.Close()
		if err != nil {
			t.Errorf("%s: %v", c.keys, err)
			continue
		}
		if body != c.body || contentType != c.contentType || string(v.Header) != c.header || v.Lifetime != c.lifetime {
			t.Errorf("%s: body %q as %q, header %q for %s; want %q as %q, %q for %s", c.keys, body, contentType, v.Header, v.Lifetime, c.body, c.contentType, c.header, c.lifetime)
		}
	}
}

func TestLoginsThatFail(t *testing.T) {
	for _, c := range []struct{ keys, answer, reason, text string }{
		{`token: json.token`, `403 {"token":"t"}`, "status", "status 403"},
		{`token: json.token`, `{"other":1}`, "extract", "token: json.token"},
		{`token: json.token`, `{"token":""}`, "extract", "is empty"},
		{`token: json.token, expires_in: json.e`, `{"token":"t","e":"soon"}`, "extract", "expires_in: is not a number"},
		{`token: json.token, expires_in: json.e`, `{"token":"t"}`, "extract", "expires_in: json.e"},
		{`token: json.token, expect: json.ok == true`, `{"token":"t","ok":false}`, "status", "expect does not hold"},
		{`token: json.token`, `{"token":"a\nb"}`, "extract", "line end"},
	} {
		url, _ := tokens(t, c.answer)
		_, err := fetch(t, source(t, "login: {url: "+url+", "+c.keys+"}"))
		if err == nil || reasonOf(err) != c.reason || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s of %s: %v, want reason %s and %q", c.keys, c.answer, err, c.reason, c.text)
		}
	}
}

func TestFixedValues(t *testing.T) {
	for _, c := range []struct{ text, header, query string }{
		{`basic: {username: Aladdin, password: "open sesame"}`, "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n", ""}, // RFC 7617 section 2
		{`basic: {username: test, password: "123£"}`, "Authorization: Basic dGVzdDoxMjPCow==\r\n", ""},                       // section 2.1
		{`bearer: {token: mF_9.B5f-4.1JqM}`, "Authorization: Bearer mF_9.B5f-4.1JqM\r\n", ""},
		{`api_key: {header: X-Api-Key, value: k}`, "X-Api-Key: k\r\n", ""},
		{`api_key: {query: "api key", value: "a&b"}`, "", "api+key=a%26b"},
	} {
		v, err := fetch(t, source(t, c.text))
		if err != nil || string(v.Header) != c.header || string(v.Query) != c.query || v.Lifetime != 0 {
			t.Errorf("%s: %q, %q, %v; want %q, %q", c.text, v.Header, v.Query, err, c.header, c.query)
		}
	}
}

func TestATokenFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	s := source(t, "bearer: {token_file: "+path+"}")
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Name: "test", Source: s, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.Run(ctx)
		is := func(want string) {
			t.Helper()
			time.Sleep(readEvery + leastWait)
			if v := c.Value(); v == nil || string(v.Header) != "Authorization: Bearer "+want+"\r\n" {
				t.Errorf("the value is %v, want that of %q", v, want)
			}
		}
		is("one")
		write("two")
		is("two")
		write("")
		is("two") // an empty file is a failure, and the token before may still be good
		if st := c.Status(); st.Failures["file"] == 0 || st.Fault == nil || !st.Up {
			t.Errorf("an empty file: %+v", st)
		}
		write("three")
		time.Sleep(mostWait)
		is("three")
		cancel()
		synctest.Wait()
		if c.Value() != nil {
			t.Error("after its end there is a value")
		}
	})
}

func TestWrongEntries(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{}`, "has 0 kinds"},
		{`{basic: {username: a, password: bbb}, bearer: {token: x}}`, "has 2 kinds"},
		{`text`, "must be a mapping"},
		{`oauth: {}`, `did you mean "oauth2"`},
		{`oauth2: {client_id: a}`, "token_url"},
		{`oauth2: {token_url: login.example.com, client_id: a}`, "must be an address"},
		{`oauth2: {token_url: "http://10.0.0.1/", client_id: a}`, "is not allowed"},
		{`oauth2: {token_url: "http://u:p@127.0.0.1/", client_id: a}`, "must not hold a user"},
		{`oauth2: {token_url: "http://127.0.0.1/", grant: pasword, client_id: a}`, `did you mean "password"`},
		{`oauth2: {token_url: "http://127.0.0.1/"}`, "needs client_id"},
		{`oauth2: {token_url: "http://127.0.0.1/", grant: password, username: u}`, "needs password"},
		{`oauth2: {token_url: "http://127.0.0.1/", grant: refresh_token}`, "needs refresh_token"},
		{`oauth2: {token_url: "http://127.0.0.1/", client_id: a, username: u}`, "belongs to grant password"},
		{`oauth2: {token_url: "http://127.0.0.1/", client_id: a, params: {scope: x}}`, "has a key of its own"},
		{`oauth2: {token_url: "http://127.0.0.1/", client_id: a, client_auth: basic}`, "must be header or body"},
		{`oauth2: {token_url: "http://127.0.0.1/", client_id: a, timeout: 0s}`, "more than 0"},
		{`oauth2: {token_url: "http://127.0.0.1/", client_id: a, tls: {cert_file: a}}`, "tls.cert_file: needs key_file"},
		{`oauth2: {token_url: "http://127.0.0.1/", client_id: a, proxy_url: "http://10.0.0.1"}`, "is not allowed"},
		{`login: {token: json.t}`, "url"},
		{`login: {url: "http://127.0.0.1/"}`, "token"},
		{`login: {url: "http://127.0.0.1/", token: json.t, body: a, json: {b: c}}`, "one body"},
		{`login: {url: "http://${host}/", token: json.t}`, "must not hold ${…}"},
		{`login: {url: "http://127.0.0.1/", token: json.t, header: "a b"}`, "is not a header's name"},
		{`login: {url: "http://127.0.0.1/", token: json.t, header: Cookie}`, "written by perfd itself"},
		{`login: {url: "http://127.0.0.1/", token: json.t, json: {a: "${user}"}}`, "user"},
		{`login: {url: "http://127.0.0.1/", token: "status = 200"}`, "token"},
		{`basic: {username: "a:b", password: ccc}`, "colon"},
		{`bearer: {}`, "either a token or a token_file"},
		{`bearer: {token: a, token_file: b}`, "either a token or a token_file"},
		{`bearer: {token: "a\nb"}`, "line ends"},
		{`api_key: {value: k}`, "either a header or a query"},
		{`api_key: {header: "X Y", value: k}`, "is not a header's name"},
		{`api_key: {header: X, value: ""}`, "must not be empty"},
		{`aws_sigv4: {region: eu-central-1, service: s3}`, "access_key"},
		{`aws_sigv4: {region: "eu central", service: s3, access_key: a, secret_key: b}`, "one word"},
		{`hmac: {}`, "secret"},
		{`hmac: {secret: s, algorithm: md5}`, "sha256, sha512 or sha1"},
		{`hmac: {secret: s, over: [verb]}`, "is no part"},
		{`hmac: {secret: s, over: [timestamp]}`, "timestamp_header"},
		{`hmac: {secret: s, over: []}`, "must have a part"},
	} {
		_, err := define(c.text, t.TempDir())
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "test.yaml:1:") {
			t.Errorf("%s: %v, want %q with its place", c.text, err, c.want)
		}
	}
}

// A script is a source for fake time: each fetch takes a time and gives a lifetime, or fails.
type script struct {
	lifetime, takes time.Duration
	down            func(n int, since time.Duration) bool
	err             error

	began time.Time
	at    []time.Duration
	n     int
}

func (s *script) Fetch(ctx context.Context, _ *Client) (*Value, error) {
	since := time.Since(s.began)
	s.at = append(s.at, since)
	if s.takes > 0 {
		time.Sleep(s.takes)
	}
	if s.down != nil && s.down(len(s.at), since) {
		return nil, s.err
	}
	s.n++
	return &Value{Header: []byte(fmt.Sprint(s.n)), Lifetime: s.lifetime, Secrets: []string{fmt.Sprint("token ", s.n)}}, nil
}

// keep runs a credential of a script for a while, and calls look every 50 ms.
func keep(t *testing.T, s *script, while time.Duration, look func(c *Credential, since time.Duration)) (*Credential, string) {
	t.Helper()
	var log strings.Builder
	s.began = time.Now()
	c := New(Options{Name: "test", Source: s, Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	<-c.Tried()
	for time.Since(s.began) < while {
		look(c, time.Since(s.began))
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	<-done
	return c, log.String()
}

func TestAValueIsRenewedBeforeItExpires(t *testing.T) {
	for _, c := range []struct{ lifetime, takes time.Duration }{
		{20 * time.Second, 0}, {20 * time.Second, 3 * time.Second}, {2 * time.Second, 10 * time.Millisecond}, {time.Hour, time.Second}, {time.Second, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{lifetime: c.lifetime, takes: c.takes}
			keep(t, s, min(20*c.lifetime, 4*time.Hour), func(k *Credential, since time.Duration) {
				if k.Value() == nil {
					t.Errorf("lifetime %s: there is no value after %s", c.lifetime, since)
				}
			})
			var shares []float64
			for i := 1; i < len(s.at); i++ {
				shares = append(shares, float64(s.at[i]-s.at[i-1])/float64(c.lifetime))
			}
			if slices.Min(shares) < renewFrom-1e-6 || slices.Max(shares) > renewTo+1e-6 {
				t.Errorf("lifetime %s: values are renewed after %v of it", c.lifetime, shares)
			}
			if len(shares) > 5 && slices.Max(shares)-slices.Min(shares) < 0.01 {
				t.Errorf("lifetime %s: there is no jitter: %v", c.lifetime, shares)
			}
		})
	}
}

func TestAnEndpointThatIsDown(t *testing.T) {
	down := &Error{Reason: "status", Text: "status 503"}
	synctest.Test(t, func(t *testing.T) {
		s := &script{down: func(int, time.Duration) bool { return true }, err: down}
		c, log := keep(t, s, time.Hour, func(*Credential, time.Duration) {})
		// Doubled up to half a minute and jittered down to half of that: between 120 and 250 in an hour.
		if n := len(s.at); n < 120 || n > 250 {
			t.Errorf("%d requests in an hour", n)
		}
		for i := 1; i < len(s.at); i++ {
			if s.at[i]-s.at[i-1] < leastWait {
				t.Errorf("request %d comes %s after the one before", i, s.at[i]-s.at[i-1])
			}
		}
		if n := strings.Count(log, "\n"); n < 2 || n > 61 || strings.Count(log, "reason=status") != n {
			t.Errorf("%d lines in an hour:\n%s", n, log)
		}
		if st := c.Status(); st.Up || st.Failures["status"] != uint64(len(s.at)) || st.Fetches != uint64(len(s.at)) || !errors.Is(st.Fault, down) {
			t.Errorf("%+v after %d requests", st, len(s.at))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &script{down: func(int, time.Duration) bool { return true }, err: &Error{Reason: "status", Text: "status 429", Asked: 3 * time.Minute}}
		keep(t, s, time.Hour, func(*Credential, time.Duration) {})
		if n := len(s.at); n < 20 || n > 21 {
			t.Errorf("%d requests in an hour to an endpoint that asks for three minutes", n)
		}
	})
}

func TestAnOldValueIsUsedUntilItExpires(t *testing.T) {
	for _, c := range []struct {
		from, to time.Duration // the endpoint is down
		without  bool          // for some of that time there is no value
	}{
		{10 * time.Second, 17 * time.Second, false},
		{5 * time.Second, 14 * time.Second, false},
		{10 * time.Second, 40 * time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{
				lifetime: 20 * time.Second, err: context.DeadlineExceeded,
				down: func(_ int, at time.Duration) bool { return at >= c.from && at < c.to },
			}
			without := time.Duration(0)
			k, log := keep(t, s, 2*time.Minute, func(k *Credential, since time.Duration) {
				if k.Value() != nil {
					return
				}
				without += 50 * time.Millisecond
				if since < 18900*time.Millisecond {
					t.Errorf("there is no value after %s, when that of 20s is good", since)
				}
			})
			// It comes back within the wait that was doubled meanwhile.
			if (without > 0) != c.without || without > c.to-19*time.Second+mostWait+100*time.Millisecond {
				t.Errorf("down from %s to %s: %s without a value", c.from, c.to, without)
			}
			if k.Status().Failures["timeout"] > 0 != strings.Contains(log, "reason=timeout") {
				t.Errorf("%+v, and the log is %s", k.Status(), log)
			}
			if strings.Contains(log, "not fetched") != strings.Contains(log, "fetched again") {
				t.Errorf("the end of it is not logged: %s", log)
			}
		})
	}
}

func TestAValueThatATargetRefusesIsRenewedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{lifetime: time.Hour}
		refused := 0
		k, _ := keep(t, s, 10*time.Minute, func(c *Credential, since time.Duration) {
			if since > 5*time.Minute {
				refused++
				c.Refused(c.Value())
			}
		})
		// Refused twenty times a second for five minutes, it is asked for every 10 to 15 s.
		if n := len(s.at); refused < 5000 || n < 20 || n > 32 {
			t.Errorf("%d requests after %d refusals in five minutes", n, refused)
		}
		if s.at[1] < 5*time.Minute || s.at[1] > 5*time.Minute+time.Second {
			t.Errorf("the first refusal is answered after %s", s.at[1])
		}
		k.Refused(nil)
		(*Credential)(nil).Refused(nil)
	})
}

func TestSecretsAreToldBeforeTheyAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var c *Credential
		c = New(Options{Name: "test", Source: &script{lifetime: time.Minute, began: time.Now()}, Log: slog.New(slog.DiscardHandler), Secret: func(text string) {
			if v := c.Value(); v != nil && slices.Contains(v.Secrets, text) {
				t.Errorf("%q is in use before it is told", text)
			}
			told = append(told, text)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.Run(ctx)
		time.Sleep(100 * time.Second)
		cancel()
		synctest.Wait()
		if !slices.Equal(told, []string{"token 1", "token 2", "token 3"}) {
			t.Errorf("told were %q", told)
		}
	})
}

func TestLifetimesBeyondAllBounds(t *testing.T) {
	for _, answer := range []string{`{"t":"x","e":1e300}`, `{"t":"x","e":99999999999999}`} {
		url, _ := tokens(t, answer)
		v, err := fetch(t, source(t, "login: {url: "+url+", token: json.t, expires_in: json.e}"))
		if err != nil || v.Lifetime != longestLifetime || nextAfter(v, 0) < 100*24*time.Hour {
			t.Errorf("%s: lifetime %v, %v", answer, v, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "0", "NaN", "-Inf"} {
		if d := secondsOf(text); d != 0 {
			t.Errorf("%q is %s", text, d)
		}
	}
	var none *Credential
	if none.Value() != nil {
		t.Error("no credential has a value")
	}
}

func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{`{"access_token":"a","expires_in":1}`, `{}`, `access_token=a`, "\x00", `{"access_token":"a\u0000","expires_in":"-9"}`} {
		f.Add(seed, "application/json", 200)
		f.Add(seed, "application/x-www-form-urlencoded", 400)
	}
	f.Fuzz(func(t *testing.T, body, contentType string, status int) {
		if status < 200 || status > 599 {
			return
		}
		by := &Client{http: &http.Client{Transport: answering(func(r *http.Request) *http.Response {
			return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
		}), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		for _, text := range []string{"oauth2: {token_url: \"http://127.0.0.1/\", client_id: a}", "login: {url: \"http://127.0.0.1/\", token: json.access_token, expires_in: json.expires_in}"} {
			d, err := define(text, "")
			if err != nil {
				t.Fatal(err)
			}
			v, err := d.Source.Fetch(context.Background(), by)
			if err != nil {
				if reasonOf(err) == "" {
					t.Errorf("%v has no reason", err)
				}
				continue
			}
			if v.Lifetime <= 0 || strings.Count(string(v.Header), "\n") != 1 || strings.ContainsRune(string(v.Header), 0) {
				t.Errorf("%q for %s", v.Header, v.Lifetime)
			}
		}
	})
}

type answering func(*http.Request) *http.Response

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }
