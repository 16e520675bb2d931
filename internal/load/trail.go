package load

// A Trail is what one iteration did, request by request: what spans are made of.
// It is copied by whoever keeps it.
type Trail struct {
	Iteration
	Requests []TrailRequest
	// Left counts the requests that are not in Requests, because a trail has an end.
	Left int

	text []byte // the addresses, one after the other
}

// A TrailRequest is one request of a trail.
type TrailRequest struct {
	Result
	Error string // why it failed, in words

	from, to int // of its address in the trail's text
}

// The bounds of a trail: 64 requests are 12 KiB.
const (
	trailRequests = 64
	trailText     = 4 << 10
	trailAddress  = 512
	trailError    = 256
)

// Reset empties the trail for an iteration.
func (t *Trail) Reset(it Iteration) {
	clear(t.Requests)
	*t = Trail{Iteration: it, Requests: t.Requests[:0], text: t.text[:0]}
}

// Add appends a request: where it went, as its protocol writes addresses, and
// why it failed, nil where it did not.
func (t *Trail) Add(r *Result, address []byte, why error) {
	if len(t.Requests) == trailRequests {
		t.Left++
		return
	}
	n := TrailRequest{Result: *r, from: len(t.text)}
	if len(address) <= trailAddress && len(t.text)+len(address) <= trailText {
		t.text = append(t.text, address...)
	}
	n.to = len(t.text)
	if why != nil {
		n.Error = why.Error()
		n.Error = n.Error[:min(len(n.Error), trailError)]
	}
	t.Requests = append(t.Requests, n)
}

// Address is where request i went, empty where it was too long to keep.
func (t *Trail) Address(i int) []byte { return t.text[t.Requests[i].from:t.Requests[i].to] }

// Clone returns a copy that shares nothing with t.
func (t *Trail) Clone() *Trail {
	c := *t
	c.Requests = append([]TrailRequest(nil), t.Requests...)
	c.text = append([]byte(nil), t.text...)
	return &c
}
