package analysis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
)

var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

func regression(v load.Verdict, minute int) load.Finding {
	return load.Finding{
		ID: "regression-1", Kind: load.KindRegression, Verdict: v, Scenario: "shop", Step: "login", Release: "v2",
		Since: at(minute), Sentence: fmt.Sprintf("slower, says minute %d", minute),
	}
}

// disk is what a board stored, and its log.
type disk struct {
	stored, forgotten []string
	log               bytes.Buffer
}

func newBoard(before ...load.Finding) (*Board, *disk) {
	d := &disk{}
	return NewBoard(BoardOptions{
		Kinds: Kinds{{Findings: []FindingKind{{Kind: load.KindRegression, Acceptable: true}, {Kind: load.KindLeak}}}},
		Store: func(f load.Finding) error {
			d.stored = append(d.stored, fmt.Sprintf("%s %s", f.ID, f.State))
			return nil
		},
		Forget: func(ids ...string) error {
			d.forgotten = append(d.forgotten, ids...)
			return nil
		},
		Log: slog.New(slog.NewTextHandler(&d.log, nil)),
	}, before), d
}

var kinds = []load.Kind{load.KindRegression, load.KindChange}

func TestAFindingComesStaysAndRecoversOnce(t *testing.T) {
	b, d := newBoard()
	for m := range 30 {
		b.Report(kinds, at(m), []load.Finding{regression(load.Fail, m)})
	}
	f := b.Findings()[0]
	if f.State != load.Active || f.Since != at(0) || f.Updated != at(29) || f.Sentence != "slower, says minute 29" {
		t.Errorf("after half an hour the finding is %+v, want it active since the beginning with the newest numbers", f)
	}
	b.Report([]load.Kind{load.KindLeak}, at(30), nil)
	if b.Active()[load.KindRegression] != 1 {
		t.Error("a report of other kinds made the finding go")
	}
	b.Report(kinds, at(31), []load.Finding{regression(load.Inconclusive, 31)})
	got := b.Findings()
	if len(got) != 2 || got[0].State != load.Recovered || got[0].Ended != at(31) || got[1].State != "" {
		t.Errorf("a finding that holds no more: %+v, want it recovered, and its status", got)
	}
	if diff := cmp.Diff([]string{
		"regression-1 active", "regression-1 active", "regression-1 active", "regression-1 recovered",
	}, d.stored); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if n := strings.Count(d.log.String(), "msg=finding"); n != 2 {
		t.Errorf("%d log lines, want one when it came and one when it went:\n%s", n, &d.log)
	}
	b.Report(kinds, at(40), []load.Finding{regression(load.Fail, 40)})
	if f := b.Findings()[0]; f.State != load.Active || f.Since != at(40) || !f.Ended.IsZero() {
		t.Errorf("a finding that came back: %+v, want it active since then", f)
	}
}

func TestOnlyActiveRegressionsAreAccepted(t *testing.T) {
	leak := load.Finding{ID: "leak-1", Kind: load.KindLeak, Verdict: load.Fail}
	b, _ := newBoard()
	b.Report(kinds, at(0), []load.Finding{regression(load.Fail, 0)})
	b.Report([]load.Kind{load.KindLeak}, at(0), []load.Finding{leak})
	for id, want := range map[string]error{"leak-1": ErrNotAcceptable, "nothing": ErrUnknown} {
		if _, err := b.Accept(id, at(1)); !errors.Is(err, want) {
			t.Errorf("accept %s: %v, want %v", id, err, want)
		}
	}
	f, err := b.Accept("regression-1", at(1))
	if err != nil || f.State != load.Accepted || f.Ended != at(1) {
		t.Fatalf("accept: %+v, %v", f, err)
	}
	// What its analysis found before it heard of it does not bring it back.
	b.Report(kinds, at(2), []load.Finding{regression(load.Fail, 0)})
	if f := b.Findings(); f[0].State != load.Accepted || b.Active()[load.KindRegression] != 0 {
		t.Errorf("an accepted finding is reported again: %+v", f)
	}
	if _, err := b.Accept("regression-1", at(3)); !errors.Is(err, ErrNotAcceptable) {
		t.Errorf("accepted twice: %v", err)
	}
}

