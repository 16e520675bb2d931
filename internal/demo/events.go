package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// feedEvery is how often the feed has an event.
	feedEvery = 100 * time.Millisecond
	// feedKept is how many past events of the feed a client that comes back is sent.
	feedKept = 600
	// pollHeld is how long a request for the next event of the feed is held at most.
	pollHeld = 2 * time.Second
	// tokenEvery is how often the assistant says a word.
	tokenEvery = 20 * time.Millisecond
)

// An eventStream writes the events of one answer.
type eventStream struct {
	shop  *Shop
	w     http.ResponseWriter
	flush func() error
}

// openEvents begins an answer of events, and counts it as a stream until done is called.
func openEvents(s *Shop, w http.ResponseWriter, contentType string) (e *eventStream, done func()) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	s.metrics.streams.Inc()
	return &eventStream{s, w, http.NewResponseController(w).Flush}, s.metrics.streams.Dec
}

// send sends an event with what counts of it, its data, between a head and an end, and reports whether it could. It is
// counted before: who reads it finds it in the counts.
func (e *eventStream) send(head, data, end string) bool {
	e.shop.went(len(data))
	_, err := fmt.Fprint(e.w, head, data, end)
	return err == nil && e.flush() == nil
}

// feed tells for ever what is left of one product after the other, as server-sent events. Their ids are numbers that go on
// while nobody reads: a client that comes back with the last one it has read is sent those it has missed.
func feed(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	began := s.opened
	number := func() int64 { return int64(time.Since(began) / feedEvery) }
	next := number()
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		last, err := strconv.ParseInt(text, 10, 64)
		if err != nil || last < 0 {
			wrong(w, http.StatusBadRequest, "Last-Event-ID is no id of an event of the feed")
			return
		}
		next = max(next-feedKept, min(last+1, next+1))
	}
	e, done := openEvents(s, w, "text/event-stream")
	defer done()
	if _, err := fmt.Fprint(w, "retry: 500\n\n"); err != nil || e.flush() != nil {
		return
	}
	ticker := time.NewTicker(feedEvery)
	defer ticker.Stop()
	for {
		for ; next <= number(); next++ {
			o := s.offers(catalogue[next%Products : next%Products+1])[0]
			data, err := json.Marshal(object{"product": o.ID, "stock": o.Stock, "price": o.Price})
			if err != nil || !e.send(fmt.Sprintf("id: %d\nevent: stock\ndata: ", next), string(data), "\n\n") {
				return
			}
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// feedNext answers with the event of the feed that follows another, or with the next one. It waits for that, and says so by
// 204 where there is none in time.
func feedNext(s *Shop, w http.ResponseWriter, r *http.Request, _ []byte) {
	number := func() int64 { return int64(time.Since(s.opened) / feedEvery) }
	next := number() + 1
	if text := r.URL.Query().Get("after"); text != "" {
		last, err := strconv.ParseInt(text, 10, 64)
		if err != nil || last < 0 {
			wrong(w, http.StatusBadRequest, "after is no id of an event of the feed")
			return
		}
		next = max(number()-feedKept, last+1)
	}
	wait := min(time.Until(s.opened.Add(time.Duration(next)*feedEvery)), pollHeld)
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
		return
	}
	if number() < next {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	o := s.offers(catalogue[next%Products : next%Products+1])[0]
	data, err := json.Marshal(object{"id": next, "product": o.ID, "stock": o.Stock, "price": o.Price})
	if err != nil {
		wrong(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	s.went(len(data))
	_, _ = w.Write(data) // a client that left needs no answer
}

// assistant answers a question word by word: as server-sent events with [DONE] as the last, or to who accepts
// application/x-ndjson as lines, of which the last says so.
func assistant(s *Shop, w http.ResponseWriter, r *http.Request, body []byte) {
	var q struct{ Question string }
	if err := json.Unmarshal(body, &q); err != nil || q.Question == "" {
		wrong(w, http.StatusBadRequest, "a question is required")
		return
	}
	found := catalogue[len(q.Question)%Products]
	words := strings.Fields(fmt.Sprintf("For %q we would take the %s of our %s , at %.2f", q.Question, found.Name, found.Category, found.Price))
	contentType, head, end, last := "text/event-stream", "data: ", "\n\n", "[DONE]"
	if strings.Contains(r.Header.Get("Accept"), "application/x-ndjson") {
		contentType, head, end, last = "application/x-ndjson", "", "\n", `{"done":true}`
	}
	e, done := openEvents(s, w, contentType)
	defer done()
	for i, word := range words {
		data, err := json.Marshal(object{"token": word, "seq": i + 1})
		if err != nil || !e.send(head, string(data), end) {
			return
		}
		select {
		case <-time.After(tokenEvery):
		case <-r.Context().Done():
			return
		}
	}
	e.send(head, last, end)
}
