package config

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/kind"
)

// fingerprints sets the fingerprint of every scenario (SEMANTICS section 4).
// What safety and blackouts say is part of it: a run under way would otherwise
// go on under an allow-list that no longer holds.
func fingerprints(d *Document, root *block.Node, kinds kind.Set) {
	known := fileHashes(d)
	sideBySide(len(d.Scenarios), func(i int) {
		s := d.Scenarios[i]
		if s.taken {
			return
		}
		var flows []*block.Node
		var used []string
		for _, c := range s.steps() {
			if c.At != nil {
				flows = append(flows, c.At)
				used = usedFlows(d, c, used)
			}
		}
		own := len(flows)
		for _, name := range used {
			flows = append(flows, root.Get("flows").Get(name))
		}
		judged := judgedBy(s.At, flows, kinds.Analyses)
		p := newPrinter(d.Dir, judged, known)
		shape := newPrinter(d.Dir, judged, known)
		shape.node(s.At.Get("workload"))
		for _, k := range kinds.Protocols {
			if own := s.At.Get(k.Name); own != nil && k.Scenario != nil {
				shape.node(own)
			}
		}
		d.Scale.print(shape)
		d.Scale.print(p)
		p.node(root.Get("safety"))
		p.node(root.Get("blackouts"))
		p.node(s.At)
		targets, credentials := s.Program.Targets(), s.Credentials()
		if b := s.BaselineSide(); b != nil {
			targets, credentials = append(targets, b.Program.Targets()...), append(credentials, b.Credentials()...)
		}
		for _, name := range targets {
			p.text(name)
			p.node(named(root.Get("targets"), name))
		}
		for _, name := range credentials {
			p.text(name)
			p.node(root.Get("credentials").Get(name))
		}
		for i, name := range used {
			p.text(name)
			p.node(flows[own+i])
		}
		for _, e := range d.Data {
			if slices.ContainsFunc(flows, func(n *block.Node) bool { return mentions(n, e.Name.S) }) {
				p.node(root.Get("data").Get(e.Name.S))
			}
		}
		for _, f := range flows {
			shape.node(f)
		}
		for _, k := range kinds.Protocols {
			for _, key := range k.Shapes {
				for _, name := range targets {
					if of := named(root.Get("targets"), name).Get(k.Name).Get(key); of != nil {
						shape.text(name)
						shape.node(of)
					}
				}
			}
		}
		s.Shape = shape.sum()
		s.Fingerprint = p.sum()
	})
}

// TargetFingerprint is equal in two documents where what they and safety say of a
// target is. What its files of certificates hold is no part of it: whoever uses
// them reads them again.
func (d *Document) TargetFingerprint(name string) string {
	p := newPrinter(d.Dir, nil, nil)
	d.Scale.print(p)
	p.node(d.root.Get("safety"))
	p.node(named(d.root.Get("targets"), name))
	if t := d.Target(name); t != nil && t.Credentials.S != "" {
		p.node(d.root.Get("credentials").Get(t.Credentials.S))
	}
	return p.sum()
}

// SuiteFingerprint is equal in two documents where what they and blackouts say of a suite is.
func (d *Document) SuiteFingerprint(name string) string {
	p := newPrinter(d.Dir, nil, nil)
	d.Scale.print(p)
	p.node(d.root.Get("blackouts"))
	p.node(d.SuiteNode(name))
	return p.sum()
}

// CredentialFingerprint is equal in two documents where what they and safety say of an entry of credentials is.
func (d *Document) CredentialFingerprint(name string) string {
	p := newPrinter(d.Dir, nil, nil)
	p.node(d.root.Get("safety"))
	p.node(d.root.Get("credentials").Get(name))
	return p.sum()
}

// judgedBy lists the parts of a scenario that decide how it is judged, not what
// it does: changing them restarts nothing.
func judgedBy(scenario *block.Node, flows []*block.Node, kinds analysis.Kinds) (parts []*block.Node) {
	add := func(n *block.Node) {
		if n != nil {
			parts = append(parts, n)
		}
	}
	add(scenario.Get("objectives"))
	add(scenario.Get("checks"))
	if twin := scenario.Get("twin"); twin != nil {
		add(twin.Get("margin"))
	}
	for _, k := range kinds {
		add(scenario.Get(k.Name))
	}
	for _, f := range flows {
		if f.Kind == block.Map { // a named flow
			f = f.Get("steps")
		}
		inFlow(f, add)
	}
	return parts
}

