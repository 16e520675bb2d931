package output

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

// NoProxy is the value of a key proxy_url that means none, whatever the environment says.
const NoProxy = "none"

var errProxy = errors.New("proxy_url is not the address of a proxy")

// proxySchemes are those by which net/http reaches proxies.
var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

// Bare removes the address, which may hold a secret, from the error of a request.
func Bare(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// CheckProxy reports a key proxy_url that is wrong; plain says that only HTTP
// proxies will do. Its value may be secret and is not shown.
func CheckProxy(s block.Secret, at *block.Node, plain bool, errs *block.Errors) {
	text := s.Value()
	if at == nil || text == "" || text == NoProxy {
		return
	}
	schemes := proxySchemes
	if plain {
		schemes = proxySchemes[:1]
	}
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		errs.Add(at.Pos, at.Path, "must be the address of a proxy such as http://proxy:3128, or none").Hint = "its scheme is " + strings.Join(schemes, ", ")
		return
	}
	if err := CheckNamed(u.Hostname()); err != nil {
		errs.Add(at.Pos, at.Path, "%v", err)
	}
}

// CheckNamed returns an error if a host that the configuration names is one that no request goes to.
func CheckNamed(host string) error {
	g := wire.Guard{}.Naming(host)
	return g.CheckHost(host)
}

// proxyHosts lists the hosts of the proxies that Proxy may find.
func proxyHosts(s block.Secret) (hosts []string) {
	list := []string{s.Value()}
	switch s.Value() {
	case NoProxy:
		return nil
	case "":
		env := httpproxy.FromEnvironment()
		list = []string{env.HTTPProxy, env.HTTPSProxy}
	}
	for _, text := range list {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" { // the environment's may have no scheme
			u, err = url.Parse("http://" + text)
		}
		if err == nil && u.Hostname() != "" {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}

// Proxy returns what finds the proxy of a request: that of a key proxy_url which
// was checked or, where the key is empty, of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
// It is nil where there is never one.
func Proxy(s block.Secret) func(*http.Request) (*url.URL, error) {
	switch text := s.Value(); text {
	case NoProxy:
		return nil
	case "":
		find := httpproxy.FromEnvironment().ProxyFunc()
		return func(r *http.Request) (*url.URL, error) { return find(r.URL) }
	default:
		u, err := url.Parse(text)
		if err != nil {
			err = errProxy // without the text
		}
		return func(*http.Request) (*url.URL, error) { return u, err }
	}
}
