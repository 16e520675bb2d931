package target

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// serve runs a server until the test ends, without a watch's connections to it.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// once makes each read of a watch once, and returns their errors.
func once(t *testing.T, w *Watch) []error {
	t.Helper()
	defer w.client.closeIdle()
	var errs []error
	for _, r := range w.reads {
		errs = append(errs, r.do(t.Context()))
	}
	return errs
}

func configOf(t *testing.T, address, text string) *Config {
	t.Helper()
	c := config(t, text)
	c.URL.S = address
	return c
}

func TestServersNegotiateTheFormat(t *testing.T) {
	for _, offered := range [][]expfmt.FormatType{
		{expfmt.TypeTextPlain},
		{expfmt.TypeOpenMetrics},
		{expfmt.TypeProtoDelim},
		{expfmt.TypeTextPlain, expfmt.TypeOpenMetrics, expfmt.TypeProtoDelim},
	} {
		var chosen expfmt.FormatType
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			format := expfmt.FmtText
			if n := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...); slices.Contains(offered, n.FormatType()) {
				format = n
			} else if !slices.Contains(offered, expfmt.TypeTextPlain) {
				format = expfmt.NewFormat(offered[0]) // it has nothing else
			}
			chosen = format.FormatType()
			w.Header().Set("Content-Type", string(format))
			_, _ = w.Write([]byte(exposed(t, format)))
		})
		var samples []string
		w := NewWatch(Options{
			Config: configOf(t, address, "resources: [{name: heap, kind: memory, scrape: /metrics, metric: heap_bytes, member: area}]"),
			Sample: func(s load.Sample) { samples = append(samples, fmt.Sprint(s.Member, " ", s.Last)) },
		})
		for _, err := range once(t, w) {
			if err != nil {
				t.Errorf("%v: %v", offered, err)
			}
		}
		if diff := cmp.Diff([]string{"x 1.5e+09", "y -3"}, samples); diff != "" {
			t.Errorf("%v (-want +got):\n%s", offered, diff)
		}
		if len(offered) > 1 && chosen != expfmt.TypeOpenMetrics {
			t.Errorf("of all formats, %v was chosen, want OpenMetrics", chosen)
		}
	}
}

func TestAPrometheusIsAsked(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/query" || r.FormValue("time") != "" {
			t.Errorf("asked for %s", r.URL)
		}
		if q := r.FormValue("query"); q != `a{pod=~"shop-.*"}` {
			http.Error(w, `{"status":"error","errorType":"bad_data","error":"1:3: parse error"}`, 400)
			return
		}
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[`+
			`{"metric":{"pod":"shop-1"},"value":[1,"11"]},{"metric":{"pod":"shop-0"},"value":[1,"10"]},{"metric":{"pod":"shop-2"},"value":[1,"NaN"]}]}}`)
	})
	var samples []string
	w := NewWatch(Options{
		Config: config(t, fmt.Sprintf(`
resources:
  - {name: pods, kind: memory, prometheus: %q, query: 'a{pod=~"shop-.*"}', member: pod}
  - {name: sum, kind: memory, prometheus: %q, query: 'a{pod=~"shop-.*"}'}
  - {name: bad, kind: memory, prometheus: %q, query: 'sum('}
`, address, address, address)),
		Sample: func(s load.Sample) { samples = append(samples, fmt.Sprint(s.Resource, " ", s.Member, " ", s.Last)) },
	})
	var wrong []string
	for _, err := range once(t, w) {
		wrong = append(wrong, fmt.Sprint(err))
	}
	want := []string{
		"<nil>",
		"resource sum: 3 series found where one is wanted: let the query give one, as sum does, or tell them apart with member: LABEL",
		"resource bad: prometheus says bad_data: 1:3: parse error",
	}
	if diff := cmp.Diff(want, wrong); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"pods shop-0 10", "pods shop-1 11"}, samples); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

// TestConnections holds that pages are read on a connection that stays while the
// release is read on one of its own.
func TestConnections(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"v":"v1","status":"error","error":"x"}`) }
	at, err := url.Parse(serve(t, handler))
	if err != nil {
		t.Fatal(err)
	}
	var dialled []string
	w := NewWatch(Options{
		Config: configOf(t, "http://shop.invalid:"+at.Port(), fmt.Sprintf(`
release: {url: /version, json: v}
resources:
  - {name: a, kind: memory, scrape: /metrics, metric: a}
  - {name: b, kind: memory, prometheus: "http://prometheus.invalid:%s", query: a}
`, at.Port())),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, strings.TrimSuffix(address, ".invalid:"+at.Port()))
			return new(net.Dialer).DialContext(ctx, network, at.Host)
		},
	})
	defer w.client.closeIdle()
	for i, c := range []struct{ what, want string }{
		{"three reads of the release", "shop shop shop"}, {"three reads of a page", "shop"}, {"three queries", "prometheus"},
	} {
		for range 3 {
			_ = w.reads[i].do(t.Context()) // what it makes of the answer is no matter here
		}
		if got := strings.Join(dialled, " "); got != c.want {
			t.Errorf("%s: connections to %q, want %q", c.what, got, c.want)
		}
		dialled = nil
	}
}

