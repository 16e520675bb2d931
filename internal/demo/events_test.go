package demo

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// events reads lines of an answer that begin with a word, until it has n of them.
func events(t *testing.T, s *Shop, r *http.Request, begins string, n int) (found []string) {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	r.URL.Scheme, r.URL.Host, r.RequestURI = "http", server.Listener.Addr().String(), ""
	resp, err := http.DefaultTransport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for len(found) < n && lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), begins); ok {
			found = append(found, text)
		}
	}
	if len(found) < n {
		t.Fatalf("%d lines %q of %d: %v", len(found), begins, n, lines.Err())
	}
	return found
}

func TestFeedGoesOnWhereAClientLeftIt(t *testing.T) {
	t.Parallel()
	s := New(Knobs{}, 1)
	ids := events(t, s, httptest.NewRequest("GET", "/feed", nil), "id: ", 3)
	first, err := strconv.Atoi(ids[0])
	if err != nil || ids[1] != strconv.Itoa(first+1) || ids[2] != strconv.Itoa(first+2) {
		t.Fatalf("the ids are %q", ids)
	}
	r := httptest.NewRequest("GET", "/feed", nil)
	r.Header.Set("Last-Event-ID", ids[0])
	if again := events(t, s, r, "id: ", 2); again[0] != ids[1] || again[1] != ids[2] {
		t.Errorf("after %s come %q", ids[0], again)
	}
	r = httptest.NewRequest("GET", "/feed", nil)
	r.Header.Set("Last-Event-ID", "9223372036854775806")
	if far := events(t, s, r, "id: ", 1); len(far[0]) > 6 {
		t.Errorf("a client of another shop gets %q", far)
	}
	r.Header.Set("Last-Event-ID", "x")
	a := httptest.NewRecorder()
	if s.ServeHTTP(a, r); a.Code != http.StatusBadRequest {
		t.Errorf("an id that is none: %d", a.Code)
	}
}

func TestTheAssistantSaysAWordAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{}, 1)
		ask := func(accept string) string {
			r := httptest.NewRequest("POST", "/assistant", strings.NewReader(`{"question":"which lamp?"}`))
			r.Header.Set("Accept", accept)
			a := httptest.NewRecorder()
			begin := time.Now()
			s.ServeHTTP(a, r)
			if took := time.Since(begin); a.Code != http.StatusOK || took < 5*tokenEvery {
				t.Errorf("status %d after %v", a.Code, took)
			}
			return a.Body.String()
		}
		words := strings.Split(strings.TrimSuffix(ask("*/*"), "\n\n"), "\n\n")
		lines := strings.Split(strings.TrimSuffix(ask("application/x-ndjson"), "\n"), "\n")
		if len(words) != len(lines) || len(words) < 6 || words[len(words)-1] != "data: [DONE]" || lines[len(lines)-1] != `{"done":true}` {
			t.Fatalf("%q\n%q", words, lines)
		}
		for i, line := range lines[:len(lines)-1] {
			if words[i] != "data: "+line || !strings.Contains(line, `"seq":`+strconv.Itoa(i+1)) {
				t.Errorf("word %d is %q and %q", i, words[i], line)
			}
		}
		exposed(t, s, `shop_messages_total{direction="sent"}`, float64(len(words)+len(lines)))
		exposed(t, s, "shop_streams_open", 0)
		if code, _ := call(s, "POST", "/assistant", `{"question":""}`); code != http.StatusBadRequest {
			t.Errorf("no question: %d", code)
		}
	})
}
