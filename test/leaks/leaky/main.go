// Command leaky is a small server with one known fault, or with growth that is harmless: `leaky MODE`. It prints the
// address that it listens on, answers GET /work, and says on GET /metrics what it needs.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What the faults leave behind, and what harmless programs keep.
var (
	mu     sync.Mutex
	held   [][]byte
	cache  = map[int][]byte{}
	files  []*os.File
	served atomic.Int64
	began  = time.Now()
)

// block returns n bytes that are resident.
func block(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return b
}

// modes is what a request does beside its garbage; n counts requests from 1.
var modes = map[string]func(n int){
	"request": func(int) { held = append(held, block(16<<10)) }, // leaks: something of each request stays
	"time":    func(int) {},                                     // leaks: see tick
	"goroutine": func(n int) { // leaks: a goroutine waits for ever
		if n%20 == 0 {
			go func() { select {} }()
		}
	},
	"descriptor": func(n int) { // leaks: a file is not closed
		if n%40 == 0 {
			if f, err := os.Open(os.DevNull); err == nil {
				files = append(files, f)
			}
		}
	},
	"offheap": func(n int) { // leaks: memory that the runtime knows nothing of
		if n%8 == 0 {
			if b, err := syscall.Mmap(-1, 0, 128<<10, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE); err == nil {
				for i := 0; i < len(b); i += 4096 {
					b[i] = 1
				}
			}
		}
	},
	"steady": func(int) {}, // harmless
	"cache": func(n int) { // harmless: fills within the first third, and is full
		cache[n%3000] = block(16 << 10)
	},
	"warming": func(n int) { // harmless: each request brings less than the one before
		if n <= 2000 {
			held = append(held, block((32<<10)*(2001-n)/2000))
		}
	},
	"pool": func(n int) { // harmless: buffers of all sizes are kept and used again
		size := (n*7919)%64 + 1
		held = append(held, block(size<<10))
		if len(held) > 400 {
			held = held[200:]
		}
	},
}

// tick leaks by time rather than by request.
func tick() {
	for range time.Tick(time.Second) {
		mu.Lock()
		held = append(held, block(192<<10))
		mu.Unlock()
	}
}

func main() {
	mode := ""
	if len(os.Args) == 2 {
		mode = os.Args[1]
	}
	do, ok := modes[mode]
	if !ok {
		fmt.Fprintf(os.Stderr, "leaky: no mode %q\n", mode)
		os.Exit(2)
	}
	if mode == "time" {
		go tick()
	}
	http.HandleFunc("GET /work", func(w http.ResponseWriter, _ *http.Request) {
		garbage := block(64 << 10)
		mu.Lock()
		do(int(served.Add(1)))
		mu.Unlock()
		fmt.Fprintln(w, len(garbage), time.Since(began).Round(time.Second))
	})
	http.HandleFunc("GET /metrics", expose)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaky:", err)
		os.Exit(1)
	}
	fmt.Println("listening on", l.Addr())
	fmt.Fprintln(os.Stderr, "leaky:", http.Serve(l, nil))
	os.Exit(1)
}

func expose(w http.ResponseWriter, _ *http.Request) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	metrics.Read(sample)
	fds, _ := os.ReadDir("/proc/self/fd")
	pages := 0
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		pages, _ = strconv.Atoi(strings.Fields(string(statm))[1]) // the kernel writes numbers
	}
	fmt.Fprintf(w, "# TYPE heap_bytes gauge\nheap_bytes %d\n# TYPE goroutines gauge\ngoroutines %d\n# TYPE open_fds gauge\nopen_fds %d\n# TYPE rss_bytes gauge\nrss_bytes %d\n",
		sample[0].Value.Uint64(), sample[1].Value.Uint64(), len(fds), pages*os.Getpagesize())
}
