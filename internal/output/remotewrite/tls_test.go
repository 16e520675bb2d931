package remotewrite

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// writePair writes a certificate that signs itself, and its key.
func writePair(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	p8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"key.pem": {Type: "PRIVATE KEY", Bytes: p8}, "cert.pem": {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARenewedCertificateIsShown(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until certificates are looked at again")
	}
	t.Parallel()
	var mu sync.Mutex
	names := map[string]int{}
	to := newReceiver(t)
	to.Close()
	to.Server = httptest.NewUnstartedServer(to.Config.Handler)
	to.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert, VerifyConnection: func(s tls.ConnectionState) error {
		mu.Lock()
		defer mu.Unlock()
		names[s.PeerCertificates[0].Subject.CommonName]++
		return nil
	}}
	to.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	to.StartTLS()
	t.Cleanup(to.Close)
	dir := t.TempDir()
	writePair(t, dir, "old")
	r, turn := counters(1)
	w := newRig(t, dir, r, endpointOf(t, to.URL, ", tls: {cert_file: cert.pem, key_file: key.pem, insecure_skip_verify: true}"))
	stop := w.startEndpoints()
	from := base()
	shown := func() (old, fresh int) {
		mu.Lock()
		defer mu.Unlock()
		return names["old"], names["new"]
	}
	n := 0
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); n++ {
		turn()
		w.Snapshot(from.Add(time.Duration(n) * time.Second))
		w.finished(from, n+1)
		if n == 0 {
			writePair(t, dir, "new")
		}
		if _, fresh := shown(); fresh > 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.crash(stop)
	if old, fresh := shown(); old != 1 || fresh != 1 {
		t.Errorf("%d connections with the old certificate and %d with the new, want one each", old, fresh)
	}
	if got := len(to.got[counterName(0)]); got != n+1 {
		t.Errorf("%d samples came, want %d:\n%s", got, n+1, w.log)
	}
	if strings.Contains(w.log.String(), "WARN") {
		t.Errorf("the log complains:\n%s", w.log)
	}
}
