package web

import (
	"bytes"
	"maps"
	"net/http"
	"runtime"
	"sync"
)

// answers shares the work of equal queries: one that comes while an equal one is worked
// on gets the same answer. Few are worked on at once, so that who asks much leaves
// processor time to the load.
type answers struct {
	places chan struct{}

	mu      sync.Mutex
	working map[string]*shared // by method and query
}

// A shared is an answer that is being made.
type shared struct {
	done   chan struct{} // closed when it is there
	code   int
	header http.Header
	body   bytes.Buffer
}

func newAnswers() *answers {
	return &answers{places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), working: map[string]*shared{}}
}

// share is the handler of an expensive query whose answer depends on nothing but its URL.
func (a *answers) share(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// Parameters in another order ask for the same.
		key := r.Method + " " + r.URL.EscapedPath() + "?" + r.URL.Query().Encode()
		a.mu.Lock()
		s, under := a.working[key]
		if !under {
			s = &shared{done: make(chan struct{}), code: http.StatusOK, header: http.Header{}}
			a.working[key] = s
		}
		a.mu.Unlock()
		if !under {
			a.work(key, s, h, r)
		}
		select {
		case <-s.done:
		case <-r.Context().Done():
			return
		}
		maps.Copy(w.Header(), s.header)
		w.WriteHeader(s.code)
		_, _ = w.Write(s.body.Bytes()) // a client that left is no fault
	}
}

// work makes an answer, once there is a place. Clients that leave do not end it: others may wait for it.
func (a *answers) work(key string, s *shared, h http.HandlerFunc, r *http.Request) {
	a.places <- struct{}{}
	defer func() {
		<-a.places
		a.mu.Lock()
		delete(a.working, key)
		a.mu.Unlock()
		close(s.done)
	}()
	s.code = http.StatusInternalServerError // what is left of it where h panics
	writer := &sharedWriter{s: s}
	h(writer, r)
	if !writer.wrote {
		s.code = http.StatusOK
	}
}

// A sharedWriter writes into a shared answer.
type sharedWriter struct {
	s     *shared
	wrote bool
}

// Header is that of the answer.
func (w *sharedWriter) Header() http.Header { return w.s.header }

// WriteHeader sets the answer's code, once.
func (w *sharedWriter) WriteHeader(code int) {
	if !w.wrote {
		w.wrote, w.s.code = true, code
	}
}

// Write appends to the answer.
func (w *sharedWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.s.body.Write(p)
}
