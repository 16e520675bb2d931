package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
)

// A resolver replaces ${…} by what it names: an environment variable, a file's
// content, an entry of vars.
//
// Where requests are described (flows, and what a target adds to them), ${…}
// is also how values of a run are written. There only these three are replaced
// and everything else is left for the flow's own compiler, which reads the
// result as a template: what is put in is escaped so that it stays literal.
type resolver struct {
	env     map[string]string
	secrets *secrets
	sources *sources
	vars    map[string]*variable
	failed  map[block.Pos]bool // values that could not be resolved: what else is wrong with them follows from that
	errs    *block.Errors
}

func newResolver(environ []string, dir string, errs *block.Errors) *resolver {
	r := &resolver{env: map[string]string{}, secrets: newSecrets(dir), sources: &sources{}, failed: map[block.Pos]bool{}, errs: errs}
	for _, v := range environ {
		name, text, _ := strings.Cut(v, "=")
		r.env[name] = text
	}
	return r
}

// fail notes that a value cannot be resolved.
func (r *resolver) fail(n *block.Node, hint, format string, args ...any) {
	r.failed[n.Pos] = true
	r.errs.Add(n.Pos, n.Path, format, args...).Hint = hint
}

// A variable is an entry of vars.
type variable struct {
	node  *block.Node
	state int
}

// longestValue bounds what references to references can grow to, in bytes.
const longestValue = 1 << 20

// States of a variable, which may refer to others.
const (
	unresolved = iota
	resolving
	resolved
)

var (
	varName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	refPattern = regexp.MustCompile(`^\$\{(?:(env|file):([^}]*)|([A-Za-z_][A-Za-z0-9_]*))\}`)
)

// declare makes the entries of vars known and resolves them.
func (r *resolver) declare(vars *block.Node) {
	r.vars = map[string]*variable{}
	if vars == nil || vars.Kind != block.Map {
		return // decoding says so
	}
	for _, k := range vars.Keys {
		switch v := k.Value; {
		case !varName.MatchString(k.Name):
			r.errs.Add(k.Pos, v.Path, "a name in vars is made of letters, digits and _, got %q", k.Name)
		case v.Kind == block.Null:
			r.errs.Add(v.Pos, v.Path, "has no value").Hint = `write "" for an empty text`
		case v.Kind == block.List || v.Kind == block.Map:
			r.errs.Add(v.Pos, v.Path, "must be text, a number or a boolean, got %s", v.Found()).Hint = "for a piece of configuration use a YAML anchor below a key that begins with x-"
		default:
			if v.Pos.Env != "" { // PERFD_VARS__TOKEN is as good a secret as ${env:TOKEN}
				v.Hidden = true
				r.secrets.add(v.Scalar)
			}
			r.vars[k.Name] = &variable{node: v}
		}
	}
	for _, k := range vars.Keys {
		r.variable(k.Name)
	}
}

// document resolves everything below the document's root.
func (r *resolver) document(root *block.Node, kinds []string) {
	r.declare(root.Get("vars"))
	for _, k := range root.Keys {
		switch k.Name {
		case "vars", "scenario_files": // resolved already
		case "flows":
			r.walk(k.Value, true)
		case "credentials":
			for _, entry := range k.Value.Keys {
				r.scalar(entry.Value, false)
				for _, kind := range entry.Value.Keys {
					r.walk(kind.Value, kind.Name == "login") // which describes a request
				}
			}
		case "scenarios":
			r.items(k.Value, func(key string) bool {
				return key == "flow" || key == "setup" || key == "teardown" || slices.Contains(kinds, key)
			})
		case "targets":
			r.items(k.Value, func(key string) bool { return slices.Contains(kinds, key) })
		default:
			r.walk(k.Value, false)
		}
	}
}

// items resolves a list of mappings, some keys of which describe requests.
func (r *resolver) items(list *block.Node, runtime func(key string) bool) {
	for _, item := range list.Items {
		for _, k := range item.Keys {
			r.walk(k.Value, runtime(k.Name))
		}
	}
}

func (r *resolver) walk(n *block.Node, runtime bool) {
	r.scalar(n, runtime)
	for _, k := range n.Keys {
		r.walk(k.Value, runtime)
	}
	for _, i := range n.Items {
		r.walk(i, runtime)
	}
}

// scalar resolves one value. One that is exactly one ${…} takes the type of what it names.
func (r *resolver) scalar(n *block.Node, runtime bool) {
	if n.Kind != block.String || !strings.Contains(n.Scalar, "${") {
		return
	}
	if ref := refPattern.FindString(n.Scalar); ref != n.Scalar {
		r.text(n, runtime)
	} else if v := r.lookup(n, ref, runtime); v != nil {
		n.Kind, n.Hidden, n.Untyped = v.Kind, n.Hidden || v.Hidden, n.Untyped || v.Untyped
		n.Scalar = v.Scalar
		if runtime {
			n.Scalar = literal(v.Scalar)
		}
	}
}

