package fleet

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/metric"
)

// A keeper is a credential and the goroutine that renews it. It outlives a reload
// that leaves the entry of credentials and safety as they were.
type keeper struct {
	*credential.Credential
	fingerprint string
	cancel      context.CancelFunc // ends the goroutine
	done        chan struct{}      // closed when it has ended
}

// newKeeper makes a credential and starts nothing.
func (f *Fleet) newKeeper(d *credential.Definition, s *config.Safety, fingerprint string) *keeper {
	log := f.o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	client := credential.NewClient(d.Source, credential.ClientOptions{
		Guard: *s.Guard(), Network: f.o.Network, Transport: f.o.Transport, TLSFaults: f.o.TLSFaults, UserAgent: "perfd/" + version.Version,
	})
	return &keeper{
		Credential:  credential.New(credential.Options{Name: d.Name.S, Source: d.Source, Client: client, Log: log, Secret: f.conceal}),
		fingerprint: fingerprint,
	}
}

// conceal has a text struck out of all that people see. Failures that hold what it takes the place of are struck now.
func (f *Fleet) conceal(text string) {
	if f.o.Secret == nil {
		return
	}
	for _, s := range f.Scenarios() {
		s.failures.conceal()
	}
	f.o.Secret(text)
}

func (k *keeper) start() {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel, k.done = cancel, make(chan struct{})
	go func() {
		defer close(k.done)
		k.Run(ctx)
	}()
}

// stop ends the goroutine, if it was started. The credential has no value from then on.
func (k *keeper) stop() {
	if k.cancel == nil {
		return
	}
	k.cancel()
	<-k.done
}

// buildCredentials makes the credentials that targets and steps name, taking over those that are unchanged.
func (f *Fleet) buildCredentials(doc *config.Document, old *generation) map[string]*keeper {
	used := map[string]bool{}
	for i := range doc.Targets {
		used[doc.Targets[i].Credentials.S] = true
	}
	for i := range doc.Scenarios {
		for _, name := range doc.Scenarios[i].Credentials() {
			used[name] = true
		}
		if b := doc.Scenarios[i].BaselineSide(); b != nil {
			for _, name := range b.Credentials() {
				used[name] = true
			}
		}
	}
	all := map[string]*keeper{}
	for name := range used {
		d := doc.Credential(name)
		if d == nil {
			continue // the empty name
		}
		fingerprint := doc.CredentialFingerprint(name)
		if was := old.credentials[name]; was != nil && was.fingerprint == fingerprint {
			all[name] = was
			continue
		}
		all[name] = f.newKeeper(d, &doc.Safety, fingerprint)
	}
	return all
}

// credential returns the credential of a name, nil where there is none.
func (g *generation) credential(name string) *credential.Credential {
	if k := g.credentials[name]; k != nil {
		return k.Credential
	}
	return nil
}

// lacking reports whether a credential that a step needs has no value.
func (s *Scenario) lacking() bool {
	for _, c := range s.credentials {
		if c.Value() == nil {
			return true
		}
	}
	return false
}

// firstFetch is the longest time for which load and watches wait for the first fetch of a credential. A run that
// begins by that much too late is on time.
const firstFetch = 15 * time.Second

// awaitFetch waits until a credential was asked for once, so that neither a run nor a watch begins with failures
// because the first token is on its way. A nil credential is not waited for.
func awaitFetch(ctx context.Context, c *credential.Credential) {
	if c == nil {
		return
	}
	most := time.NewTimer(firstFetch)
	defer most.Stop()
	select {
	case <-c.Tried():
	case <-most.C:
	case <-ctx.Done():
	}
}

// awaitCredentials waits until each credential has a value; false where ctx ends before. Steps that run once, before
// load, wait for it as iterations do.
func (s *Scenario) awaitCredentials(ctx context.Context) bool {
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for s.lacking() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// A CredentialStatus is how a credential of a scenario's steps stands.
type CredentialStatus struct {
	Name string
	credential.Status
}

// Credentials is how the credentials of the scenario's steps stand, in the order of the steps.
func (s *Scenario) Credentials() (list []CredentialStatus) {
	for _, name := range s.cfg.Credentials() {
		list = append(list, CredentialStatus{name, s.credentials[name].Status()})
	}
	return list
}

func collectCredentials(send analysis.Send, all map[string]*keeper) {
	for name, k := range all {
		is := k.Status()
		send(metric.CredentialUp, analysis.Number(is.Up), name)
		send(metric.CredentialFetches, float64(is.Fetches), name)
		if !is.Expires.IsZero() {
			send(metric.CredentialExpiry, Seconds(is.Expires), name)
		}
		for reason, n := range is.Failures {
			send(metric.CredentialFetchFailures, float64(n), name, reason)
		}
	}
}

// withheld counts the time between two instants in which no iteration could start for want of a credential.
func (r *run) withheld(from, to time.Time) {
	if !r.s.paused() && r.s.lacking() {
		r.s.valid.Withheld(from, to)
	}
}