// TestTheGuardOfLoadHoldsForWatches reads each thing that a watch reads at places
// that the guard refuses, some of which only the resolved address gives away.
func TestTheGuardOfLoadHoldsForWatches(t *testing.T) {
	dialer := wire.NewDialer(wire.DialerOptions{
		Guard: wire.Guard{Hosts: []string{"*.staging.example.com"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			return []netip.Addr{map[string]netip.Addr{
				"linklocal.staging.example.com": netip.MustParseAddr("169.254.169.254"),
				"mapped.staging.example.com":    netip.MustParseAddr("::ffff:169.254.169.254"),
				"outside.staging.example.com":   netip.MustParseAddr("192.0.2.1"),
			}[host]}, nil
		},
	})
	for _, c := range []struct{ at, want string }{
		{"http://0.0.0.0:1", "0.0.0.0 is not allowed: it is not the address of one host"},
		{"http://169.254.169.254", "169.254.169.254 is not allowed: perfd sends nothing to link-local addresses"},
		{"https://[fd00:ec2::254]", "fd00:ec2::254 is not allowed: perfd sends nothing to addresses of cloud metadata"},
		{"http://192.0.2.1:9090", "192.0.2.1 is not allowed: no network of safety.allowed_networks contains it"},
		{"http://prometheus.example.com", "prometheus.example.com is not allowed: no pattern of safety.allowed_hosts matches it"},
		{"https://linklocal.staging.example.com", "169.254.169.254 is not allowed: perfd sends nothing to link-local addresses"},
		{"http://mapped.staging.example.com", "169.254.169.254 is not allowed: perfd sends nothing to link-local addresses"},
		{"http://outside.staging.example.com", "192.0.2.1 is not allowed: no network of safety.allowed_networks contains it"},
	} {
		w := NewWatch(Options{Dial: dialer.DialContext, Config: config(t, fmt.Sprintf(`
release: {url: "%[1]s/version", json: v}
resources:
  - {name: a, kind: memory, scrape: "%[1]s/metrics", metric: a}
  - {name: b, kind: memory, prometheus: "%[1]s", query: a}
`, c.at))})
		for _, err := range once(t, w) {
			if faultOf(err) != notAllowed || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("%s: error %v of kind %s, want %s", c.at, err, faultNames[faultOf(err)], c.want)
			}
		}
	}
}

// TestOtherHostsAreTrustedButShownNoCertificate has a target and a Prometheus whose
// certificates are of one private authority.
func TestOtherHostsAreTrustedButShownNoCertificate(t *testing.T) {
	shown := map[string]int{} // certificates, by the name that was asked for
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown[r.Host] += len(r.TLS.PeerCertificates)
		fmt.Fprint(w, `{"v":"v1","status":"error","error":"x"}`)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	certificate, key := pairOf(t, s)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	own, other := "example.com:"+port, "127.0.0.1:"+port
	c := configOf(t, "https://"+own, fmt.Sprintf(`
release: {url: /version, json: v}
resources: [{name: b, kind: memory, prometheus: "https://%s", query: a}]
`, other))
	dir := t.TempDir()
	c.Client = &protocol.Client{TLS: open(t, wire.TLSOptions{
		CAFile: write(t, dir, "ca.pem", certificate), CertFile: write(t, dir, "cert.pem", certificate), KeyFile: write(t, dir, "key.pem", key),
	})}
	w := NewWatch(Options{Config: c, Dial: wire.NewDialer(wire.DialerOptions{
		Guard: wire.Guard{Hosts: []string{"example.com"}},
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	}).DialContext})
	errs := once(t, w)
	if errs[0] != nil || faultOf(errs[1]) != unreadable && faultOf(errs[1]) != badStatus {
		t.Errorf("errors %v, want an answer to both", errs)
	}
	if n, asked := shown[other]; shown[own] != 1 || n != 0 || !asked {
		t.Errorf("certificates shown %v, want one to the target and none to the other", shown)
	}
}

