package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/load"
)

// A givenSource is a source whose values a test makes.
type givenSource struct {
	next atomic.Pointer[credential.Value]
}

func (v *givenSource) Fetch(context.Context, *credential.Client) (*credential.Value, error) {
	if next := v.next.Load(); next != nil {
		fresh := *next
		return &fresh, nil
	}
	return nil, errors.New("none yet")
}

// give adds an entry of credentials to the rig, whose value is that; nil is none.
func (r *rig) give(name string, v *credential.Value, fields ...string) *credential.Credential {
	s := &givenSource{}
	s.next.Store(v)
	c := credential.New(credential.Options{Name: name, Source: s, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	r.t.Cleanup(func() {
		cancel()
		<-done
	})
	<-c.Tried()
	if r.credentials == nil {
		r.credentials = map[string]*credential.Definition{}
		r.env.Credentials = map[string]*credential.Credential{}
	}
	r.credentials[name] = &credential.Definition{Name: block.Text{S: name}, Source: s, Fields: fields}
	r.env.Credentials[name] = c
	return c
}

func TestRequestsHaveTheirCredential(t *testing.T) { overEach(t, testRequestsHaveTheirCredential) }

func testRequestsHaveTheirCredential(t *testing.T) {
	var got string
	base := serve(t, func(_ http.ResponseWriter, q *http.Request) {
		got = fmt.Sprintf("%s auth=%s key=%s", q.URL.RequestURI(), strings.Join(q.Header.Values("Authorization"), "+"), q.Header.Get("X-Key"))
	})
	elsewhere := serve(t, func(_ http.ResponseWriter, q *http.Request) { got = "elsewhere auth=" + q.Header.Get("Authorization") })
	r := newRig(t, base)
	r.give("token", &credential.Value{Header: []byte("Authorization: Bearer t\r\n")}, "Authorization")
	r.give("key", &credential.Value{Query: []byte("key=k")})
	r.give("other", &credential.Value{Header: []byte("X-Key: o\r\n")}, "X-Key")
	r.ofTarget = "token"
	for _, c := range []struct{ step, want string }{
		{`{url: /a}`, "/a auth=Bearer t key="},
		{`{url: /a, body: text}`, "/a auth=Bearer t key="},
		{`{url: "` + base + `/whole"}`, "/whole auth=Bearer t key="},
		{`{url: "` + elsewhere + `/"}`, "elsewhere auth="}, // the target's credential is for the target
		{`{url: "` + elsewhere + `/", credentials: token}`, "elsewhere auth=Bearer t"},
		{`{url: /a, credentials: none}`, "/a auth= key="},
		{`{url: /a, credentials: other}`, "/a auth= key=o"},
		{`{url: /a, headers: {authorization: mine}}`, "/a auth=mine key="},
		{`{url: /a, credentials: key}`, "/a?key=k auth= key="},
		{`{url: "/a?b=c", credentials: key}`, "/a?b=c&key=k auth= key="},
		{`{url: /a, query: {b: c}, credentials: key}`, "/a?b=c&key=k auth= key="},
	} {
		if call := r.get(c.step); call.Result.Cause != load.None || got != c.want {
			t.Errorf("%s arrives as %q, want %q (%v)", c.step, got, c.want, call.Err)
		}
	}
}

func TestRedirectsKeepACredentialToItsOrigin(t *testing.T) {
	overEach(t, testRedirectsKeepACredentialToItsOrigin)
}

func testRedirectsKeepACredentialToItsOrigin(t *testing.T) {
	var got []string
	note := func(q *http.Request) {
		got = append(got, fmt.Sprintf("%s %s", q.URL.RequestURI(), q.Header.Get("Authorization")+q.Header.Get("X-Signature")))
	}
	other := serve(t, func(_ http.ResponseWriter, q *http.Request) { note(q) })
	base := serve(t, func(w http.ResponseWriter, q *http.Request) {
		note(q)
		if to := q.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			code := 307
			fmt.Sscan(q.URL.Query().Get("code"), &code)
			w.WriteHeader(code)
		}
	})
	r := newRig(t, base)
	r.give("token", &credential.Value{Header: []byte("Authorization: t\r\n")}, "Authorization")
	r.give("key", &credential.Value{Query: []byte("key=k")})
	r.give("sign", &credential.Value{Sign: func(dst []byte, q *credential.Request) ([]byte, error) {
		return fmt.Appendf(dst, "X-Signature: %s %s %s %s\r\n", q.Method, q.Host, q.Target, q.Body), nil
	}}, "X-Signature")
	host := strings.TrimPrefix(base, "http://")
	for _, c := range []struct {
		step string
		want []string
	}{
		{`{url: "/?to=/b", credentials: token, redirects: 2}`, []string{"/?to=/b t", "/b t"}},
		{`{url: "/?to=` + other + `/b", credentials: token, redirects: 2}`, []string{"/?to=" + other + "/b t", "/b "}},
		{`{url: "/?to=/b", credentials: key, redirects: 2}`, []string{"/?to=/b&key=k ", "/b?key=k "}},
		{`{url: "/?to=/b%3Fc=1", credentials: key, redirects: 2}`, []string{"/?to=/b%3Fc=1&key=k ", "/b?c=1&key=k "}},
		{`{url: "/?to=/b%3Fkey=k", credentials: key, redirects: 2}`, []string{"/?to=/b%3Fkey=k&key=k ", "/b?key=k "}},
		{`{url: "/?to=` + other + `/b", credentials: key, redirects: 2}`, []string{"/?to=" + other + "/b&key=k ", "/b "}},
		{`{url: "/?to=/b", body: x, credentials: sign, redirects: 2}`, []string{"/?to=/b POST " + host + " /?to=/b x", "/b POST " + host + " /b x"}},
		{`{url: "/?code=303&to=/b", body: x, credentials: sign, redirects: 2}`, []string{"/?code=303&to=/b POST " + host + " /?code=303&to=/b x", "/b GET " + host + " /b"}},
		{`{url: "/?to=` + other + `/b", body: x, credentials: sign, redirects: 2}`, []string{"/?to=" + other + "/b POST " + host + " /?to=" + other + "/b x", "/b "}},
	} {
		got = nil
		if call := r.get(c.step); call.Result.Cause != load.None || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
			t.Errorf("%s arrives as\n%q, want\n%q (%v)", c.step, got, c.want, call.Err)
		}
	}
}

