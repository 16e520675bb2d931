package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
)

// A Server serves a handler on several listeners until Shutdown.
type Server struct {
	handler http.Handler
	config  string
	at      Place
	log     *slog.Logger
	fronts  []front
	open    *connections
	wg      sync.WaitGroup
}

// A front is one listener. It has an http.Server of its own, because the toolkit
// puts authentication and TLS into the one it is given.
type front struct {
	listener net.Listener
	http     *http.Server
}

// Listen binds the addresses and serves nothing yet. The file, where one is
// named, turns on TLS and basic authentication, and is checked now; the handler's probes are
// at its place.
func Listen(addresses []string, configFile string, h http.Handler, at Place, log *slog.Logger) (*Server, error) {
	if configFile != "" {
		if err := toolkit.Validate(configFile); err != nil {
			return nil, fmt.Errorf("--web.config.file %s: %w", configFile, err)
		}
	}
	s := &Server{handler: h, config: configFile, at: at, log: log, open: newConnections(DefaultConnections)}
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			s.closeListeners()
			return nil, fmt.Errorf("--web.listen-address: %w", err)
		}
		s.fronts = append(s.fronts, front{l, s.server(h)})
	}
	return s, nil
}

// server returns the server of one listener.
func (s *Server) server(h http.Handler) *http.Server {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState:         func(c net.Conn, state http.ConnState) { s.open.state(c, state) },
	}
	// The toolkit puts authentication around the handler when it begins to serve, just before this is called.
	server.BaseContext = func(net.Listener) context.Context {
		server.Handler = probes(s.at, h, server.Handler)
		return context.Background()
	}
	return server
}

// Limit sets how many connections may be open at once, before Start. Fewer are where the
// process may not have four times as many files open.
func (s *Server) Limit(connections int) { s.open = newConnections(connections) }

func (s *Server) closeListeners() {
	for _, f := range s.fronts {
		f.listener.Close()
	}
}

// Handler is what is served.
func (s *Server) Handler() http.Handler { return s.handler }

// Addrs returns the addresses that are listened on.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, f := range s.fronts {
		out = append(out, f.listener.Addr())
	}
	return out
}

// Start serves.
func (s *Server) Start() {
	for _, f := range s.fronts {
		s.wg.Go(func() {
			err := toolkit.Serve(boundedListener{f.listener, s.open}, f.http, &toolkit.FlagConfig{WebConfigFile: &s.config}, s.log)
			if err != nil && !errors.Is(err, http.ErrServerClosed) {
				s.log.Error("serving ended", "address", f.listener.Addr(), "err", err)
			}
		})
	}
}

// Shutdown stops serving: requests under way may end until ctx does.
func (s *Server) Shutdown(ctx context.Context) error {
	errs := make([]error, len(s.fronts))
	var stops sync.WaitGroup
	for i, f := range s.fronts {
		stops.Go(func() {
			if errs[i] = f.http.Shutdown(ctx); errs[i] != nil {
				errs[i] = errors.Join(errs[i], f.http.Close())
			}
		})
	}
	stops.Wait()
	s.closeListeners()
	s.wg.Wait()
	return errors.Join(errs...)
}
