package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A deafJudge takes everything and keeps nothing.
type deafJudge struct{}

func (deafJudge) Sample(load.Sample)                {}
func (deafJudge) Event(load.Event)                  {}
func (deafJudge) Ended(judge.Run)                   {}
func (deafJudge) CollectRuns(analysis.Send, string) {}
func (deafJudge) Forget(string)                     {}

// document loads a configuration.
func document(t *testing.T, text string) *config.Document {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := config.Load(config.Options{File: file, Environ: []string{}, Kinds: builtin.Kinds()})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// watching starts a fleet of a document that has targets only; change, which may
// be nil, changes the document after its check.
func watching(t *testing.T, text string, change func(*config.Document)) *Fleet {
	t.Helper()
	doc := document(t, text)
	if change != nil {
		change(doc)
	}
	f, err := New(doc, Options{Shards: 1, State: openState(t, memoryDisk{}), Judge: deafJudge{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	f.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// reads lists what the watch over a target has read, and the faults of its reads.
func reads(f *Fleet, target string) (values, faults []string) {
	f.Collect(func(d *metric.Desc, v float64, labels ...string) {
		switch {
		case len(labels) == 0 || labels[0] != target:
		case d == metric.TargetRelease || d == metric.TargetResourceBytes:
			values = append(values, labels[1])
		case d == metric.TargetReadFailures && v > 0:
			faults = append(faults, labels[1]+" "+labels[2])
		}
	})
	return values, faults
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s until %s", what)
		}
	}
}

// answerReads answers everything that a watch reads.
func answerReads(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/version":
		fmt.Fprint(w, `{"v":"v1"}`)
	case "/metrics":
		fmt.Fprint(w, "m 5\n")
	case "/api/v1/query":
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"7"]}}`)
	}
}

// watched serves everything that a watch reads.
func watched(t *testing.T) (address, port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(answerReads))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return s.URL, port
}

// written writes a PEM file and returns its path.
func written(t *testing.T, kind string, der []byte) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file.pem"))
	if err == nil {
		err = errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// TestWatchesSpeakTLSAsLoadDoes reads everything from a server with a certificate
// of a private authority.
func TestWatchesSpeakTLSAsLoadDoes(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(answerReads))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // handshakes that fail are wanted
	s.TLS = &tls.Config{}
	s.StartTLS()
	t.Cleanup(s.Close)
	mutual := httptest.NewUnstartedServer(http.HandlerFunc(answerReads))
	mutual.Config.ErrorLog = s.Config.ErrorLog
	mutual.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	mutual.StartTLS()
	t.Cleanup(mutual.Close)
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ca, keyFile := written(t, "CERTIFICATE", s.Certificate().Raw), written(t, "PRIVATE KEY", key)
	certificate := "cert_file: " + ca + ", key_file: " + keyFile
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "https://"), ":")
	awaitReads(t, []readCase{
		{"a private authority that is not trusted", s.URL, "tls: {min_version: '1.2'}", "tls"},
		{"one that is trusted", s.URL, "tls: {ca_file: " + ca + "}", ""},
		{"any certificate", s.URL, "tls: {insecure_skip_verify: true}", ""},
		{"a name that the certificate lacks", "https://localhost:" + port, "tls: {ca_file: " + ca + "}", "tls"},
		{"another name to verify", "https://localhost:" + port, "tls: {ca_file: " + ca + ", server_name: example.com}", ""},
		{"no client certificate where one is wanted", mutual.URL, "tls: {ca_file: " + ca + "}", "tls"},
		{"a client certificate", mutual.URL, "tls: {ca_file: " + ca + ", " + certificate + "}", ""},
	})
}

// TestWatchesHaveTheHeaderOfLoad reads everything from behind a gateway.
func TestWatchesHaveTheHeaderOfLoad(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "sesame" && r.Header.Get("X-Api-Key") != "sesame" && r.Header.Get("Authorization") != "Bearer sesame" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		answerReads(w, r)
	}))
	t.Cleanup(s.Close)
	awaitReads(t, []readCase{
		{"no header", s.URL, "", "status"},
		{"a token", s.URL, "headers: {authorization: Bearer sesame}", ""},
		{"a key beside what only a flow has", s.URL, "headers: {X-Api-Key: sesame, X-User: '${user}'}", ""},
		{"an expression", s.URL, "headers: {Authorization: 'Basic ${base64(\"perfd:sesame\")}'}", ""},
	})
}

// TestARenewedCertificateIsTheSameTarget has a reload find other files, and other names of files.
func TestARenewedCertificateIsTheSameTarget(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca, other := write("ca.pem", one), write("other.pem", one)
	with := func(tls string) string {
		return "targets: [{name: shop, url: 'https://127.0.0.1', http: {tls: {" + tls + "}}}]"
	}
	f := watching(t, with("ca_file: "+ca), nil)
	for _, c := range []struct {
		name, tls string
		holds     []byte
		same      bool
	}{
		{"the file has one authority more", "ca_file: " + ca, slices.Concat(one, one), true},
		{"and one less", "ca_file: " + ca, one, true},
		{"another file", "ca_file: " + other, one, false},
		{"another name", "ca_file: " + other + ", server_name: shop", one, false},
	} {
		write("ca.pem", c.holds)
		was := f.current().targets["shop"]
		change, err := f.Prepare(document(t, with(c.tls)))
		if err != nil {
			t.Fatal(err)
		}
		change.Commit()
		if is := f.current().targets["shop"]; (is == was) != c.same {
			t.Errorf("%s: the same target %v, want %v", c.name, is == was, c.same)
		}
	}
}

// allReads is a target of a name and an address from which everything is read.
const allReads = `
  - name: %[1]s
    url: %[2]s
    limits: {connections: 1}
    release: {url: %[2]s/version, json: v, every: 1s, settle: 1s}
    resources:
      - {name: page, kind: memory, scrape: %[2]s/metrics, metric: m, every: 1s}
      - {name: query, kind: memory, prometheus: %[2]s, query: m, every: 1s}
`

// A readCase is a target whose reads all succeed, or all fail with one fault.
type readCase struct{ name, url, http, fault string }

// awaitReads waits until the reads of all targets have come out as they should.
func awaitReads(t *testing.T, cases []readCase) {
	t.Helper()
	text := "targets:"
	for i, c := range cases {
		text += fmt.Sprintf(allReads+"    http: {%[3]s}\n", fmt.Sprint("t", i), c.url, c.http)
	}
	f := watching(t, text, nil)
	for i, c := range cases {
		await(t, c.name+" is read as it should", func() bool {
			values, faults := reads(f, fmt.Sprint("t", i))
			if c.fault != "" {
				return len(values) == 0 && slices.Equal(faults, []string{"release " + c.fault, "resources " + c.fault})
			}
			return len(values) == 3 && len(faults) == 0
		})
	}
}

// TestWatchesDialUnderTheGuard reads each thing from an address that only the
// dialer can refuse, because the document's check did not see it.
func TestWatchesDialUnderTheGuard(t *testing.T) {
	t.Parallel()
	address, port := watched(t)
	text := "targets:"
	for _, what := range []string{"release", "page", "query"} {
		text += fmt.Sprintf(allReads, what, address)
	}
	f := watching(t, text, func(d *config.Document) {
		for i := range d.Targets {
			of := &d.Targets[i]
			at := map[string]*string{"release": &of.Release.URL.S, "page": &of.Resources[0].Scrape.S, "query": &of.Resources[1].Prometheus.S}[of.Name.S]
			*at = strings.Replace(*at, "127.0.0.1:"+port, "0.0.0.0:"+port, 1)
		}
	})
	for _, what := range []string{"release", "page", "query"} {
		await(t, "the guard refuses "+what+" and the others are read", func() bool {
			values, faults := reads(f, what)
			return len(values) == 2 && len(faults) == 1 && strings.HasSuffix(faults[0], " guard")
		})
	}
}

// TestWatchesShareNoConnectionsWithLoad has load use all of limits.connections:
// the watch reads all the same, and uses none of them.
func TestWatchesShareNoConnectionsWithLoad(t *testing.T) {
	t.Parallel()
	address, port := watched(t)
	f := watching(t, "targets:"+fmt.Sprintf(allReads, "shop", address), nil)
	dialer := f.Target("shop").dialer
	held, err := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatalf("a watch has taken the connection of load: %v", err)
	}
	defer held.Close()
	await(t, "everything is read", func() bool { values, _ := reads(f, "shop"); return len(values) == 3 })
	if _, faults := reads(f, "shop"); len(faults) > 0 || dialer.Open() != 1 {
		t.Errorf("faults %q, %d connections of load are open; want none and 1", faults, dialer.Open())
	}
}
