package remotewrite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/output"
)

// An answer is what came of one request.
type answer struct {
	code    int // 0 where there was no answer
	err     error
	after   time.Duration // Retry-After, 0 for none
	text    string        // what the receiver says, cut short
	written int           // samples and histograms by the -Written fields, -1 where there are none
}

// The most of an answer that is read: to be shown, and for the connection's next use.
const (
	shownText  = 512
	drainBytes = 64 << 10
)

// longestRetryAfter bounds a receiver's wish: it is an estimate.
const longestRetryAfter = 5 * time.Minute

// ownFields are the header fields that post writes itself, none of which is a credential.
var ownFields = []string{"Content-Encoding", "Content-Type", "User-Agent", "X-Prometheus-Remote-Write-Version", "Retry-Attempt"}

func (e *endpoint) post(ctx context.Context, body []byte, version Protocol, attempt int) (a answer) {
	a.written = -1
	ctx, cancel := context.WithTimeout(ctx, e.c.Timeout.D())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.c.URL.S, bytes.NewReader(body))
	if err != nil {
		a.err = output.Bare(err)
		return a
	}
	for _, h := range e.c.Headers {
		req.Header.Set(h.Name.S, h.Value.Value())
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("User-Agent", e.o.UserAgent)
	if version == V2 {
		req.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	} else {
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	}
	if attempt > 0 {
		req.Header.Set("Retry-Attempt", strconv.Itoa(attempt))
	}
	resp, err := e.client.Do(req)
	if err != nil {
		a.err = output.Bare(err)
		return a
	}
	defer resp.Body.Close()
	a.code = resp.StatusCode
	if a.code/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, shownText))
		a.text = strings.TrimSpace(string(text))
		a.after = retryAfter(resp.Header.Get("Retry-After"), e.o.Now())
	}
	_, _ = io.CopyN(io.Discard, resp.Body, drainBytes)
	for _, kind := range []string{"Samples", "Histograms"} {
		if n, err := strconv.Atoi(resp.Header.Get("X-Prometheus-Remote-Write-" + kind + "-Written")); err == nil {
			a.written = max(a.written, 0) + n
		}
	}
	return a
}

// retryAfter reads the field as seconds or as a date (RFC 9110 section 10.2.3).
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return min(max(0, time.Duration(seconds)*time.Second), longestRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now)), longestRetryAfter)
	}
	return 0
}

// A verdict is what an answer means for its batch.
type verdict int

const (
	taken       verdict = iota
	retry               // the same again later
	hold                // likewise, and somebody must do something: credentials, address
	refused             // never again
	unsupported         // the receiver does not know the protocol
)

func (a *answer) verdict(version Protocol, known bool) verdict {
	switch {
	case a.err != nil:
		return retry
	case a.code/100 == 2:
		if version == V2 && a.written < 0 {
			return unsupported // a 1.0 receiver found nothing in it that it knows
		}
		return taken
	case a.code == http.StatusUnsupportedMediaType:
		return unsupported
	case a.code == http.StatusBadRequest && version == V2 && !known && a.written < 0:
		return unsupported // how some 1.0 receivers put it
	case a.code/100 == 5 || a.code == http.StatusTooManyRequests:
		return retry
	case a.unauthorized() || a.code == 408 || a.code/100 == 3:
		return hold
	}
	return refused
}

// unauthorized reports whether the receiver, or a proxy before it, wants other credentials or knows no such address.
func (a *answer) unauthorized() bool {
	return a.code == 401 || a.code == 403 || a.code == 404 || a.code == 407
}

func (a *answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	if a.text == "" {
		return fmt.Sprintf("status %d", a.code)
	}
	return fmt.Sprintf("status %d: %s", a.code, a.text)
}

// backoff is the wait before a retry: doubled each time, jittered by half so
// that many senders do not come at once.
func (e *endpoint) backoff(attempt int, asked time.Duration) time.Duration {
	d := e.c.MaxBackoff.D()
	if attempt < 20 {
		d = min(d, e.c.MinBackoff.D()<<attempt)
	}
	return max(asked, d/2+rand.N(d/2+1))
}