// inFlow calls add with the objectives of all steps of a flow, and of those in its constructs.
func inFlow(list *block.Node, add func(*block.Node)) {
	if list == nil {
		return
	}
	for _, step := range list.Items {
		if step.Kind == block.List { // a branch
			inFlow(step, add)
			continue
		}
		add(step.Get("objectives"))
		for _, key := range []string{"steps", "else", "choose", "parallel", "once_per_vu", "cleanup"} {
			if inner := step.Get(key); inner != nil && inner.Kind == block.List {
				inFlow(inner, add)
			}
		}
	}
}

// named returns the item of a list of mappings that has a name.
func named(list *block.Node, name string) *block.Node {
	for _, item := range list.Items {
		if n := item.Get("name"); n != nil && n.Scalar == name {
			return item
		}
	}
	return nil
}

// usedFlows lists the named flows that a flow uses, directly and through others.
func usedFlows(d *Document, c *flow.Config, found []string) []string {
	for _, name := range c.Uses() {
		if slices.Contains(found, name) {
			continue
		}
		found = append(found, name)
		for i := range d.Flows {
			if d.Flows[i].Name.S == name {
				found = usedFlows(d, &d.Flows[i].Value.Steps, found)
			}
		}
	}
	return found
}

// mentions reports whether a name stands anywhere in a tree, as a variable or by chance.
func mentions(n *block.Node, name string) bool {
	return strings.Contains(n.Scalar, name) ||
		slices.ContainsFunc(n.Keys, func(k block.Key) bool { return mentions(k.Value, name) }) ||
		slices.ContainsFunc(n.Items, func(i *block.Node) bool { return mentions(i, name) })
}

// fileHashes returns the hashes of the files of data, which are not read twice for them.
func fileHashes(d *Document) map[string]string {
	known := map[string]string{}
	for _, e := range d.Data {
		if f := d.feeders[e.Name.S]; f != nil && f.Hash != "" {
			known[e.Value.File.S] = f.Hash
		}
	}
	return known
}

// A printer hashes trees: what they say, not where it was written.
type printer struct {
	h       hash.Hash
	to      *bufio.Writer // of h: what is printed comes in small parts
	dir     string
	without []*block.Node     // values of keys that are left out
	known   map[string]string // hashes of files that were read already
}

func newPrinter(dir string, without []*block.Node, known map[string]string) printer {
	h := sha256.New()
	return printer{h, bufio.NewWriterSize(h, 1<<10), dir, without, known}
}

// sum returns the hash of everything printed.
func (p printer) sum() string {
	_ = p.to.Flush() // a hash takes everything
	return hex.EncodeToString(p.h.Sum(nil))
}

func (p printer) node(n *block.Node) {
	if n == nil {
		p.number(-1)
		return
	}
	p.number(int(n.Kind))
	p.text(n.Scalar)
	left := len(n.Keys)
	for _, k := range n.Keys {
		if slices.Contains(p.without, k.Value) {
			left--
		}
	}
	p.number(left)
	for _, k := range n.Keys {
		if left < len(n.Keys) && slices.Contains(p.without, k.Value) {
			continue
		}
		p.text(k.Name)
		p.node(k.Value)
		// What ca_file, password_file and their like name is read again while it is in use.
		if k.Name == "file" {
			p.file(k.Value.Scalar)
		}
	}
	p.number(len(n.Items))
	for _, i := range n.Items {
		p.node(i)
	}
}

func (p printer) number(i int) {
	_, _ = p.to.Write(binary.LittleEndian.AppendUint64(p.to.AvailableBuffer(), uint64(i)))
}

func (p printer) text(s string) {
	p.number(len(s))
	_, _ = p.to.WriteString(s)
}

// file hashes the content of a file that a block names (a body, rows).
// Whether it must exist is the block's to say.
func (p printer) file(path string) {
	if hash := p.known[path]; hash != "" {
		p.text(hash)
		return
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.dir, path)
	}
	if i, err := os.Stat(path); err != nil || !i.Mode().IsRegular() {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	// A file that ends early gives another hash than the whole one: that is all that is asked of it.
	_, _ = io.Copy(p.to, f)
}
