package dns

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol/protocoltest"
)

// resolver starts unbound with a zone of its own, over UDP and TCP at the first address and over TLS at the second.
func resolver(t *testing.T) (plain, secure, ca string) {
	t.Helper()
	program := protocoltest.Program(t, "unbound", "/usr/sbin/unbound")
	dir := t.TempDir()
	plain, secure = free(t), free(t)
	port := func(addr string) string { _, p, _ := strings.Cut(addr, ":"); return p }
	ca = certify(t, dir)
	var config bytes.Buffer
	fmt.Fprintf(&config, `server:
  interface: 127.0.0.1@%s
  interface: 127.0.0.1@%s
  tls-port: %s
  tls-service-key: %q
  tls-service-pem: %q
  do-daemonize: no
  username: ""
  chroot: ""
  directory: %q
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: yes
  module-config: "iterator"
  access-control: 127.0.0.0/8 allow
  local-zone: "shop.example." static
  local-data: "www.shop.example. 300 IN A 192.0.2.1"
  local-data: "www.shop.example. 300 IN A 192.0.2.2"
  local-data: "www.shop.example. 120 IN AAAA 2001:db8::1"
  local-data: "shop.example. 300 IN MX 10 mail.shop.example."
  local-data: "_https._tcp.shop.example. 300 IN SRV 1 2 443 www.shop.example."
  local-data: 'shop.example. 300 IN TXT "v=spf1 -all"'
  local-data: 'shop.example. 300 IN CAA 0 issue "ca.example"'
  local-zone: "refused.example." refuse
remote-control:
  control-enable: no
`, port(plain), port(secure), port(secure), filepath.Join(dir, "key.pem"), ca, dir)
	for i := range 200 { // more than a datagram holds
		fmt.Fprintf(&config, "server:\n  local-data: \"many.shop.example. 60 IN A 192.0.2.%d\"\n", i+1)
	}
	file := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(file, config.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, secure, program, "-d", "-c", file)
	return plain, secure, ca
}

// balancer starts dnsdist, which speaks HTTPS with HTTP/1.1 too, before a resolver, and returns its address.
func balancer(t *testing.T, of, ca string) string {
	t.Helper()
	program := protocoltest.Program(t, "dnsdist", "/usr/bin/dnsdist")
	dir := filepath.Dir(ca)
	addr, plain := free(t), free(t)
	config := fmt.Sprintf("setLocal(%q)\naddDOHLocal(%q, %q, %q, \"/dns-query\")\nnewServer({address=%q, tcpOnly=true}):setUp()\nsetACL(\"127.0.0.0/8\")\nsetSecurityPollSuffix(\"\")\n",
		plain, addr, ca, filepath.Join(dir, "key.pem"), of)
	file := filepath.Join(dir, "dnsdist.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, addr, program, "--supervised", "--disable-syslog", "-C", file)
	return addr
}

// free returns an address at which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a program until the test ends, and returns when it listens.
func start(t *testing.T, addr, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // likewise
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%s does not listen", program)
		}
	}
}

// certify writes a certificate for 127.0.0.1 and its key, and returns the certificate's path.
func certify(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "resolver"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem")
}

// TestUnbound asks a real resolver over each transport that it speaks: records of several types, codes, and an answer that is
// more than a datagram holds.
func TestUnbound(t *testing.T) {
	plain, secure, ca := resolver(t)
	for _, transport := range []string{"udp", "tcp", "tls", "https"} {
		t.Run(transport, func(t *testing.T) {
			u := newUser(t, `{address: "`+plain+`"}`)
			if transport == "tls" {
				u.Target = `{address: "tls://` + secure + `", tls: {ca_file: "` + ca + `"}}`
			}
			if transport == "https" {
				u.Target = `{address: "https://` + balancer(t, plain, ca) + `", tls: {ca_file: "` + ca + `"}}`
			}
			for query, want := range map[string]string{
				`name: www.shop.example`:                          "192.0.2.1 192.0.2.2",
				`name: WWW.shop.EXAMPLE., type: AAAA`:             "2001:db8::1",
				`name: shop.example, type: MX`:                    "10 mail.shop.example.",
				`name: _https._tcp.shop.example, type: SRV`:       "1 2 443 www.shop.example.",
				`name: shop.example, type: TXT`:                   "v=spf1 -all",
				`name: shop.example, type: CAA`:                   `0 issue "ca.example"`,
				`name: mail.shop.example, edns: {size: 0}`:        "",
				`name: www.shop.example, edns: {dnssec_ok: true}`: "192.0.2.1 192.0.2.2",
			} {
				j := u.must(`{` + query + `, transport: ` + transport + `}`)
				var got []string
				for _, data := range j.Get("answers.#.data").Array() {
					got = append(got, data.String())
				}
				if len(got) == 2 && got[0] > got[1] { // a resolver rotates them
					got[0], got[1] = got[1], got[0]
				}
				if text := strings.Join(got, " "); text != want {
					t.Errorf("%s: %q, want %q", query, text, want)
				}
				rcode := "NOERROR"
				if want == "" {
					rcode = "NXDOMAIN"
				}
				if j.Get("rcode").String() != rcode || !j.Get("ra").Bool() {
					t.Errorf("%s: %s", query, j)
				}
			}
			if j := u.must(`{name: refused.example, transport: ` + transport + `}`); u.Call.Result.Code != 5 {
				t.Errorf("refused.example: %s", j)
			}
			j := u.must(`{name: many.shop.example, transport: ` + transport + `}`)
			if n := j.Get("answers.#").Int(); n != 200 || (j.Get("transport").String() == "udp") {
				t.Errorf("%d answers over %s", n, j.Get("transport"))
			}
			if transport == "udp" {
				if j := u.must(`{name: many.shop.example, truncated: accept}`); !j.Get("tc").Bool() {
					t.Errorf("%s, want a truncated answer", j)
				}
			}
			want := uint64(1)
			if transport == "udp" {
				want = 2 // a socket, and a connection for what is truncated
			}
			if n := u.VU.Env.Connections.Opened.Load(); n != want {
				t.Errorf("%d sockets and connections, want %d", n, want)
			}
		})
	}
	t.Run("not trusted", func(t *testing.T) {
		newUser(t, "").Fails(`{name: www.shop.example, address: "tls://`+secure+`"}`, load.TLS)
	})
	t.Run("no TLS there", func(t *testing.T) {
		u := newUser(t, "")
		if c := u.Do(`{name: www.shop.example, address: "tls://`+plain+`"}`, time.Second); c.Result.Cause == load.None {
			t.Error("answered over TLS by a server without")
		}
	})
}
