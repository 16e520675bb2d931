package config

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
)

// sharable are the sections that a file of scenario_files may hold, and whether each is a list.
var sharable = []struct {
	name string
	kind block.Kind
}{
	{"vars", block.Map}, {"credentials", block.Map}, {"targets", block.List}, {"data", block.Map}, {"flows", block.Map}, {"scenarios", block.List}, {"suites", block.List},
}

// maxIncluded bounds how many files scenario_files may match.
const maxIncluded = 1000

// included reads the files that the patterns of scenario_files match, in order
// of their names. Patterns may hold ${env:…} and ${file:…}, but nothing of
// vars, which the files themselves may add to.
func included(main string, patterns *block.Node, r *resolver) []*block.Node {
	if patterns == nil || patterns.Kind != block.List {
		return nil // decoding says so
	}
	dir := filepath.Dir(main)
	seen := map[string]bool{filepath.Clean(main): true}
	var out []*block.Node
	for _, p := range patterns.Items {
		r.scalar(p, false)
		if p.Kind != block.String {
			continue // decoding says so
		}
		pattern := p.Scalar
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		r.sources.patterns = append(r.sources.patterns, pattern)
		for _, file := range match(pattern, p, r.errs) {
			if seen[file] {
				continue
			}
			if seen[file] = true; len(seen) > maxIncluded {
				r.errs.Add(p.Pos, p.Path, "matches more than %d files", maxIncluded)
				return out
			}
			text, err := readFile(file, maxFileSize)
			if err != nil {
				r.errs.Add(p.Pos, p.Path, "%v", err)
				continue
			}
			r.sources.note(filepath.Clean(file), text)
			if n := block.Parse(file, text, r.errs); n != nil {
				out = append(out, shared(n, r.errs))
			}
		}
	}
	return out
}

// match lists the files of one pattern. A pattern may match none, a plain path must exist.
func match(pattern string, p *block.Node, errs *block.Errors) []string {
	folder, _ := filepath.Split(pattern)
	if strings.ContainsAny(folder, `*?[`) {
		errs.Add(p.Pos, p.Path, "only a file's name may hold *, ? and [, got %s", p.Found()).Hint = "write one pattern for each folder"
		return nil
	}
	files, err := filepath.Glob(pattern)
	switch {
	case err != nil:
		errs.Add(p.Pos, p.Path, "is no pattern of file names: %v, got %s", err, p.Found())
	case len(files) == 0 && !strings.ContainsAny(pattern, `*?[`):
		errs.Add(p.Pos, p.Path, "there is no file %s", pattern)
	}
	slices.Sort(files)
	return files
}

// shared returns what of a file may stand outside of the main file.
func shared(n *block.Node, errs *block.Errors) *block.Node {
	if n.Kind != block.Map {
		errs.Add(n.Pos, "", "must be a mapping of sections, got %s", n.Found())
		return &block.Node{Kind: block.Map, Pos: n.Pos}
	}
	var names []string
	for _, s := range sharable {
		names = append(names, s.name)
	}
	out := *n
	out.Keys = nil
	for _, k := range n.Keys {
		i := slices.Index(names, k.Name)
		switch {
		case slices.Contains(mainOnly, k.Name):
			errs.Add(k.Pos, k.Value.Path, "belongs into the main file, not into one of scenario_files").Hint =
				"such a file may hold " + strings.Join(names, ", ")
		case i < 0:
			block.UnknownKey(k, n.Path, names, errs)
		case k.Value.Kind == block.Null:
			errs.Add(k.Value.Pos, k.Value.Path, "has no value").Hint = "give it one, or leave the key out"
		case k.Value.Kind != sharable[i].kind:
			errs.Add(k.Value.Pos, k.Value.Path, "must be %s, got %s", sharable[i].kind, k.Value.Found())
		default:
			out.Keys = append(out.Keys, k)
		}
	}
	return &out
}

// mainOnly are the sections that only the main file may hold.
var mainOnly = []string{"safety", "blackouts", "maintenance", "scenario_files"}
