package stories

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const firing = "firing"

// A notice is an alert of which an Alertmanager notified a receiver, or which it
// holds back because another alert inhibits it.
type notice struct {
	From        string // which Prometheus
	Receiver    string
	At          time.Time // when the notification came, or the inhibition was first seen
	InhibitedBy string    // name of the alert that inhibits it; empty where the receiver was notified

	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
}

// carries reports whether the notice has all labels, each given as name=value.
func (n notice) carries(labels []string) bool {
	return !slices.ContainsFunc(labels, func(l string) bool {
		name, value, _ := strings.Cut(l, "=")
		return n.Labels[name] != value
	})
}

// inhibition says in brackets which alert inhibits the notice.
func (n notice) inhibition() string {
	if n.InhibitedBy == "" {
		return ""
	}
	return " (inhibited by " + n.InhibitedBy + ")"
}

// An inbox keeps all notices.
type inbox struct {
	mu    sync.Mutex
	list  []notice
	grown chan struct{} // closed when the list grows
}

// newInbox starts a receiver of webhooks; the path of its addresses is /PROMETHEUS/RECEIVER.
func newInbox(t *testing.T) (*inbox, string) {
	b := &inbox{grown: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{prometheus}/{receiver}", func(w http.ResponseWriter, r *http.Request) {
		var message struct {
			Alerts []notice `json:"alerts"`
		}
		if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
			t.Errorf("a webhook is no JSON: %v", err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		at := time.Now()
		for i := range message.Alerts {
			n := &message.Alerts[i]
			n.From, n.Receiver, n.At = r.PathValue("prometheus"), r.PathValue("receiver"), at
		}
		b.add(message.Alerts...)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return b, srv.URL
}

func (b *inbox) add(list ...notice) {
	if len(list) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, list...)
	close(b.grown)
	b.grown = make(chan struct{})
}

// all returns the notices so far, and a channel that is closed when there are more.
func (b *inbox) all() (list []notice, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list), b.grown
}

// wait returns the first notice that matches.
func (b *inbox) wait(ctx context.Context, match func(notice) bool) (notice, bool) {
	for {
		list, more := b.all()
		if i := slices.IndexFunc(list, match); i >= 0 {
			return list[i], true
		}
		select {
		case <-ctx.Done():
			return notice{}, false
		case <-more:
		}
	}
}

// watch adds the alerts that an Alertmanager inhibits, until ctx ends.
func (b *inbox) watch(ctx context.Context, from, url string) {
	seen := map[string]bool{}
	for pause(ctx, time.Second) {
		list, err := inhibited(ctx, url)
		if err != nil { // it is asked again; without a server no notification arrives, which fails the test
			continue
		}
		var fresh []notice
		for key, n := range list {
			if !seen[key] {
				seen[key] = true
				n.From, n.At = from, time.Now()
				fresh = append(fresh, n)
			}
		}
		b.add(fresh...)
	}
}

// inhibited returns the alerts of an Alertmanager that others inhibit.
func inhibited(ctx context.Context, url string) (map[string]notice, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v2/alerts", http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var list []struct {
		Fingerprint         string
		Labels, Annotations map[string]string
		StartsAt            time.Time
		Status              struct{ InhibitedBy []string }
	}
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, a := range list {
		names[a.Fingerprint] = a.Labels["alertname"]
	}
	held := map[string]notice{}
	for _, a := range list {
		if by := a.Status.InhibitedBy; len(by) > 0 {
			n := notice{Receiver: "nobody", InhibitedBy: names[by[0]], Status: firing, Labels: maps.Clone(a.Labels), Annotations: a.Annotations, StartsAt: a.StartsAt}
			held[strings.Join([]string{a.Fingerprint, a.StartsAt.String(), n.InhibitedBy}, " ")] = n
		}
	}
	return held, nil
}
