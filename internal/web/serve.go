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
	http      *http.Server
	listeners []net.Listener
	config    string
	log       *slog.Logger
	wg        sync.WaitGroup
}

// Listen binds the addresses and serves nothing yet. The file, where one is
// named, turns on TLS and basic authentication, and is checked now.
func Listen(addresses []string, configFile string, h http.Handler, log *slog.Logger) (*Server, error) {
	if configFile != "" {
		if err := toolkit.Validate(configFile); err != nil {
			return nil, fmt.Errorf("--web.config.file %s: %w", configFile, err)
		}
	}
	s := &Server{
		config: configFile, log: log,
		http: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			s.closeListeners()
			return nil, fmt.Errorf("--web.listen-address: %w", err)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close() // nothing was served on it
	}
}

// Handler is what is served.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Addrs returns the addresses that are listened on.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Start serves.
func (s *Server) Start() {
	for _, l := range s.listeners {
		s.wg.Go(func() {
			err := toolkit.Serve(l, s.http, &toolkit.FlagConfig{WebConfigFile: &s.config}, s.log)
			if err != nil && !errors.Is(err, http.ErrServerClosed) {
				s.log.Error("serving ended", "address", l.Addr(), "err", err)
			}
		})
	}
}

// Shutdown stops serving: requests under way may end until ctx does.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.closeListeners()
	s.wg.Wait()
	return err
}
