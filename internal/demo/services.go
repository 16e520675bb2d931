package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// ServiceNames are the microservices, in the order of their ports.
var ServiceNames = []string{"user", "order", "payment", "inventory", "catalog", "cart", "notification"}

// ServicesOptions of NewServices.
type ServicesOptions struct {
	// Address that the first service listens on; the others have the ports that follow. With port 0, and
	// without an address, all listen on ports that the kernel chooses, on loopback unless the address has a host.
	Address string
	// Seed of all chances.
	Seed uint64
	// Tracer returns the tracer of a service's spans; without one, services pass the traces of their requests on.
	Tracer func(service string) trace.Tracer
}

// Services are microservices that call each other by HTTP, each with a listener, knobs, metrics and counts of its own.
type Services struct {
	byName    map[string]*Service
	listeners []net.Listener // in the order of ServiceNames
	transport *http.Transport
}

// NewServices returns services that listen, and answer once they are served.
func NewServices(o ServicesOptions) (*Services, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("address of the demo services: %w", err)
	}
	first, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("address of the demo services: the port must be a number, got %q", port)
	}
	s := &Services{transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}}
	urls := map[string]string{}
	for i, name := range ServiceNames {
		own := 0
		if first > 0 {
			own = first + i
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(own)))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the demo's %s service: %w", name, err), s.close())
		}
		s.listeners = append(s.listeners, l)
		urls[name] = "http://" + l.Addr().String()
	}
	s.byName = newServices(o, peers{urls: urls, client: &http.Client{Transport: s.transport}})
	return s, nil
}

// newServices returns the services, by name, that reach each other as peers.
func newServices(o ServicesOptions, p peers) map[string]*Service {
	if o.Tracer == nil {
		o.Tracer = func(string) trace.Tracer { return noop.Tracer{} }
	}
	builders := map[string]func(*Service) []route{
		"user": users, "order": orders, "payment": payments, "inventory": inventory, "catalog": catalog, "cart": carts, "notification": notifications,
	}
	all := map[string]*Service{}
	for i, name := range ServiceNames {
		all[name] = newService(name, o.Seed+uint64(i), o.Tracer(name), p, builders[name])
	}
	return all
}

// Serve serves all of them until ctx ends. No request is under way when it returns.
func (s *Services) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(ServiceNames))
	var wg sync.WaitGroup
	for i, name := range ServiceNames {
		wg.Go(func() {
			defer cancel() // one that breaks ends the others
			if err := serve(ctx, s.listeners[i], s.byName[name]); err != nil {
				errs[i] = fmt.Errorf("the demo's %s service: %w", name, err)
			}
		})
	}
	wg.Wait()
	s.transport.CloseIdleConnections()
	return errors.Join(errs...)
}

// close gives up the listeners of services that are not served.
func (s *Services) close() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Service returns one of them; nil for a name that is none of ServiceNames.
func (s *Services) Service(name string) *Service { return s.byName[name] }

// URL is where a service answers.
func (s *Services) URL(name string) string { return s.byName[name].peers.urls[name] }

// Counts returns what each service answered, by name.
func (s *Services) Counts() map[string]Counts {
	counts := map[string]Counts{}
	for name, one := range s.byName {
		counts[name] = one.Counts()
	}
	return counts
}

// peers are where services are, and how they reach each other.
type peers struct {
	urls   map[string]string // by name
	client *http.Client
}

// host returns host and port of a service, 0 for the port of the scheme.
func (p peers) host(name string) (string, int) {
	u, err := url.Parse(p.urls[name])
	if err != nil {
		return "", 0
	}
	port, _ := strconv.Atoi(u.Port()) // none is 0
	return u.Hostname(), port
}