func TestALaterSlowdownReopensWhatWasAccepted(t *testing.T) {
	b, d := newBoard()
	b.Report(kinds, at(0), []load.Finding{regression(load.Fail, 0)})
	if _, err := b.Accept("regression-1", at(10)); err != nil {
		t.Fatal(err)
	}
	for m := 20; m < 24; m++ {
		b.Report(kinds, at(m), []load.Finding{regression(load.Fail, 15)})
	}
	if f := b.Findings(); len(f) != 1 || f[0].State != load.Active || f[0].Since != at(15) || !f[0].Ended.IsZero() || b.Active()[load.KindRegression] != 1 {
		t.Errorf("what began after it was accepted is %+v, want it active again", f)
	}
	if diff := cmp.Diff([]string{"regression-1 active", "regression-1 accepted", "regression-1 active"}, d.stored); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	// It can be accepted again, and by a later process too.
	if f, err := b.Accept("regression-1", at(30)); err != nil || f.Ended != at(30) {
		t.Errorf("accepted again: %+v, %v", f, err)
	}
	later, _ := newBoard(b.Findings()...)
	later.Report(kinds, at(40), []load.Finding{regression(load.Fail, 15)})
	if n := later.Active()[load.KindRegression]; n != 0 {
		t.Error("a later process reopens what began before it was accepted")
	}
}

func TestARestartGoesOnWithWhatWasActive(t *testing.T) {
	old := regression(load.Fail, 0)
	old.State, old.Updated = load.Active, at(5)
	b, d := newBoard(old)
	b.Report(kinds, at(6), []load.Finding{regression(load.Fail, 6)})
	if f := b.Findings()[0]; f.State != load.Active || f.Since != at(0) || d.log.Len() > 0 {
		t.Errorf("after a restart: %+v and log %q, want the same finding and silence", f, &d.log)
	}
}

func TestWhatIsOverIsBounded(t *testing.T) {
	b, d := newBoard()
	b.Report(kinds, at(0), []load.Finding{regression(load.Fail, 0)})
	b.Report(kinds, at(1), nil)
	for i := range maxEnded + 10 {
		b.Final(load.Finding{ID: fmt.Sprintf("run-%d", i), Kind: load.KindRun, Since: at(i + 2), Updated: at(i + 2)})
	}
	got := b.Findings()
	if n := len(got); n != maxEnded+1 || got[n-2].ID != "run-10" || got[n-1].ID != "regression-1" {
		t.Errorf("%d findings, the last %s and %s; want %d, and what recovered kept beside the newest runs", n, got[n-2].ID, got[n-1].ID, maxEnded+1)
	}
	if diff := cmp.Diff([]string{"run-0", "run-1", "run-2"}, d.forgotten[:3]); diff != "" || len(d.forgotten) != 10 {
		t.Errorf("forgotten on disk (-want +got):\n%s", diff)
	}
}

func TestFindingsSurviveJSON(t *testing.T) {
	f := regression(load.Fail, 0)
	f.Value, f.Lower, f.Upper, f.Limit = 1.5, load.Number(math.Inf(-1)), load.Number(math.Inf(1)), load.Number(math.NaN())
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var got load.Finding
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(float64(got.Limit)) {
		t.Errorf("limit is %v, want NaN", got.Limit)
	}
	got.Limit, f.Limit = 0, 0
	if diff := cmp.Diff(f, got); diff != "" {
		t.Errorf("through JSON (-want +got):\n%s", diff)
	}
}

func TestIDsTellPartsApart(t *testing.T) {
	a, b := ID(load.KindLeak, "shop", "heap", ""), ID(load.KindLeak, "shop", "", "heap")
	if a == b || a != ID(load.KindLeak, "shop", "heap", "") || strings.ContainsAny(a, "/ ?#%") {
		t.Errorf("IDs %q and %q", a, b)
	}
}
