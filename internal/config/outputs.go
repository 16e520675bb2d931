package config

import (
	"reflect"
	"slices"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/output"
)

// blocks lists the keys at the top of the document that an output owns.
func blocks(c output.Config) []block.Field { return block.Fields(reflect.TypeOf(c).Elem()) }

// sections lists the keys at the top of the document: its own, then those of
// the outputs.
func sections(kinds []output.Kind) []block.Field {
	all := block.Fields(reflect.TypeFor[Document]())
	for _, k := range kinds {
		all = append(all, blocks(k.Config())...)
	}
	return all
}

// decode decodes the document's root, each key by whom it belongs to. It returns the mistakes of each scenario apart.
func decode(d *Document, kinds []output.Kind, was *Document, errs *block.Errors) (of []block.Errors) {
	known := sections(kinds)
	own := block.FieldNames(block.Fields(reflect.TypeFor[Document]()))
	for _, k := range d.root.Keys {
		if block.FieldNamed(known, k.Name) == nil {
			block.UnknownKey(k, d.root.Path, block.FieldNames(known), errs)
		}
	}
	scenarios := d.root.Get("scenarios")
	if scenarios != nil && scenarios.Kind == block.List {
		own = slices.DeleteFunc(own, func(name string) bool { return name == "scenarios" })
		of = d.decodeScenarios(scenarios.Items, was)
	}
	block.Decode(only(d.root, own), d, errs)
	for _, k := range kinds {
		c := k.Config()
		block.Decode(only(d.root, block.FieldNames(blocks(c))), c, errs)
		d.Outputs = append(d.Outputs, output.Configured{Kind: k, Config: c})
	}
	return of
}

// only returns a mapping with the named keys of n.
func only(n *block.Node, names []string) *block.Node {
	part := *n
	part.Keys = slices.DeleteFunc(slices.Clone(n.Keys), func(k block.Key) bool { return !slices.Contains(names, k.Name) })
	return &part
}

// fingerprintOutputs sets the allow-list and the fingerprints of the outputs.
func fingerprintOutputs(d *Document) {
	for i := range d.Outputs {
		o := &d.Outputs[i]
		o.Guard = *d.Safety.Guard()
		p := newPrinter(d.Dir, nil, nil)
		p.node(only(d.root, block.FieldNames(blocks(o.Config))))
		if safety := d.root.Get("safety"); safety != nil && safety.Kind == block.Map {
			p.node(only(safety, []string{"allowed_hosts", "allowed_networks"}))
		}
		o.Fingerprint = p.sum()
	}
}
