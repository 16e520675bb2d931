package pace

import (
	"reflect"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// An Executor describes one way to pace load, as the configuration knows it: the
// key executor of a workload names it, and its own keys stand beside that one.
type Executor struct {
	Name string // such as constant-vus
	Doc  string // what it does, in one line
	// New returns a new block of the executor's own keys with the defaults set: a
	// pointer to a struct, which is decoded into.
	New func() Workload
	// Instead says, by the key of another executor, which keys of this one do what it does.
	Instead map[string]string
}

// A Workload is the decoded block of an executor. Check comes first; the other
// methods are called only where it reported nothing, and change nothing.
type Workload interface {
	// Check reports what is wrong with the values. Mistakes at values that have
	// one already, and at a key that is missing beside other mistakes, are left out.
	Check(c *Checker)
	// Summary says what the load amounts to.
	Summary() Summary
	// Describe says the load in words, without the executor's name: "5/s for 1h".
	Describe() string
	// Plan returns the plan: an Open one for the open model. The scenario's name
	// separates the random choices of scenarios that have the same seed.
	Plan(scenario string, seed int) (Plan, error)
}

// A Model says whether the load depends on how fast the target answers.
type Model string

// The models of load (Schroeder, Wierman and Harchol-Balter, "Open Versus Closed:
// A Cautionary Tale", NSDI 2006).
const (
	OpenModel   Model = "open"   // iterations start at a rate, whatever the target does
	ClosedModel Model = "closed" // each virtual user starts an iteration when its last one has ended
)

// A Summary says what a workload amounts to.
type Summary struct {
	Model Model
	End   End
	Cycle time.Duration // length of the lap that repeats for ever; 0 where none does
	Once  bool          // the first pass differs from that lap: by its start, or by stages before the lap

	// Peak and Mean are levels: iterations per second of the open model, virtual
	// users of the closed one. Mean is that of the lap that repeats, or of the whole
	// workload where none does.
	Peak, Mean float64
	LapPeak    float64 // the highest level of the lap that repeats for ever; 0 where none does

	FirstVUs int // virtual users that are made before the workload begins
	MostVUs  int // virtual users that there may be at once

	MaxLateness      time.Duration // an arrival that is later is dropped; of the open model
	GracefulRampDown time.Duration // how long an iteration may go on after its virtual user was taken away
	// StartOver is over how long so many virtual users begin that would at the same instant; nil is at once.
	StartOver func(n int) time.Duration
}

// Kinds are the executors and shapes that a workload may name, in the order in
// which messages list them.
type Kinds struct {
	Executors []Executor
	Shapes    []Shape
	Dir       string // the folder that relative paths start from
	// Allowed reports why nothing may be read from a host; nil allows all.
	Allowed func(host string) error
}

// executor returns the executor of a name, nil where there is none.
func (k Kinds) executor(name string) *Executor {
	for i := range k.Executors {
		if k.Executors[i].Name == name {
			return &k.Executors[i]
		}
	}
	return nil
}

// names lists the executors.
func (k Kinds) names() []string {
	names := make([]string, len(k.Executors))
	for i, e := range k.Executors {
		names[i] = e.Name
	}
	return names
}

// shape returns the shape that a key chooses, nil where there is none.
func (k Kinds) shape(key string) *Shape {
	for i := range k.Shapes {
		if k.Shapes[i].Name == key {
			return &k.Shapes[i]
		}
	}
	return nil
}

// keys lists the keys of an executor's block, those of the shapes among them
// where it follows one.
func (k Kinds) keys(w Workload) []string {
	keys := block.FieldNames(block.Fields(reflect.TypeOf(w).Elem()))
	if _, ok := w.(follower); ok {
		for _, s := range k.Shapes {
			keys = append(keys, s.Name)
		}
	}
	return keys
}

// owners lists the executors that a key belongs to.
func (k Kinds) owners(key string) (names []string) {
	for _, e := range k.Executors {
		if slices.Contains(k.keys(e.New()), key) {
			names = append(names, e.Name)
		}
	}
	return names
}
