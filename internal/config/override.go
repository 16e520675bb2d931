package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
)

// envPrefix begins the name of every environment variable that overrides a key.
const envPrefix = "PERFD_"

// serviceVariable matches what Kubernetes puts into the environment of every
// pod beside a service called perfd or perfd-something. Those names are the
// only PERFD_ ones that name no key.
var serviceVariable = regexp.MustCompile(
	`^PERFD(_[A-Z0-9]+)*_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// fromEnvironment adds the layer of PERFD_ variables: PERFD_SAFETY__MAX_REQUEST_RATE
// is safety.max_request_rate.
func fromEnvironment(environ []string, known []block.Field, l *layers) {
	environ = slices.Clone(environ)
	slices.Sort(environ)
	for _, v := range environ {
		name, text, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, envPrefix) || !strings.Contains(name, "__") && serviceVariable.MatchString(name) {
			continue
		}
		path := strings.Split(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "__")
		spell := func(path []string) string {
			return envPrefix + strings.ToUpper(strings.Join(path, "__"))
		}
		override(path, text, block.Pos{Env: name}, known, spell, l)
	}
}

// fromFlags adds the layer of flags, whose names are paths: safety.max_request_rate.
func fromFlags(flags map[string]string, known []block.Field, l *layers) {
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		spell := func(path []string) string { return "--" + strings.Join(path, ".") }
		override(strings.Split(name, "."), flags[name], block.Pos{Flag: name}, known, spell, l)
	}
}

const (
	notOneValue = "is a section, not one value"
	listInFile  = "is a list, which can be written in the file only"
)

// override sets one scalar, unless the path leads to none. It follows the
// document's types, so that what cannot be set is said with the name that was used;
// known are the keys at its top.
func override(path []string, text string, at block.Pos, known []block.Field, spell func([]string) string, l *layers) {
	where := strings.Join(path, ".")
	t := reflect.TypeFor[Document]()
	for i, key := range path {
		t = dereference(t)
		if of, ok := block.Element(t); ok {
			t = of
			continue
		}
		switch shapeOf(t) {
		case section:
			fields := known
			if i > 0 {
				fields = block.Fields(t)
			}
			f := block.FieldNamed(fields, key)
			if f == nil {
				l.errs.Add(at, strings.Join(path[:i+1], "."), "unknown key %q", key).Hint = nearestName(path[:i], key, fields, spell)
				return
			}
			t = f.Type
		case list:
			l.errs.Add(at, strings.Join(path[:i], "."), listInFile)
			return
		default:
			l.errs.Add(at, strings.Join(path[:i], "."), "is one value, it has no key %q", key).Hint = "write " + spell(path[:i])
			return
		}
	}
	t = dereference(t)
	if _, ok := block.Element(t); ok {
		l.errs.Add(at, where, notOneValue)
		return
	}
	switch shapeOf(t) {
	case section:
		l.errs.Add(at, where, notOneValue).Hint =
			"write " + spell(append(slices.Clone(path), block.Fields(t)[0].Name))
	case list:
		l.errs.Add(at, where, listInFile)
	default:
		l.over(under(path, block.Untyped(text, at, where)))
	}
}

// A shape is what a key's type makes of its value.
type shape int

const (
	scalar shape = iota
	section
	list
)

func shapeOf(t reflect.Type) shape {
	switch {
	case t.Kind() == reflect.Slice:
		return list
	case t.Kind() == reflect.Struct && len(block.Fields(t)) > 0:
		return section
	}
	return scalar
}

func nearestName(path []string, written string, fields []block.Field, spell func([]string) string) string {
	var known []string
	for _, f := range fields {
		known = append(known, spell(append(slices.Clone(path), f.Name)))
	}
	return block.Nearest(spell(append(slices.Clone(path), written)), known)
}

func dereference(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}
