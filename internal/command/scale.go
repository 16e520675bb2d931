package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ScaleOptions of Scale: VUs or Rate is given.
type ScaleOptions struct {
	URL      string // of the daemon
	Scenario string
	VUs      *int
	Rate     string // such as 50/s
}

// scaleWithin is how long a daemon may take to answer.
const scaleWithin = 30 * time.Second

// Scale sets the load of a scenario that a daemon runs, and says what holds then.
func Scale(ctx context.Context, o ScaleOptions, w io.Writer) error {
	base, err := url.Parse(o.URL)
	if err != nil || base.Hostname() == "" || base.Scheme != "http" && base.Scheme != "https" {
		return fmt.Errorf("--url: must be an address such as http://127.0.0.1:9797, got %q", o.URL)
	}
	body, err := json.Marshal(struct {
		VUs  *int   `json:"vus,omitempty"`
		Rate string `json:"rate,omitempty"`
	}{o.VUs, o.Rate})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, scaleWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath("api/v1/scenarios", url.PathEscape(o.Scenario), "scale").String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address, which may hold a password
		}
		return fmt.Errorf("no answer from the daemon at %s: %w\n\thint: --url says where it listens", base.Redacted(), err)
	}
	defer resp.Body.Close()
	const longest = 1 << 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, longest))
	if err != nil {
		return fmt.Errorf("the answer of %s: %w", base.Redacted(), err)
	}
	var answer struct {
		Status, Error string
		Data          struct{ Level, Max string }
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Status != "success" {
		if answer.Error == "" {
			answer.Error = strings.TrimSpace(string(text[:min(len(text), 200)]))
		}
		return fmt.Errorf("%s: %s: %s", o.Scenario, resp.Status, answer.Error)
	}
	_, err = fmt.Fprintf(w, "%s: %s, at most %s\n", o.Scenario, answer.Data.Level, answer.Data.Max)
	return err
}
