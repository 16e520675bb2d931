package wire

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Proxy is an HTTP proxy that connections are tunnelled through by CONNECT (RFC
// 9110 section 9.3.6), whatever is spoken on them. Its credentials are in no error.
type Proxy struct {
	Host string // name or literal address, without brackets
	Port uint16
	auth string // value of Proxy-Authorization, empty for none
}

// ParseProxy reads an address such as http://user:password@proxy:3128, whose port
// is 80 where it is left out. The error does not contain the text, which may be secret.
func ParseProxy(text string) (*Proxy, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("must be the address of a proxy such as http://proxy:3128")
	}
	p := &Proxy{Host: strings.ToLower(u.Hostname()), Port: 80}
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("must end with a port from 1 to 65535, got %q", u.Port())
		}
		p.Port = uint16(n)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		p.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return p, nil
}

// longestProxyAnswer bounds the head of a proxy's answer, in bytes.
const longestProxyAnswer = 16 << 10

// A proxyError is an answer of a proxy other than a tunnel.
type proxyError struct{ status string }

func (e *proxyError) Error() string { return "the proxy answers " + e.status }

// tunnel makes a connection to the proxy one to an address.
func (p *Proxy) tunnel(ctx context.Context, c net.Conn, address string) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err := p.ask(c, address)
	if !stop() && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (p *Proxy) ask(c net.Conn, address string) error {
	request := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if p.auth != "" {
		request += "Proxy-Authorization: " + p.auth + "\r\n"
	}
	if _, err := io.WriteString(c, request+"\r\n"); err != nil {
		return err
	}
	// Byte by byte, so that nothing is taken of what follows on the tunnel.
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if len(head) == longestProxyAnswer {
			return &ProtocolError{"the head of the proxy's answer is too long"}
		}
		n, err := c.Read(one)
		if err != nil {
			return err
		}
		head = append(head, one[:n]...)
	}
	line, _, _ := strings.Cut(string(head), "\r\n")
	version, status, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(version, "HTTP/1.") || len(status) < 3 {
		return &ProtocolError{"the proxy's answer is not HTTP"}
	}
	if status[0] != '2' {
		return &proxyError{strings.ToValidUTF8(status[:min(len(status), 64)], "\uFFFD")}
	}
	return nil
}
