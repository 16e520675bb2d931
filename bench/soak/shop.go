package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/test/proc"
)

// config is two requests an iteration, 250 iterations a second. All virtual
// users are made before the run, so that only what leaks can grow.
const config = `
safety: {max_request_rate: 1000000/s}
targets:
  - {name: shop, url: %q}
scenarios:
  - name: visits
    test: endurance
    target: shop
    schedule: {always: true}
    workload:
      executor: constant-arrival-rate
      rate: 250/s
      arrivals: poisson
      pre_allocated_vus: 60
      max_vus: 60
    flow:
      - name: list products
        http: {url: "/products?limit=20"}
        extract: {product: json.products | random}
        checks: {has products: len(json.products) > 0}
      - name: show product
        http: {url: "/products/${product.id}"}
        expect: status == 200
`

var serving = regexp.MustCompile(`serving on (\S+)`)

// startShop runs this program again, as the shop.
func startShop(ctx context.Context) (shop *proc.Process, url string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	shop, err = proc.Start(proc.Spec{Path: self, Args: []string{"-shop"}})
	if err != nil {
		return nil, "", err
	}
	m, err := shop.WaitFor(ctx, serving)
	if err != nil {
		shop.Kill()
		return nil, "", err
	}
	return shop, "http://" + m[1], nil
}

// serveShop is the shop's process: a healthy one that never fails.
func serveShop(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	knobs := demo.Default()
	knobs.ErrorRatio = nil
	fmt.Println("serving on", l.Addr())
	return demo.New(knobs, 1).Serve(ctx, l)
}
