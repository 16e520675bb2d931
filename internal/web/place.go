package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// A Place is where everything is served: the routes of the process itself, and the address
// under which browsers reach them, which may be another behind a reverse proxy. Its
// zero value is the root of both.
type Place struct {
	routes string // what the path of every route begins with, "" or such as /perfd
	links  string // what the path of every link begins with, likewise
	origin string // of pages in a browser, such as https://perfd.example.com; "" where it is not known
}

// segments is the path of a place: what an address says without escapes.
var segments = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)

// NewPlace returns the place that --web.external-url and --web.route-prefix say, each of
// which may be empty. They mean what they do for Prometheus and Alertmanager: links lead to the external
// URL, or to its path, where it is no more than one; routes begin with the prefix, which is the path of the external
// URL unless it is given, such as / behind a proxy that takes the path away.
// Without an external URL links begin with the prefix, too.
func NewPlace(external, prefix string) (p Place, err error) {
	if external != "" {
		if p, err = parseExternal(external); err != nil {
			return Place{}, fmt.Errorf("--web.external-url: %w", err)
		}
	}
	switch trimmed := strings.Trim(prefix, "/"); {
	case prefix == "":
		p.routes = p.links
	case trimmed != "":
		p.routes = "/" + trimmed
	}
	if err := checkPath(p.routes); err != nil {
		return Place{}, fmt.Errorf("--web.route-prefix: %w", err)
	}
	if external == "" {
		p.links = p.routes
	}
	return p, nil
}

func parseExternal(external string) (Place, error) {
	u, err := url.Parse(external)
	switch {
	case strings.ContainsAny(external, `"'`):
		return Place{}, fmt.Errorf("must not hold quotes, got %s", external)
	case err != nil:
		return Place{}, fmt.Errorf("must be an address such as https://perfd.example.com/perfd/: %w", err)
	case u.Host != "" && u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "" && (u.Scheme != "" || u.Host != "" || !strings.HasPrefix(external, "/")):
		return Place{}, fmt.Errorf("must begin with http://, https:// or be a path that begins with /, got %q", external)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Place{}, errors.New("must be an address without user, query and fragment")
	}
	p := Place{links: strings.TrimRight(u.Path, "/")}
	if u.Host != "" {
		p.origin = u.Scheme + "://" + originHost(u)
	}
	return p, checkPath(p.links)
}

// originHost is the host and port of an origin as browsers write it (RFC 6454 section 6.2): without the scheme's own port.
func originHost(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if own := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; strings.HasSuffix(host, own) {
		host = strings.TrimSuffix(host, own)
	}
	return host
}

func checkPath(path string) error {
	if !segments.MatchString(path) || strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") {
		return fmt.Errorf("the path must consist of letters, digits and -._~ between slashes, got %q", path)
	}
	return nil
}

// probe reports whether a path is that of a probe.
func (p Place) probe(path string) bool {
	rest, under := strings.CutPrefix(path, p.routes)
	return under && (rest == "/-/healthy" || rest == "/-/ready")
}

// serve puts a handler of paths from the root at its place. What it redirects to is
// a path from the root too, and becomes a link.
func (p Place) serve(h http.Handler) http.Handler {
	if p.routes == "" && p.links == "" {
		return h
	}
	stripped := http.StripPrefix(p.routes, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case p.routes != "" && path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			http.Redirect(w, r, p.routes+"/", http.StatusFound) // whoever asks for this is not behind the proxy
		case p.routes != "" && path == p.routes:
			http.Redirect(w, r, p.links+"/", http.StatusTemporaryRedirect)
		case !strings.HasPrefix(path, p.routes+"/"):
			http.NotFound(w, r)
		default:
			stripped.ServeHTTP(&placed{w, p.links}, r)
		}
	})
}

// placed has what it redirects to begin with the path of links.
type placed struct {
	http.ResponseWriter
	links string
}

// WriteHeader completes a redirect to a path.
func (w *placed) WriteHeader(code int) {
	if to := w.Header().Get("Location"); strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") {
		w.Header().Set("Location", w.links+to)
	}
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *placed) Unwrap() http.ResponseWriter { return w.ResponseWriter }
