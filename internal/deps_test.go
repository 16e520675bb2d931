// Package internal_test holds the import policy of perfd's rooms.
package internal_test

import (
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// policy says for each room below internal/ which rooms it may import. Imports
// point down: a room may import only rooms above its own line, which a test
// below holds. A folder under a room (protocol/*) never imports its sibling. A
// room with * may import everything; a room with nothing is a leaf.
//
// Tests are free to import more: a room's behaviour may be shown with real
// neighbours.
const policy = `
amount
block
hist
logging
metric
stats

load:           hist
expr:           block load
wire:           load
pace:           block
schedule:       block pace
validity:       block load stats
credential:     block expr load wire
queue
state
maintenance:    block schedule state

protocol:       block credential expr load wire
protocol/*:     block credential expr load protocol wire
target:         block credential load metric protocol wire

objective:      block load

engine:         load pace
feeder:         block expr
flow:           block credential expr feeder load objective protocol
record:         hist load metric

output:         block load metric protocol wire
output/*:       block load metric output protocol queue record wire

history:        block hist load queue

analysis:       amount hist load metric objective
analysis/*:     amount analysis block hist load metric objective stats

suite:          block load metric pace schedule state

kind:           analysis credential output pace protocol
kind/*:         analysis analysis/* credential kind output output/* pace protocol protocol/*

config:         amount analysis credential kind block expr feeder flow history maintenance objective output pace protocol schedule suite target validity wire
report:         amount analysis load
web:            amount analysis load
demo

judge:          analysis block history load metric
fleet:          analysis block config credential engine flow judge load maintenance metric output pace protocol record schedule state target validity wire

app:            *
command:        amount analysis app block config demo fleet flow hist history judge load output output/* pace report schedule suite validity
`

// commands lists the packages that a program below cmd/ may import: the daemon,
// what else its commands do, and the files that perfd ships.
var commands = []string{"internal/app", "internal/command", "internal/logging", "alerts", "dashboards"}

// plain lists rooms that may use the standard library only: what every other
// room depends on must not bring a module with it.
var plain = []string{"load"}

const module = "github.com/perfd/perfd/"

func TestImportsFollowThePolicy(t *testing.T) {
	for _, complaint := range violations(parsePolicy(t, policy), listPackages(t)) {
		t.Error(complaint)
	}
}

func TestPolicyPointsDown(t *testing.T) {
	rules := parsePolicy(t, policy)
	seen := map[string]bool{}
	for _, r := range rules {
		for _, to := range r.may {
			if to != "*" && !seen[to] {
				t.Errorf("policy: %s may import %s, which is not above it", r.room, to)
			}
		}
		seen[r.room] = true
	}
}

func TestViolationsAreFound(t *testing.T) {
	rules := parsePolicy(t, policy)
	for _, c := range []struct {
		name string
		pkg  goPackage
		want []string
	}{
		{
			"a leaf that imports a sibling",
			pkg("internal/protocol/http", "internal/protocol/grpc"),
			[]string{"internal/protocol/http imports internal/protocol/grpc: protocol/* may import block, credential, expr, load, protocol, wire"},
		},
		{
			"a folder below the same leaf",
			pkg("internal/protocol/http", "internal/protocol/http/chunked"),
			nil,
		},
		{
			"an import that points up",
			pkg("internal/engine", "internal/app"),
			[]string{"internal/engine imports internal/app: engine may import load, pace"},
		},
		{
			"a room without a line",
			pkg("internal/attic"),
			[]string{"internal/attic: no line in the policy"},
		},
		{
			"a module below a plain room",
			pkg("internal/load", "github.com/google/uuid"),
			[]string{"internal/load imports github.com/google/uuid: it may use the standard library only"},
		},
		{
			"a program that reaches past app",
			pkg("cmd/perfd", "internal/app", "internal/engine"),
			[]string{"cmd/perfd imports internal/engine: a program may import internal/app, internal/command, internal/logging, alerts, dashboards"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, violations(rules, []goPackage{c.pkg})); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

type rule struct {
	room string
	may  []string
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// pkg builds the package at a path of this module; what it imports are paths of
// this module too, unless they name a host.
func pkg(at string, imports ...string) goPackage {
	p := goPackage{ImportPath: module + at}
	for _, i := range imports {
		if !strings.Contains(i, ".") {
			i = module + i
		}
		p.Imports = append(p.Imports, i)
	}
	return p
}

func parsePolicy(t *testing.T, text string) []rule {
	t.Helper()
	var rules []rule
	for line := range strings.Lines(text) {
		room, may, _ := strings.Cut(strings.TrimSpace(line), ":")
		if room == "" {
			continue
		}
		rules = append(rules, rule{room, strings.Fields(may)})
	}
	if len(rules) == 0 {
		t.Fatal("the policy is empty")
	}
	return rules
}

// listPackages reads the sources itself rather than asking go list: go test
// sees the files that a test opens, and runs it again when one has changed.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	var list []goPackage
	for _, root := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(dir string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if d.Name() == "testdata" {
				return fs.SkipDir
			}
			p, err := build.ImportDir(dir, 0)
			if none := (*build.NoGoError)(nil); errors.As(err, &none) {
				return nil
			}
			if err != nil {
				return err
			}
			at, err := filepath.Rel("..", dir)
			if err != nil {
				return err
			}
			list = append(list, goPackage{ImportPath: module + filepath.ToSlash(at), Imports: p.Imports})
			return nil
		})
		if err != nil {
			t.Fatalf("read the imports below %s: %v", root, err)
		}
	}
	if len(list) < 2 {
		t.Fatalf("found %d packages, want all of cmd and internal", len(list))
	}
	return list
}

func violations(rules []rule, list []goPackage) []string {
	var found []string
	for _, p := range list {
		at := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(at, "cmd/") {
			found = append(found, commandViolations(at, p.Imports)...)
			continue
		}
		folder, ok := strings.CutPrefix(at, "internal/")
		if !ok {
			continue
		}
		r, own := find(rules, folder)
		if r == nil {
			found = append(found, at+": no line in the policy")
			continue
		}
		for _, i := range p.Imports {
			to, ours := strings.CutPrefix(i, module)
			switch {
			case !ours && slices.Contains(plain, r.room) && strings.Contains(i, "."):
				found = append(found, fmt.Sprintf("%s imports %s: it may use the standard library only", at, i))
			case ours && !allowed(r, own, strings.TrimPrefix(to, "internal/")):
				found = append(found, fmt.Sprintf("%s imports %s: %s may import %s", at, to, r.room, names(r.may)))
			}
		}
	}
	return found
}

func commandViolations(at string, imports []string) []string {
	var found []string
	for _, i := range imports {
		if to, ours := strings.CutPrefix(i, module); ours && !slices.Contains(commands, to) {
			found = append(found, fmt.Sprintf("%s imports %s: a program may import %s", at, to, names(commands)))
		}
	}
	return found
}

// find returns the rule of a folder below internal/ and the folder under which
// it may import freely: its room, or its own folder in a room of leaves.
func find(rules []rule, folder string) (*rule, string) {
	parts := strings.Split(folder, "/")
	for i := range rules {
		r := &rules[i]
		if len(parts) > 1 && r.room == parts[0]+"/*" {
			return r, path.Join(parts[0], parts[1])
		}
		if r.room == parts[0] && (len(parts) == 1 || !slices.ContainsFunc(rules, func(l rule) bool { return l.room == parts[0]+"/*" })) {
			return r, parts[0]
		}
	}
	return nil, ""
}

func allowed(r *rule, own, to string) bool {
	leaf := path.Dir(to) + "/*" // a room may be allowed all leaves of another
	return to == own || strings.HasPrefix(to, own+"/") || slices.Contains(r.may, to) || slices.Contains(r.may, leaf) || slices.Contains(r.may, "*")
}

func names(may []string) string {
	if len(may) == 0 {
		return "no other room"
	}
	return strings.Join(may, ", ")
}
