package config

import (
	_ "embed"
	"os"
	"path/filepath"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/target"
)

// Options is what a document is loaded from.
type Options struct {
	File    string            // the main file
	Flags   map[string]string // text by path of its key: "safety.max_request_rate"
	Environ []string          // "NAME=value" each; nil is the process's own environment
	Kinds   kind.Set          // what the document may name
	// Was is the document in whose place the new one comes, nil for none. Scenarios of which the two say the
	// same are taken over: they are not decoded and compiled again.
	Was *Document
}

// maxFileSize bounds one configuration file, in bytes.
const maxFileSize = 16 << 20

// defaultsFile is where the lowest layer says it comes from.
const defaultsFile = "defaults.yaml"

//go:embed defaults.yaml
var defaultsText []byte

// Load reads, merges, resolves, decodes and checks a configuration. The error
// is a block.Mistakes with everything that is wrong; no secret is in it.
func Load(o Options) (*Document, error) {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	var errs block.Errors
	text, err := readFile(o.File, maxFileSize)
	if err != nil {
		errs.Add(block.Pos{}, "", "%v", err).Hint = "--config.file names the configuration file"
		return nil, errs.Err()
	}
	d, err := load(o, text, &errs)
	if o.Was != nil && (err != nil || d.outdated(o.Was)) {
		// What was taken over is made of other data, or messages have its places in the document before.
		o.Was, errs = nil, block.Errors{}
		d, err = load(o, text, &errs)
	}
	return d, err
}

// load is Load once the main file is read.
func load(o Options, text []byte, errs *block.Errors) (*Document, error) {
	dir := filepath.Dir(o.File)
	r := newResolver(o.Environ, dir, errs)
	r.sources.note(filepath.Clean(o.File), text)
	root := assemble(o, text, r)
	if root == nil {
		return nil, errs.Err()
	}
	var kinds []string
	for _, k := range o.Kinds.Protocols {
		kinds = append(kinds, k.Name)
	}
	r.document(root, kinds)
	r.secrets.conceal(root, "", false)
	r.secrets.environ(r.env)
	unresolved := errs.Mistakes()
	if scaleOf(root).On() {
		o.Was = nil // the places of what is taken over are those of a document that is in use
	}
	read := func(errs *block.Errors) *Document {
		d := &Document{
			Dir: dir, file: o.File, root: root, secrets: r.secrets, sources: r.sources, Scale: Scale{1, 1}, Safety: Safety{BackOff: target.DefaultBackOff()},
		}
		of := decode(d, o.Kinds.Outputs, o.Was, errs)
		d.feeders = openData(d, o.Was, errs)
		check(d, o.Kinds, of, errs)
		return d
	}
	d := read(errs)
	if errs.Len() > 0 {
		return nil, r.secrets.censor(r.first(errs.Mistakes(), unresolved), root)
	}
	if s := d.Scale; s.On() {
		// What the file says is right; it is read again as the rehearsal that it asks for.
		var more block.Errors
		root.Scale(&block.Scaling{Time: 1 / s.Time, Load: s.Load})
		d = read(&more)
		if more.Len() > 0 {
			return nil, r.secrets.censor(scaled(more.Mistakes(), s), root)
		}
	}
	d.striking = newStriking(r.secrets)
	fingerprints(d, root, o.Kinds)
	fingerprintOutputs(d)
	return d, nil
}

// assemble merges the layers into one tree: defaults, the main file and the
// files it names, environment, flags. It returns nil where the main file is no YAML.
func assemble(o Options, text []byte, r *resolver) *block.Node {
	l := newLayers(r.errs)
	l.over(block.Parse(defaultsFile, defaultsText, r.errs))
	main := block.Parse(o.File, text, r.errs)
	if main == nil {
		return nil
	}
	if main.Kind != block.Map {
		r.errs.Add(main.Pos, "", "must be a mapping of sections, got %s", main.Found())
		return nil
	}
	l.over(main)
	for _, n := range included(o.File, main.Get("scenario_files"), r) {
		l.beside(n)
	}
	known := sections(o.Kinds.Outputs)
	fromEnvironment(o.Environ, known, l)
	fromFlags(o.Flags, known, l)
	return l.document(o.File)
}
