// Package nginx runs a private nginx for benchmarks: one worker on loopback, a
// small answer from memory, connections that are never closed.
package nginx

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/perfd/perfd/test/proc"
)

// Options say how to run the server.
type Options struct {
	Dir         string   // for its configuration and files, must exist
	Before      []string // command line to run it under, such as taskset -c 0
	Connections int      // most at a time
	HTTP2       bool     // speaks HTTP/2; without TLS nothing else
	Certificate string   // PEM file of a certificate and its key, for TLS; empty for none
	Requests    int      // that a connection takes, 0 for as many as come
}

// A Server is a running nginx.
type Server struct {
	*proc.Process
	URL string
}

// The answer is about as long as a short JSON document.
const config = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
worker_rlimit_nofile %[2]d;
events { worker_connections %[2]d; multi_accept on; }
http {
	access_log off;
	keepalive_timeout 1h;
	keepalive_requests %[4]d;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen 127.0.0.1:%[1]d%[3]s backlog=16384;
		%[5]s
		location / {
			default_type application/json;
			return 200 '{"products":[{"id":1,"name":"chair","price":49.9},{"id":2,"name":"table","price":199}]}';
		}
	}
}
`

// Start runs nginx and waits until it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	port, err := proc.FreePort()
	if err != nil {
		return nil, err
	}
	files := o.Connections + 100
	file := filepath.Join(o.Dir, "nginx.conf")
	version, scheme, certificate := "", "http", ""
	trusting := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // of a server of its own
	if o.HTTP2 {
		version = " http2"
		trusting.Protocols = &http.Protocols{}
		trusting.Protocols.SetUnencryptedHTTP2(true)
		trusting.Protocols.SetHTTP2(true)
	}
	if o.Certificate != "" {
		version, scheme = version+" ssl", "https"
		certificate = fmt.Sprintf("ssl_certificate %[1]s; ssl_certificate_key %[1]s;", o.Certificate)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, config, port, files, version, cmp.Or(o.Requests, 1_000_000_000), certificate), 0o644); err != nil {
		return nil, err
	}
	line := append(append([]string{}, o.Before...), "nginx", "-p", o.Dir, "-c", file, "-e", "stderr")
	env := append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	p, err := proc.Start(proc.Spec{Path: line[0], Args: line[1:], Dir: o.Dir, Env: env, Files: uint64(files)})
	if err != nil {
		return nil, err
	}
	s := &Server{Process: p, URL: fmt.Sprintf("%s://127.0.0.1:%d", scheme, port)}
	err = proc.Poll(ctx, 10*time.Millisecond, func() (bool, error) {
		if !p.Running() {
			return false, fmt.Errorf("nginx ended:\n%s", p.Output())
		}
		client := http.Client{Transport: trusting}
		res, err := client.Get(s.URL)
		if err != nil {
			return false, proc.Pending(err.Error())
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK, nil
	})
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	return s, nil
}