// text resolves the references within a text.
func (r *resolver) text(n *block.Node, runtime bool) {
	var out strings.Builder
	rest := n.Scalar
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found || out.Len() > longestValue {
			break
		}
		if plain, escaped := strings.CutSuffix(before, "$"); escaped {
			if !runtime {
				before = plain
			}
			out.WriteString(before + "${")
			rest = after
			continue
		}
		out.WriteString(before)
		ref := refPattern.FindString("${" + after)
		if ref == "" && !runtime {
			r.unknown(n, "${"+after)
			return
		}
		v := r.lookup(n, ref, runtime)
		if v == nil {
			out.WriteString("${")
			rest = after
			continue
		}
		n.Hidden = n.Hidden || v.Hidden
		rest = strings.TrimPrefix("${"+after, ref)
		out.WriteString(r.inserted(n, v.Scalar, rest, runtime))
	}
	if out.Len() > longestValue {
		r.fail(n, "", "is longer than %d bytes with what it refers to", longestValue)
		return
	}
	n.Scalar = out.String() + rest
}

// inserted returns a value as it stands in a text before the rest of it.
func (r *resolver) inserted(n *block.Node, value, rest string, runtime bool) string {
	if !runtime {
		return value
	}
	if strings.HasSuffix(value, "$") && (strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "${")) {
		r.fail(n, "separate the two, or put both into one value",
			"a value that is put in ends in $, which gives what follows another meaning")
	}
	return literal(value)
}

// literal escapes a value that stands in a template.
func literal(s string) string { return strings.ReplaceAll(s, "${", "$${") }

// lookup returns what a reference names, nil where it names nothing that is
// known here: then that was reported, or it is the run's.
func (r *resolver) lookup(n *block.Node, ref string, runtime bool) *block.Node {
	m := refPattern.FindStringSubmatch(ref)
	switch {
	case m == nil:
		return nil
	case m[1] == "env":
		return r.environment(n, m[2])
	case m[1] == "file":
		return r.file(n, m[2])
	}
	if v := r.variable(m[3]); v != nil {
		r.failed[n.Pos] = r.failed[n.Pos] || r.failed[v.Pos]
		return v
	}
	if !runtime {
		r.unknown(n, ref)
	}
	return nil
}

func (r *resolver) unknown(n *block.Node, at string) {
	end := strings.IndexByte(at, '}')
	if end < 0 {
		r.fail(n, "write $${ for a literal ${", "in %s: ${ is not closed", n.Found())
		return
	}
	var known []string
	for name := range r.vars {
		known = append(known, name)
	}
	slices.Sort(known)
	name := at[2:end]
	hint := "write ${env:NAME}, ${file:PATH} or ${NAME} of vars, and $${ for a literal ${"
	if len(known) > 0 && varName.MatchString(name) {
		hint = block.Nearest(name, known)
	}
	r.fail(n, hint, "%q is not in vars", name)
}

// variable returns an entry of vars, resolved; nil where there is none.
func (r *resolver) variable(name string) *block.Node {
	v := r.vars[name]
	if v == nil {
		return nil
	}
	switch v.state {
	case resolving:
		r.fail(v.node, "", "refers to itself")
	case unresolved:
		v.state = resolving
		r.scalar(v.node, false)
		v.state = resolved
	}
	return v.node
}

// environment returns the value of NAME or NAME:-default.
func (r *resolver) environment(n *block.Node, ref string) *block.Node {
	name, fallback, optional := strings.Cut(ref, ":-")
	if !varName.MatchString(name) {
		r.fail(n, "write ${env:NAME} or ${env:NAME:-default}", "%q is no name of an environment variable", name)
		return nil
	}
	text, set := r.env[name]
	switch {
	case optional && text == "":
		return block.Untyped(fallback, n.Pos, n.Path)
	case !set:
		r.fail(n, "write ${env:"+name+":-default} where it may be missing", "environment variable %s is not set", name)
		return nil
	}
	return r.secret(text, n)
}

// file returns the content of a file without the newline at its end.
func (r *resolver) file(n *block.Node, path string) *block.Node {
	text, err := r.secrets.read(path)
	if err != nil {
		r.fail(n, "", "%v", err)
		return nil
	}
	return r.secret(text, n)
}

func (r *resolver) secret(text string, n *block.Node) *block.Node {
	r.secrets.add(text)
	v := block.Untyped(text, n.Pos, n.Path)
	v.Hidden = true
	return v
}

// first drops mistakes about values that were not resolved, but for the one that says so.
func (r *resolver) first(all, unresolved block.Mistakes) block.Mistakes {
	return slices.DeleteFunc(all, func(e *block.Error) bool {
		return r.failed[e.Pos] && !slices.ContainsFunc(unresolved, func(u *block.Error) bool { return *u == *e })
	})
}