// TestTheHeaderOfLoadIsForTheTargetsHost reads on the target, on another port of its
// host, from another host, and after redirects.
func TestTheHeaderOfLoadIsForTheTargetsHost(t *testing.T) {
	const token, none = "Bearer sesame", ""
	type seen struct{ auth, key, host, agent, accept string }
	var last *seen
	note := func(r *http.Request) {
		last = &seen{r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"), r.Host, r.Header.Get("User-Agent"), r.Header.Get("Accept")}
		if r.Header.Get("Referer") != "" || r.Header.Get("X-Perfd") != "watch" || r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s: header %v", r.URL, r.Header)
		}
	}
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		note(r)
		fmt.Fprint(w, `{"v":"v1"}`)
	})
	var address string
	address = serve(t, func(w http.ResponseWriter, r *http.Request) {
		note(r)
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/version", http.StatusFound)
		case "/absolute":
			http.Redirect(w, r, address+"/version", http.StatusPermanentRedirect)
		case "/port":
			http.Redirect(w, r, elsewhere+"/version", http.StatusFound)
		default:
			fmt.Fprint(w, `{"v":"v1"}`)
		}
	})
	client := &protocol.Client{Header: func(set func(name, value string)) {
		for name, value := range map[string]string{
			"Authorization": token, "X-Api-Key": "key", "Host": "shop.internal", "User-Agent": "ours", "Accept": "text/html", "Accept-Encoding": "br",
		} {
			set(name, value)
		}
	}}
	at := strings.TrimPrefix(elsewhere, "http://")
	_, port, _ := strings.Cut(at, ":")
	dressed, plain := seen{token, "key", "shop.internal", "ours", "application/json"}, seen{none, none, at, "perfd/1", "application/json"}
	for _, c := range []struct {
		target, url string
		want        seen
	}{
		{address, "/version", dressed},
		{address, address + "/version", dressed},
		{address, "/moved", dressed},
		{address, "/absolute", dressed},
		{address, elsewhere + "/version", dressed}, // another port of the target's host
		{address, "/port", plain},                  // where the target leads, not the configuration
		{address, "http://localhost:" + port + "/version", seen{none, none, "localhost:" + port, "perfd/1", "application/json"}},
		{"https://127.0.0.1", elsewhere + "/version", plain}, // load encrypts what would be sent in the clear
	} {
		cfg := configOf(t, c.target, "release: {url: '"+c.url+"', json: v}")
		cfg.Client = client
		last = nil
		if err := once(t, NewWatch(Options{Config: cfg, UserAgent: "perfd/1"}))[0]; err != nil || last == nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if *last != c.want {
			t.Errorf("target %s, %s: asked with %+v, want %+v", c.target, c.url, *last, c.want)
		}
	}
}

// TestReadsHaveHeadersOfTheirOwn asks a Prometheus elsewhere, and the target, whose
// fields give way to those of the read.
func TestReadsHaveHeadersOfTheirOwn(t *testing.T) {
	var asked []string
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, fmt.Sprintf("%s %s %s %s", r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("X-Scope-Orgid"), r.Header.Get("X-Api-Key")))
		fmt.Fprint(w, "{}")
	})
	c := configOf(t, address, fmt.Sprintf(`
release: {url: /version, json: v, headers: {authorization: Bearer release}}
resources:
  - {name: a, kind: memory, scrape: /metrics, metric: a}
  - {name: b, kind: memory, scrape: /metrics, metric: b, headers: {X-Scope-OrgID: one}}
  - {name: c, kind: memory, scrape: /metrics, metric: c, headers: {X-Scope-OrgID: one}}
  - {name: d, kind: memory, prometheus: "%s", query: d, headers: {Authorization: Basic cGVyZmQ=, X-Scope-OrgID: two}}
  - {name: e, kind: memory, prometheus: "%[1]s", query: e}
`, strings.Replace(address, "127.0.0.1", "localhost", 1)))
	c.Client = &protocol.Client{Header: func(set func(name, value string)) {
		set("Authorization", "Bearer load")
		set("X-Api-Key", "key")
	}}
	once(t, NewWatch(Options{Config: c}))
	want := []string{
		"/version Bearer release  key",
		"/metrics Bearer load  key",
		"/metrics Bearer load one key",
		"/api/v1/query Basic cGVyZmQ= two ",
		"/api/v1/query   ",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestAFieldOfAFlowIsNamedWhereItIsMissed(t *testing.T) {
	status := 0
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) })
	for _, c := range []struct {
		status int
		want   string
	}{
		{401, "status 401 (asked without X-User, X-Token, whose value only a flow has): no"},
		{403, "status 403 (asked without X-User, X-Token, whose value only a flow has): no"},
		{404, "status 404: no"},
	} {
		status = c.status
		cfg := configOf(t, address, "release: {url: /version, json: v}")
		cfg.Client = &protocol.Client{OfFlows: []string{"X-User", "X-Token"}}
		if err := once(t, NewWatch(Options{Config: cfg}))[0]; fmt.Sprint(err) != c.want {
			t.Errorf("error %v, want %s", err, c.want)
		}
	}
}

