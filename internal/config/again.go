package config

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/feeder"
)

// decodeScenarios decodes the scenarios, but for those that are as in the document before, and returns the mistakes
// of each.
func (d *Document) decodeScenarios(items []*block.Node, was *Document) (of []block.Errors) {
	if was != nil && (was.Dir != d.Dir || !sameBeside(d.root, was.root)) {
		was = nil
	}
	d.Scenarios, of = make([]*Scenario, len(items)), make([]block.Errors, len(items))
	sideBySide(len(items), func(i int) {
		if d.Scenarios[i] = was.taken(items[i]); d.Scenarios[i] == nil {
			d.Scenarios[i] = &Scenario{}
			block.Decode(items[i], d.Scenarios[i], &of[i])
		}
	})
	return of
}

// taken returns the scenario that is written as n is, nil where there is none. It gets the place of n, and n the tree
// that it was made of, so that there is one in memory.
func (d *Document) taken(n *block.Node) *Scenario {
	name := n.Get("name")
	if d == nil || name == nil {
		return nil
	}
	was := d.Scenario(name.Scalar)
	if was == nil || !same(n, was.At, false) {
		return nil
	}
	s := *was
	s.At, s.taken = n, true
	n.Keys = was.At.Keys
	return &s
}

// sameBeside reports whether two documents say the same of everything that scenarios depend on.
func sameBeside(a, b *block.Node) bool {
	beside := func(n *block.Node) []block.Key {
		return slices.DeleteFunc(slices.Clone(n.Keys), func(k block.Key) bool { return k.Name == "scenarios" || k.Name == "suites" })
	}
	return slices.EqualFunc(beside(a), beside(b), func(a, b block.Key) bool {
		return a.Name == b.Name && same(a.Value, b.Value, a.Name == "data") // whose files outdated compares
	})
}

// outdated reports whether scenarios were taken over that read data whose files hold something else now.
func (d *Document) outdated(was *Document) bool {
	return slices.ContainsFunc(d.Scenarios, func(s *Scenario) bool { return s.taken }) &&
		slices.ContainsFunc(d.Data, func(e block.Entry[feeder.Config]) bool { return d.feeders[e.Name.S] != was.feeders[e.Name.S] })
}

// sameData reports whether an entry of data and its file are what they were.
func (d *Document) sameData(was *Document, name string, now *feeder.Feeder) bool {
	if was == nil || was.Dir != d.Dir || was.feeders[name] == nil || now.Hash == "" || now.Hash != was.feeders[name].Hash {
		return false
	}
	return same(d.root.Get("data").Get(name), was.root.Get("data").Get(name), true)
}

// same reports whether two trees say the same. Where they name files, what is in those may differ: the trees are the
// same only if files is set.
func same(a, b *block.Node, files bool) bool {
	return a.Kind == b.Kind && a.Scalar == b.Scalar && a.Hidden == b.Hidden && a.Untyped == b.Untyped &&
		slices.EqualFunc(a.Keys, b.Keys, func(a, b block.Key) bool {
			return a.Name == b.Name && (files || a.Name != "file") && same(a.Value, b.Value, files)
		}) &&
		slices.EqualFunc(a.Items, b.Items, func(a, b *block.Node) bool { return same(a, b, files) })
}

// sideBySide calls f with 0 to n-1, on all processors.
func sideBySide(n int, f func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				f(i - 1)
			}
		})
	}
	all.Wait()
}
