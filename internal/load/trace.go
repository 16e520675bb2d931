package load

// A Trace is one iteration with its requests: what its spans are made of. It
// belongs to the VU that performs the iteration; whoever keeps one copies it.
type Trace struct {
	Iteration
	Requests []TraceRequest
	// Left is the number of requests beyond the bound, which are not in Requests.
	Left int

	text []byte // the addresses of Requests, one after the other
}

// A TraceRequest is one request of a Trace.
type TraceRequest struct {
	Result
	Error string // why the request failed, in words

	from, to int // of the address in the trace's text
}

// The bounds of a trace; 64 requests are 12 KiB.
const (
	maxTraceRequests = 64
	maxTraceText     = 4 << 10 // bytes, of all addresses
	maxAddress       = 512     // bytes, of one address
	maxError         = 256     // bytes
)

// Reset empties the trace for an iteration. Of the requests before, only what points to
// other memory is cleared: to clear all of them costs as much as to write them.
func (t *Trace) Reset(it Iteration) {
	for i := range t.Requests {
		t.Requests[i].Error = ""
	}
	t.Iteration = it
	t.Requests, t.Left, t.text = t.Requests[:0], 0, t.text[:0]
}

// Add appends a request with its address, as the request's protocol writes
// addresses, and the reason of its failure, nil for none.
func (t *Trace) Add(r *Result, address []byte, why error) {
	if len(t.Requests) == maxTraceRequests {
		t.Left++
		return
	}
	at := len(t.Requests)
	if at == cap(t.Requests) {
		t.Requests = append(t.Requests, TraceRequest{})
	} else {
		t.Requests = t.Requests[:at+1]
	}
	// It is written in place: a copy of it on the stack is half of what Add costs.
	n := &t.Requests[at]
	n.Result, n.from = *r, len(t.text)
	if len(address) <= maxAddress && len(t.text)+len(address) <= maxTraceText {
		t.text = append(t.text, address...)
	}
	n.to = len(t.text)
	if why != nil {
		n.Error = why.Error()
		n.Error = n.Error[:min(len(n.Error), maxError)]
	}
}

// Address returns the address of request i, empty if it was too long to keep.
func (t *Trace) Address(i int) []byte { return t.text[t.Requests[i].from:t.Requests[i].to] }

// Clone returns a copy that shares nothing with t.
func (t *Trace) Clone() *Trace {
	c := *t
	c.Requests = append([]TraceRequest(nil), t.Requests...)
	c.text = append([]byte(nil), t.text...)
	return &c
}
