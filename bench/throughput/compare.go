package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/perfd/perfd/bench/nginx"
	"github.com/perfd/perfd/bench/ratio"
)

// A bench compares generators on this machine.
type bench struct {
	settings
	dir string
}

// compare measures generators in rounds and prints, for each but the first, the
// ratio of its requests per second of CPU to that of the first. It returns the
// median ratio of the second.
func (b *bench) compare(ctx context.Context, list []generator) (float64, error) {
	fmt.Printf("requests per second of CPU, %d connections", b.connections)
	if b.http2 {
		fmt.Printf(" of HTTP/2 with %d streams each", b.streams)
	}
	fmt.Printf(", %v twice a round\n", b.span)
	ratios := make([][]float64, len(list))
	repeats := b.rounds
	for i := 0; i < b.rounds; {
		rates, others, err := b.round(ctx, list)
		if err != nil {
			return 0, err
		}
		var line strings.Builder
		for k, g := range list {
			fmt.Fprintf(&line, "  %s %7.0f", g.name, rates[k])
			if k > 0 {
				fmt.Fprintf(&line, " ratio %.3f", rates[k]/rates[0])
			}
		}
		disturbed := others > b.disturbance
		note := ""
		if disturbed {
			note = "  disturbed"
		}
		if disturbed && repeats > 0 {
			repeats--
			fmt.Printf("round -:%s  others took %.1f %%: repeated\n", &line, 100*others)
			continue
		}
		i++
		fmt.Printf("round %d:%s  others took %.1f %%%s\n", i, &line, 100*others, note)
		for k := range list {
			ratios[k] = append(ratios[k], rates[k]/rates[0])
		}
	}
	for k, g := range list[1:] {
		for l := range k + 1 {
			ratio.Print(g.name+" to "+list[l].name, ratio.Quotients(ratios[k+1], ratios[l]))
		}
	}
	median, _, _, _ := ratio.Interval(ratios[1])
	return median, nil
}

// round measures each generator twice against a server of its own, forwards and
// backwards, and returns requests per second of CPU and the largest share of the
// machine that others took meanwhile.
func (b *bench) round(ctx context.Context, list []generator) (rates []float64, others float64, err error) {
	dir, err := os.MkdirTemp(b.dir, "round-")
	if err != nil {
		return nil, 0, err
	}
	server, err := nginx.Start(ctx, nginx.Options{Dir: dir, Before: []string{"taskset", "-c", "0"}, Connections: 256, HTTP2: b.http2})
	if err != nil {
		return nil, 0, err
	}
	defer server.Kill()
	order := make([]int, 0, 2*len(list))
	for k := range list {
		order = append(order, k)
	}
	for k := range list {
		order = append(order, len(list)-1-k)
	}
	rates = make([]float64, len(list))
	for n, k := range order {
		own := filepath.Join(dir, fmt.Sprint(n))
		if err := os.Mkdir(own, 0o755); err != nil {
			return nil, 0, err
		}
		m, err := list[k].measure(ctx, job{url: server.URL, dir: own, span: b.span, server: server.PID()})
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", list[k].name, err)
		}
		rates[k] += m.rate() / 2
		others = max(others, m.others)
	}
	return rates, others, nil
}