func TestAWatchWithoutADialerReachesLoopbackOnly(t *testing.T) {
	w := NewWatch(Options{Config: config(t, "release: {url: 'http://192.0.2.1/version', json: v}")})
	if err := once(t, w)[0]; faultOf(err) != notAllowed {
		t.Errorf("error %v, want one of the guard", err)
	}
}

// TestEveryFaultHasItsKind provokes each kind of fault on the network; TestAFaultIsSaidOnceAndSoIsItsEnd has the others.
func TestEveryFaultHasItsKind(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/long":
			_, _ = w.Write(make([]byte, longestAnswer+1))
		case "/missing":
			http.Error(w, strings.Repeat("x", 10_000), http.StatusNotFound)
		case "/moved":
			w.WriteHeader(http.StatusFound) // without a Location
		case "/hang":
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/page":
			fmt.Fprint(w, "<html>")
		}
	})
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // handshakes that fail are wanted
	secure.StartTLS()
	t.Cleanup(secure.Close)
	dialer := wire.NewDialer(wire.DialerOptions{
		Guard: wire.Guard{Hosts: []string{"*.example.com"}},
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		},
	})
	for _, c := range []struct {
		url  string
		want fault
		text string
	}{
		{"http://shop.example.com/version", dnsFailed, "no such host"},
		{secure.URL + "/version", tlsFailed, "certificate"},
		{strings.Replace(address, "http:", "https:", 1) + "/version", tlsFailed, "TLS handshake"},
		{"http://127.0.0.1:1/version", unanswered, "refused"},
		{address + "/hang", unanswered, "EOF"},
		{address + "/long", tooLarge, "longer than 16 MiB"},
		{address + "/missing", badStatus, "status 404"},
		{address + "/moved", badStatus, "status 302"},
		{address + "/page", unreadable, "no JSON"},
	} {
		d := &recording{zero: time.Now()}
		w := NewWatch(Options{Dial: dialer.DialContext, Log: logTo(d), Config: config(t, "release: {url: '"+c.url+"', json: v}")})
		err := once(t, w)[0]
		if err == nil || faultOf(err) != c.want || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error %v, want %s with %q", c.url, err, faultNames[c.want], c.text)
			continue
		}
		w.reads[0].complaint.failed(err, time.Now())
		if len(d.lines) != 1 || !strings.Contains(d.lines[0], "fault="+faultNames[c.want]) || len(d.lines[0]) > 2*longestReason {
			t.Errorf("%s: logged %q, want one short line with fault=%s", c.url, d.lines, faultNames[c.want])
		}
	}
}

func TestAnswersThatAreNotTaken(t *testing.T) {
	elsewhere := strings.Replace(serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect to another host was followed") }), "127.0.0.1", "localhost", 1)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, longestAnswer+1))
	_ = z.Close()
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/version", http.StatusFound)
		case "/version":
			fmt.Fprint(w, `{"v":"v1"}`)
		case "/away":
			http.Redirect(w, r, elsewhere, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		case "/cut":
			w.Header().Set("Content-Length", "100")
		}
	})
	for _, c := range []struct{ path, want string }{
		{"/moved", ""},
		{"/away", "redirected to another host, localhost"},
		{"/round", "more than 5 redirects"},
		{"/bomb", "the answer is longer than 16 MiB"},
		{"/cut", "read the answer: unexpected EOF"},
	} {
		w := NewWatch(Options{Config: configOf(t, address, "release: {url: "+c.path+", json: v}")})
		err := once(t, w)[0]
		if got := fmt.Sprint(err); err != nil && got != c.want || err == nil && c.want != "" {
			t.Errorf("%s: error %q, want %q", c.path, got, c.want)
		}
	}
}

