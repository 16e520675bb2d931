package http

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// TestClientCertificatesOfRows has a virtual user present the certificate of each row: the server counts the subjects of its requests and
// of its connections.
func TestClientCertificatesOfRows(t *testing.T) {
	t.Parallel()
	a := newIssuer(t)
	pair, _, _ := a.issue()
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	requests, connections := map[string]int{}, map[string]bool{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		subject := q.TLS.PeerCertificates[0].Subject.CommonName
		requests[subject]++
		connections[subject+" "+q.RemoteAddr] = true
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	const clients = 5
	for i := range clients {
		key, der := a.make(&x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 10)), Subject: pkix.Name{CommonName: fmt.Sprint("client", i)}, NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, a.cert, a.key)
		p8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for file, from := range map[string]string{
			fmt.Sprint("cert", i): a.write("c", "CERTIFICATE", der), fmt.Sprint("key", i): a.write("k", "PRIVATE KEY", p8),
		} {
			if err := os.Rename(from, filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := newRig(t, srv.URL)
	slot := r.symbols.Declare("n", expr.Number)
	scenario, request := newScenario(nil), Kind.Step()
	var errs block.Errors
	text := "{tls: {ca_file: " + a.file + ", cert_file: \"" + dir + "/cert${n}\", key_file: \"" + dir + "/key${n}\"}}"
	block.Decode(block.Parse("scenario.yaml", []byte(text), &errs), scenario, &errs)
	block.Decode(block.Parse("step.yaml", []byte("{url: /}"), &errs), request, &errs)
	s := request.Compile(&protocol.Compiler{
		Defaults: scenario.Target(), Base: block.Text{S: r.base}, Symbols: r.symbols, Errors: &errs, Allowed: r.env.Dialer.Guard().CheckHost,
	})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	get := func(n int) *load.Result {
		r.vu.Begin()
		r.scope.Set(slot, expr.Num(float64(n)))
		return &r.do(s, 45*time.Second).Result
	}
	for round := range 3 {
		for i := range clients {
			for range 2 {
				if got := get(i); got.Cause != load.None {
					t.Fatalf("round %d, client %d: %v: %v", round, i, got.Cause, r.call.Err)
				}
			}
		}
	}
	for i := range clients {
		if got := requests[fmt.Sprint("client", i)]; got != 6 {
			t.Errorf("%d requests were of client%d, want 6", got, i)
		}
	}
	if len(connections) != 3*clients {
		t.Errorf("%d connections, want %d: one for each change of the certificate", len(connections), 3*clients)
	}
	if got := get(clients); got.Cause != load.Input || !strings.Contains(fmt.Sprint(r.call.Err), "cert_file") {
		t.Errorf("a row whose file is not there is %v (%v), want input and the option", got.Cause, r.call.Err)
	}
}

// What a run keeps of client certificates is bounded.
func TestOpenedCertificatesAreBounded(t *testing.T) {
	var o opened
	for i := range 3 * keptCertificates {
		o.add(&withCertificate{names: certificate{fmt.Sprint(i), "k"}})
		o.get(certificate{"0", "k"}) // which is used all the time
	}
	if n := len(o.by); n != keptCertificates || o.used.Len() != n {
		t.Errorf("%d certificates are kept in a list of %d, want %d", n, o.used.Len(), keptCertificates)
	}
	for name, want := range map[string]bool{"0": true, "1": false, fmt.Sprint(3*keptCertificates - 1): true} {
		if _, kept := o.by[certificate{name, "k"}]; kept != want {
			t.Errorf("certificate %s is kept: %v, want %v", name, kept, want)
		}
	}
}

func TestMistakesOfClientCertificatesOfRows(t *testing.T) {
	const tls = "tls: {cert_file: \"${row.cert}\", key_file: \"${row.key}\"}"
	for _, c := range []struct {
		name, want string
		into       any
		text       string
	}{
		{"of a target", "a target has no rows", DefaultTarget(), "{" + tls + "}"},
		{"with a pool", "exclude each other", newScenario(nil), "{connections: {pool: 3}, " + tls + "}"},
		{"without a key", "cert_file and key_file go together", newScenario(nil), "{tls: {cert_file: \"${row.cert}\"}}"},
		{"right", "", newScenario(nil), "{" + tls + "}"},
	} {
		var errs block.Errors
		block.Decode(block.Parse("f", []byte(c.text), &errs), c.into, &errs)
		if err := errs.Err(); (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Users who open a certificate at the same time share what the first of them has opened, and the oldest give way.
func TestOpenedCertificatesAreSharedAndBounded(t *testing.T) {
	var o opened
	first := make(chan *wire.Transport, 20)
	var all sync.WaitGroup
	for range cap(first) {
		all.Go(func() { first <- o.add(&withCertificate{certificate{"a", "a"}, &wire.Transport{}}) })
	}
	all.Wait()
	kept := o.get(certificate{"a", "a"})
	for range cap(first) {
		if got := <-first; got != kept {
			t.Fatal("two users have opened the same certificate")
		}
	}
	for i := range keptCertificates {
		o.add(&withCertificate{certificate{cert: strconv.Itoa(i)}, &wire.Transport{}})
	}
	if o.used.Len() != keptCertificates || len(o.by) != keptCertificates || o.get(certificate{"a", "a"}) != nil || o.get(certificate{cert: "0"}) == nil {
		t.Errorf("%d are kept, want the newest %d", o.used.Len(), keptCertificates)
	}
}
