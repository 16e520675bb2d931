// Command remotewrite measures what remote write costs: draining a backlog to a
// receiver in another process, and a steady stream of snapshots.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/output/remotewrite"
	"github.com/perfd/perfd/internal/queue"
)

func main() {
	backlog := flag.Int("samples", 5_000_000, "samples to drain")
	histograms := flag.Int("histograms", 200, "histograms, each of eleven series")
	receive := flag.Bool("receive", false, "be the receiver (used by the program itself)")
	flag.Parse()
	if *receive {
		serve()
		return
	}
	if err := run(*backlog, *histograms); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve takes everything and ends with its standard input.
func serve() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // ends with its parent
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "0")
		w.WriteHeader(http.StatusNoContent)
	}))
}

// families are histograms, classic and native.
func families(histograms int) *prometheus.Registry {
	r := prometheus.NewRegistry()
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "perfd_request_duration_seconds", Help: "Time of requests.", NativeHistogramBucketFactor: 1.1,
		Buckets: []float64{.001, .005, .01, .05, .1, .5, 1},
	}, []string{"scenario", "step"})
	r.MustRegister(h)
	for i := range histograms {
		for k := range 100 {
			h.WithLabelValues(fmt.Sprint("scenario-", i/10), fmt.Sprint("step-", i%10)).Observe(float64(k*k) / 5000)
		}
	}
	return r
}

type inPlace struct{}

func (inPlace) Gather() metric.Series { return func(func(*dto.MetricFamily, *dto.Metric) bool) {} }

func run(backlog, histograms int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(context.Background(), self, "-receive")
	in, _ := child.StdinPipe()
	out, _ := child.StdoutPipe()
	if err := child.Start(); err != nil {
		return err
	}
	defer func() { in.Close(); _ = child.Wait() }()
	address := make([]byte, 64)
	n, err := out.Read(address)
	if err != nil {
		return err
	}
	url := "http://" + strings.TrimSpace(string(address[:n])) + "/"
	for _, protocol := range []remotewrite.Protocol{remotewrite.V1, remotewrite.V2} {
		if err := measure(url, protocol, backlog, histograms); err != nil {
			return err
		}
	}
	return nil
}

func measure(url string, protocol remotewrite.Protocol, backlog, histograms int) error {
	dir, err := os.MkdirTemp("", "perfd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	q := remotewrite.DefaultQueue()
	q.MaxBytes = 8 << 30
	w, err := remotewrite.New(remotewrite.Options{
		Endpoints: []remotewrite.Config{{
			Name: "bench", URL: block.Text{S: url}, Identity: map[string]string{"job": "perfd", "instance": "bench"},
			Protocol: protocol, Histograms: remotewrite.Both, Exemplars: true, MaxSamples: 2000,
			Timeout: block.Duration(30 * time.Second), MinBackoff: block.Duration(time.Second), MaxBackoff: block.Duration(time.Second),
		}},
		Queue: q, FS: queue.Dir(dir), Scenarios: inPlace{}, Daemon: families(histograms), UserAgent: "bench",
	})
	if err != nil {
		return err
	}
	perSnapshot := histograms * 11 // 7 buckets, +Inf, sum, count and a native histogram each
	at := time.Now().Add(-20 * time.Hour).Truncate(time.Second)
	snapshots := backlog / perSnapshot
	before := spent()
	for i := range snapshots {
		w.Snapshot(at.Add(time.Duration(i) * time.Second))
	}
	taking := spent() - before
	runtime.GC()
	before, began := spent(), time.Now()
	w.Start()
	for w.Sent().Before(at.Add(time.Duration(snapshots-1) * time.Second)) {
		time.Sleep(10 * time.Millisecond)
		if time.Since(began) > 5*time.Minute {
			return fmt.Errorf("protocol %s: the backlog is not drained", protocol)
		}
	}
	wall, cpu := time.Since(began), spent()-before
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	samples := float64(snapshots * perSnapshot)
	fmt.Printf("protocol %s: %.0f samples drained in %v: %.0f samples per second, %.0f per second of CPU\n",
		protocol, samples, wall.Round(time.Millisecond), samples/wall.Seconds(), samples/cpu.Seconds())
	fmt.Printf("  a snapshot of %d series (histograms, classic and native) is taken in %v of CPU and sent in %v: %.3f %% of a core at 15 s; heap %.1f MB\n",
		perSnapshot, (taking / time.Duration(snapshots)).Round(time.Microsecond), (cpu / time.Duration(snapshots)).Round(time.Microsecond),
		100*(taking+cpu).Seconds()/float64(snapshots)/15, float64(m.HeapInuse)/1e6)
	return w.Close(context.Background())
}

// spent is the CPU time of this process.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