// TestARedirectOfAReadDoesNotReachThisMachine has a remote target redirect reads to
// what listens on this machine.
func TestARedirectOfAReadDoesNotReachThisMachine(t *testing.T) {
	here := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was reached", r.URL) })
	_, port, _ := strings.Cut(strings.TrimPrefix(here, "http://"), ":")
	to := ""
	l, err := net.Listen("tcp", "127.0.0.2:0") // stands for another host
	if err != nil {
		t.Skip(err)
	}
	remote := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	remote.Listener.Close()
	remote.Listener = l
	remote.Start()
	t.Cleanup(remote.Close)
	for _, to = range []string{here + "/-/pause", "//127.0.0.1:" + port, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port} {
		w := NewWatch(Options{Config: configOf(t, remote.URL, `
release: {url: /version, json: v}
resources:
  - {name: a, kind: memory, scrape: /metrics, metric: a}
  - {name: b, kind: memory, prometheus: "`+remote.URL+`", query: a}
`)})
		for i, err := range once(t, w) {
			if err == nil || faultOf(err) != redirected || !strings.Contains(err.Error(), "redirected to another host") {
				t.Errorf("read %d to %s: %v, want it refused", i, to, err)
			}
		}
	}
}

// TestASecretInAnAddressIsNotLogged asks a server that is gone.
func TestASecretInAnAddressIsNotLogged(t *testing.T) {
	d := &recording{zero: time.Now()}
	c := config(t, "release: {url: 'http://127.0.0.1:1/hunter2', json: v}")
	c.Release.URL.Hidden = true
	w := NewWatch(Options{Config: c, Log: logTo(d)})
	err := once(t, w)[0]
	w.reads[0].complaint.failed(err, time.Now())
	if err == nil || len(d.lines) != 1 || strings.Contains(d.lines[0], "hunter2") || !strings.Contains(d.lines[0], "url=<secret>") {
		t.Errorf("error %v, logged %q", err, d.lines)
	}
}

func TestStopIsNoFailure(t *testing.T) {
	asked := make(chan struct{})
	address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	w := NewWatch(Options{Config: configOf(t, address, "release: {url: /version, json: v}")})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	<-asked
	cancel()
	<-ended
	if want := []string{`release_changes_total[] 0`}; !slices.Equal(collected(w), want) {
		t.Errorf("exposed %q, want %q", collected(w), want)
	}
}

// TestTheDemoShop watches the shop as `perfd demo` does.
func TestTheDemoShop(t *testing.T) {
	shop := demo.New(demo.Knobs{Release: "v1.0.0"}, 1)
	address := serve(t, shop.ServeHTTP)
	for _, release := range []string{
		"{url: /version, json: release}",
		"{url: /version, json: git_sha}",
	} {
		if err := shop.Set(demo.Knobs{Release: "v1.0.0"}); err != nil {
			t.Fatal(err)
		}
		var changes []Change
		samples := map[string]float64{}
		w := NewWatch(Options{
			Config: configOf(t, address, "release: "+release+`
resources:
  - {name: heap, kind: memory, scrape: /metrics, metric: go_gc_heap_live_bytes}
  - {name: goroutines, kind: goroutines, scrape: /metrics, metric: go_goroutines}
`),
			Changed: func(c Change) { changes = append(changes, c) },
			Sample:  func(s load.Sample) { samples[s.Resource] = s.Last },
		})
		if err := errors.Join(once(t, w)...); err != nil {
			t.Fatalf("%s: %v", release, err)
		}
		before := w.State()
		if err := shop.Set(demo.Knobs{Release: "v1.1.0"}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(once(t, w)...); err != nil {
			t.Fatalf("%s: %v", release, err)
		}
		after := w.State()
		if len(changes) != 1 || changes[0].Previous != before.Release || changes[0].Release != after.Release || before.Release == after.Release {
			t.Errorf("%s: changes %+v, state before %+v, after %+v", release, changes, before, after)
		}
		if samples["goroutines"] < 1 || samples["heap"] < 1 {
			t.Errorf("samples = %v, want some goroutines and some heap", samples)
		}
	}
}