func TestBodiesAreSignedAsTheyAreSent(t *testing.T) { overEach(t, testBodiesAreSignedAsTheyAreSent) }

func testBodiesAreSignedAsTheyAreSent(t *testing.T) {
	var arrived bool
	base := serve(t, func(_ http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		arrived = len(body) > 0 && q.Header.Get("X-Length") == fmt.Sprint(len(body))
	})
	r := newRig(t, base)
	r.give("sign", &credential.Value{Sign: func(dst []byte, q *credential.Request) ([]byte, error) {
		n := int64(len(q.Body))
		if q.File != nil {
			n, _ = io.Copy(io.Discard, q.File)
		}
		return fmt.Appendf(dst, "X-Length: %d\r\n", n), nil
	}}, "X-Length")
	for _, step := range []string{
		`{url: /, credentials: sign, body: "vu ${vu}"}`,
		`{url: /, credentials: sign, json: {a: [1, 2]}}`,
		`{url: /, credentials: sign, form: {a: b}}`,
		`{url: /, credentials: sign, multipart: [{name: a, value: b}]}`,
		`{url: /, credentials: sign, file: "/etc/passwd"}`,
		`{url: /, credentials: sign, body: "` + strings.Repeat("x", scratchSpare+1) + `"}`,
	} {
		arrived = false
		if call := r.get(step); call.Result.Cause != load.None || !arrived {
			t.Errorf("%.80s: cause %v, %v; the body is not what was signed", step, call.Result.Cause, call.Err)
		}
	}
	failing := newRig(t, base)
	failing.give("sign", &credential.Value{Sign: func(dst []byte, _ *credential.Request) ([]byte, error) { return dst, errors.New("no key") }})
	if call := failing.get(`{url: /, credentials: sign}`); call.Result.Cause != load.Internal {
		t.Errorf("without a signature: cause %v, %v", call.Result.Cause, call.Err)
	}
}

func TestWithoutACredentialNothingIsSent(t *testing.T) {
	var requests atomic.Int64
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(401)
	})
	r := newRig(t, base)
	r.give("down", nil, "Authorization")
	r.give("up", &credential.Value{Header: []byte("Authorization: a\r\n")}, "Authorization")
	call := r.get(`{url: /, credentials: down}`)
	if call.Result.Cause != load.NoCredential || !errors.Is(call.Err, credential.ErrNone) || !strings.Contains(call.Err.Error(), "down") || requests.Load() > 0 {
		t.Errorf("cause %v, %v, %d requests", call.Result.Cause, call.Err, requests.Load())
	}
	if d := call.Result.Duration(); d != 0 {
		t.Errorf("a request that was not sent took %d ns", d)
	}
	r.credentials["unknown"] = r.credentials["up"] // that the run does not have
	if call := r.get(`{url: /, credentials: unknown}`); call.Result.Cause != load.NoCredential {
		t.Errorf("cause %v, %v", call.Result.Cause, call.Err)
	}
	if call := r.get(`{url: /, credentials: up}`); call.Result.Code != 401 || requests.Load() != 1 {
		t.Errorf("code %d, %v", call.Result.Code, call.Err)
	}
}

func TestACredentialAllocatesNothing(t *testing.T) {
	r := newRig(t, raw(t, func(c net.Conn) {
		p, answer := make([]byte, 4096), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
		for {
			if n, err := c.Read(p); err != nil || n == 0 {
				return
			}
			c.Write(answer)
		}
	}))
	r.give("token", &credential.Value{Header: []byte("Authorization: Bearer " + strings.Repeat("x", 1000) + "\r\n")}, "Authorization")
	r.give("key", &credential.Value{Query: []byte("key=k")})
	r.give("sign", &credential.Value{Sign: func(dst []byte, q *credential.Request) ([]byte, error) {
		if !bytes.HasPrefix(q.Target, []byte("/")) || len(q.Host) == 0 {
			return dst, errors.New("no request")
		}
		return append(dst, "X-Signature: x\r\n"...), nil
	}})
	for _, name := range []string{"token", "key", "sign"} {
		s := r.step(`{url: /, credentials: ` + name + `}`)
		r.do(s, 5*time.Second)
		if n := testing.AllocsPerRun(200, func() { r.do(s, 5*time.Second) }); n > 0 {
			t.Errorf("%s: a request allocates %v times, want 0", name, n)
		}
	}
	r.vu.Close()
}
