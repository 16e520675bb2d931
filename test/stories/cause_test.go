package stories

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// A symptom is an alert of one cause.
type symptom struct {
	name   string
	labels map[string]string
}

// TestOneCauseIsOneNotification sends the symptoms of one cause at once to an Alertmanager with the
// shipped routes and inhibitions. Which alerts fire together is for the stories to say.
func TestOneCauseIsOneNotification(t *testing.T) {
	sla := func(objective, kind, severity string) map[string]string {
		return map[string]string{"concern": "sla", "objective": objective, "kind": kind, "severity": severity, "target": "shop"}
	}
	latency := map[string]string{"concern": "latency", "severity": "warning"}
	load := map[string]string{"concern": "load", "severity": "warning"}
	for name, c := range map[string]struct {
		symptoms []symptom
		want     []string // receiver and alert
	}{
		"everything fails": {
			[]symptom{
				{"PerfdEverythingFails", map[string]string{"concern": "target", "severity": "critical"}},
				{"PerfdTargetUnreachable", map[string]string{"concern": "target", "severity": "warning", "target": "shop"}},
				{"PerfdObjectiveFailed", sla("errors", "error_ratio", "critical")},
				{"PerfdObjectiveFailed", sla("p95", "latency", "warning")},
				{"PerfdBudgetBurnFast", sla("errors", "error_ratio", "critical")},
				{"PerfdRegressionSuspected", latency},
				{"PerfdRunFailed", load},
				{"PerfdLoadShort", load},
			},
			[]string{"pager PerfdEverythingFails"},
		},
		"a slower release breaks an objective": {
			[]symptom{
				{"PerfdObjectiveFailed", sla("p95", "latency", "critical")},
				{"PerfdBudgetBurnFast", sla("p95", "latency", "critical")},
				{"PerfdBudgetBurnSlow", sla("p95", "latency", "warning")},
				{"PerfdRegressionSuspected", latency},
				{"PerfdEnduranceDrift", latency},
				{"PerfdRunFailed", load},
			},
			[]string{"pager PerfdObjectiveFailed"},
		},
		"a slower release within its objectives": {
			[]symptom{
				{"PerfdRegressionSuspected", latency},
				{"PerfdEnduranceDrift", latency},
				{"PerfdSlowerFallback", map[string]string{"concern": "latency", "severity": "info"}},
			},
			[]string{"chat PerfdRegressionSuspected"},
		},
		"errors are no reason for latency": {
			[]symptom{
				{"PerfdObjectiveFailed", sla("errors", "error_ratio", "warning")},
				{"PerfdRegressionSuspected", latency},
			},
			[]string{"chat PerfdObjectiveFailed", "chat PerfdRegressionSuspected"},
		},
		"an unreachable target of several": {
			[]symptom{
				{"PerfdTargetUnreachable", map[string]string{"concern": "target", "severity": "warning", "target": "shop"}},
				{"PerfdObjectiveFailed", sla("errors", "error_ratio", "warning")},
				{"PerfdLoadShort", load},
				{"PerfdRunFailed", load},
			},
			[]string{"chat PerfdTargetUnreachable"},
		},
		"declared maintenance": {
			[]symptom{
				{"PerfdMaintenance", map[string]string{"concern": "load", "severity": "info"}},
				{"PerfdEverythingFails", map[string]string{"concern": "target", "severity": "critical"}},
				{"PerfdObjectiveFailed", sla("errors", "error_ratio", "critical")},
				{"PerfdRunFailed", load},
			},
			[]string{"chat PerfdMaintenance"},
		},
		"a leak near its limit": {
			[]symptom{
				{"PerfdResourceOverLimit", map[string]string{"concern": "leak", "severity": "critical", "scenario": "", "target": "shop", "resource": "heap"}},
				{"PerfdLeakNearLimit", map[string]string{"concern": "leak", "severity": "critical", "scenario": "", "target": "shop", "resource": "heap"}},
				{"PerfdMemoryLeakSuspected", map[string]string{"concern": "leak", "severity": "warning", "scenario": "", "target": "shop", "resource": "heap"}},
				{"PerfdResourceNearLimit", map[string]string{"concern": "leak", "severity": "warning", "scenario": "", "target": "shop", "resource": "heap"}},
			},
			[]string{"pager PerfdResourceOverLimit"},
		},
		"another scenario, and another perfd": {
			[]symptom{
				{"PerfdEverythingFails", map[string]string{"concern": "target", "severity": "critical"}},
				{"PerfdObjectiveFailed", withLabels(sla("errors", "error_ratio", "critical"), "scenario", "other")},
				{"PerfdObjectiveFailed", withLabels(sla("errors", "error_ratio", "critical"), "job", "perfd-eu")},
			},
			[]string{"pager PerfdEverythingFails", "pager PerfdObjectiveFailed", "pager PerfdObjectiveFailed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inbox, hook := newInbox(t)
			address := "http://" + alertmanager(t, hook+"/any")
			fire(t, address, c.symptoms)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, ok := inbox.wait(ctx, func(notice) bool { return true }); !ok {
				t.Fatal("no notification at all")
			}
			var got []string
			for quiet := 0; quiet < 5; quiet++ { // what has not come in five seconds of silence is held back
				pause(ctx, time.Second)
				list, _ := inbox.all()
				if len(list) > len(got) {
					quiet = -1
				}
				got = got[:0]
				for _, n := range list {
					got = append(got, n.Receiver+" "+n.Labels["alertname"])
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("notifications: %s; want %s", strings.Join(got, ", "), strings.Join(c.want, ", "))
			}
		})
	}
}

func withLabels(labels map[string]string, name, value string) map[string]string {
	labels = maps.Clone(labels)
	labels[name] = value
	return labels
}

// fire sends alerts to an Alertmanager, those that inhibit others before them, as the rules make sure.
func fire(t *testing.T, address string, symptoms []symptom) {
	t.Helper()
	for _, s := range symptoms {
		labels := map[string]string{"alertname": s.name, "job": "perfd", "scenario": "shop-soak"}
		maps.Copy(labels, s.labels)
		maps.DeleteFunc(labels, func(_, v string) bool { return v == "" })
		body, err := json.Marshal([]any{map[string]any{"labels": labels}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/api/v2/alerts", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", s.name, res.Status)
		}
	}
}
