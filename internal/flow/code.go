package flow

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
)

// An opcode says what an instruction does. Instructions that jump continue at op.to.
type opcode uint8

const (
	opRequest  opcode = iota // performs step
	opThink                  // waits
	opSet                    // gives a variable a value
	opNext                   // takes the next row of feed
	opUnless                 // jumps unless test holds
	opChance                 // jumps with probability 1 - share
	opChoose                 // jumps to one of pick
	opJump                   // jumps
	opLoop                   // begins loop
	opPass                   // begins the next pass of loop, or jumps behind it
	opGroup                  // begins group
	opGroupEnd               // ends group, which is recorded as step
	opFork                   // performs the branches of fork, and continues behind them
	opOnce                   // jumps if once n is done
	opOnceEnd                // marks once n as done
	opCleanUp                // leaves cleanup for later
	opAdd                    // gives a metric the value of add
	opStop                   // ends the iteration
	opFail                   // ends it as failed
)

// An op is one instruction. Which fields are set depends on code.
type op struct {
	code  opcode
	to    int
	n     int // index of a step or of a once
	group int // index of a group
	share float64
	step  *step
	think *Think
	set   *assignment
	feed  *feed
	test  *expr.Expression
	pick  *choice
	loop  *loop
	fork  *fork
	text  *expr.Template

	cleanup *cleanup
	add     *addition
}

// needsState reports whether an instruction keeps something in the VU.
func needsState(o op) bool {
	switch o.code {
	case opLoop, opGroup, opFork, opOnce, opStop:
		return true
	}
	return false
}

// A choice is what opChoose chooses of.
type choice struct {
	upTo []float64 // sums of the shares of the first branches, the last 1
	to   []int
}

// A loop is a repeat. Its state is in the VU.
type loop struct {
	index       int // of its state
	count, each *expr.Expression
	while       *expr.Expression
	during      time.Duration
	atMost      int
	item, pass  int // slots of variables, -1 for none
	pace        time.Duration
}

// A fork is a parallel.
type fork struct {
	branches    []branch // each performed once; or the only one, performed for each pass
	count, each *expr.Expression
	atMost      int
	item, pass  int // slots of variables, -1 for none
	limit       int
}

// A branch is the part [from, to) of the code, and the slots that it sets for what comes after the fork.
type branch struct {
	from, to int
	sets     []int
}

func (p *Pause) compile(k *compiler, _ *block.Node, in place) {
	if p.Think.draw == nil {
		return // was reported when it was decoded
	}
	k.p.Think += time.Duration(float64(p.Think.Mean) * in.expected)
	k.emit(op{code: opThink, think: &p.Think})
}

func (p *Pace) compile(k *compiler, at *block.Node, in place) {
	switch {
	case k.part != "":
		k.o.Errors.Add(at.Pos, at.Path, "pace is of iterations, and %s is none", k.part).Hint = "use think"
	case in.inner:
		k.o.Errors.Add(at.Pos, at.Path, "pace is of a whole iteration: it stands in the scenario's own list of steps").Hint = "for passes of a loop write repeat: {…, pace: " + p.Pace.String() + "}"
	case k.p.Pace > 0:
		k.o.Errors.Add(at.Pos, at.Path, "an iteration has one pace, and another stands above")
	}
	k.p.Pace = p.Pace.D()
}

func (s *Set) compile(k *compiler, _ *block.Node, in place) {
	for _, x := range s.Set {
		a := &assignment{}
		var kind expr.Type
		switch x.Value.Kind {
		case block.List:
			a.json, kind = expr.ParseJSON(x.Value, in.symbols, k.o.Errors), expr.List
		case block.Map:
			a.json, kind = expr.ParseJSON(x.Value, in.symbols, k.o.Errors), expr.Object
		case block.Null:
			k.o.Errors.Add(x.Value.Pos, x.Value.Path, "has no value").Hint = `write "" for an empty text`
			continue
		default:
			a.value = expr.ParseScalar(x.Value, in.symbols, k.o.Errors)
			kind = a.value.Type()
		}
		a.slot = k.assign(x.Name, kind, in)
		k.emit(op{code: opSet, set: a})
	}
}

func (n *Next) compile(k *compiler, _ *block.Node, in place) {
	name := n.Next
	if k.o.Data[name.S] == nil {
		if name.Path != "" { // else decoding said what is wrong
			k.o.Errors.Add(name.Pos, name.Path, "unknown data %q", name.S).Hint = block.Nearest(name.S, slices.Sorted(maps.Keys(k.o.Data)))
		}
		return
	}
	f := k.feed(name.S)
	f.steps = f.steps || !k.root.Read(name.S)
	k.sets = append(k.sets, f.slot)
	k.line(in, "next row of %s", name)
	k.emit(op{code: opNext, feed: f})
}

// alternative compiles steps that an instruction at a place jumps over, and those it jumps to.
func (k *compiler) alternative(over int, steps, other *Config, in, otherIn place) {
	k.items(steps, in)
	if len(other.Items) == 0 {
		k.land(over)
		return
	}
	end := k.emit(op{code: opJump})
	k.land(over)
	otherIn.depth--
	done := k.line(otherIn, "else")
	otherIn.depth++
	k.items(other, otherIn)
	done()
	k.land(end)
}

func (w *When) compile(k *compiler, _ *block.Node, in place) {
	test := expr.ParseExpression(w.When, in.symbols, k.o.Errors, expr.Bool)
	done := k.line(in, "when %s", w.When)
	over := k.emit(op{code: opUnless, test: test})
	within := in.under(1)
	within.times = 0
	k.alternative(over, &w.Steps, &w.Else, within, within)
	done()
}

func (c *Chance) compile(k *compiler, _ *block.Node, in place) {
	p := float64(c.Chance)
	done := k.line(in, "with a chance of %s", c.Chance)
	over := k.emit(op{code: opChance, share: p})
	k.alternative(over, &c.Steps, &c.Else, in.under(p), in.under(1-p))
	done()
}

func (c *Choose) compile(k *compiler, _ *block.Node, in place) {
	sum := 0.0
	for _, b := range c.Choose {
		sum += b.Weight
	}
	if sum <= 0 {
		return // was reported when it was decoded
	}
	doneAll := k.line(in, "choose one of %d", len(c.Choose))
	pick := &choice{}
	k.emit(op{code: opChoose, pick: pick})
	upTo := 0.0
	var ends []int
	for i := range c.Choose {
		b := &c.Choose[i]
		upTo += b.Weight
		pick.upTo, pick.to = append(pick.upTo, upTo/sum), append(pick.to, k.here())
		within := in.under(b.Weight / sum)
		done := k.line(within, "%s of them", block.Ratio(b.Weight/sum))
		within.depth++
		k.items(&b.Steps, within)
		done()
		ends = append(ends, k.emit(op{code: opJump}))
	}
	for _, end := range ends {
		k.land(end)
	}
	doneAll()
}

// passes compiles how often something is done, and returns the place within it: with the variables of the passes,
// and as often as there are passes.
func (o *Over) passes(k *compiler, in place) (count, each *expr.Expression, item, pass int, within place) {
	errs := k.o.Errors
	within = in.under(1)
	within.symbols = expr.NewSymbols(in.symbols)
	switch {
	case isDigits(o.Count.S):
		count = expr.ParseExpression(o.Count, in.symbols, errs, expr.Number)
		n, err := strconv.Atoi(o.Count.S)
		if err != nil || n > maxPasses {
			errs.Add(o.Count.Pos, o.Count.Path, "must be at most %d passes, got %s", maxPasses, o.Count)
		}
		within.times *= n
		within.expected *= float64(n)
	case o.Count.S != "":
		count = expr.ParseExpression(o.Count, in.symbols, errs, expr.Number)
		within.times = 0
	case o.Each.S != "":
		each = expr.ParseExpression(o.Each, in.symbols, errs, expr.List)
		within.times = 0
	default:
		within.times = 0
	}
	declare := func(name block.Text, kind expr.Type) int {
		if name.S == "" {
			return -1
		}
		mayBeVariable(name, errs)
		within.passes = append(slices.Clip(within.passes), name.S)
		return within.symbols.Declare(name.S, kind)
	}
	return count, each, declare(o.As, expr.Any), declare(o.Index, expr.Number), within
}

// describe says how often, for the outline.
func (o *Over) describe() string {
	bound := ""
	if o.AtMost > 0 {
		bound = ", at most " + strconv.Itoa(o.AtMost) + " times"
	}
	switch {
	case isDigits(o.Count.S):
		return o.Count.S + " times"
	case o.Count.S != "":
		return o.Count.String() + " times" + bound
	case o.While.S != "":
		return "while " + o.While.String() + bound
	case o.Each.S != "":
		return "for each " + o.As.String() + " of " + o.Each.String() + bound
	}
	return "for " + o.During.String() + bound
}

func (r *Repeat) compile(k *compiler, at *block.Node, in place) {
	o := &r.Repeat
	l := &loop{index: k.p.loops, during: o.During.D(), atMost: o.AtMost, pace: o.Pace.D()}
	if l.atMost == 0 {
		l.atMost = maxPasses
	}
	k.p.loops++
	var within place
	l.count, l.each, l.item, l.pass, within = o.passes(k, in)
	if o.While.S != "" {
		l.while = expr.ParseExpression(o.While, in.symbols, k.o.Errors, expr.Bool)
	}
	done := k.line(in, "repeat %s", o.describe())
	k.emit(op{code: opLoop, loop: l})
	head := k.emit(op{code: opPass, loop: l})
	k.items(&r.Steps, within)
	if o.During > 0 && o.Pace == 0 && !slices.ContainsFunc(k.p.code[head:], takesTime) {
		k.o.Errors.Add(at.Pos, at.Path, "repeats for %s what takes no time", o.During).Hint = "add a request or a think time, or a pace"
	}
	k.emit(op{code: opJump, to: head})
	k.land(head)
	done()
}

func takesTime(o op) bool { return o.code == opRequest || o.code == opThink }

func (p *Parallel) compile(k *compiler, at *block.Node, in place) {
	f := &fork{limit: p.Limit, item: -1, pass: -1, atMost: max(p.over.AtMost, 1)}
	outer, wasBranch := k.variables, k.branch
	k.branch = true
	fork := k.emit(op{code: opFork, fork: f})
	if len(p.branches) > 0 {
		done := k.line(in, "at once, %d at most", f.limit)
		for i := range p.branches {
			sets := len(k.sets)
			from := k.here()
			within := in.under(1)
			doneOne := k.line(within, "branch %d", i+1)
			within.depth++
			k.items(&p.branches[i], within)
			doneOne()
			f.branches = append(f.branches, branch{from, k.here(), slices.Clone(k.sets[sets:])})
		}
		done()
	} else {
		if isDigits(p.over.Count.S) {
			f.atMost = maxPasses
		}
		var within place
		f.count, f.each, f.item, f.pass, within = p.over.passes(k, in)
		// Passes at the same time would overwrite each other's variables: each has its own, which end with it.
		k.variables, within.passes = within.symbols, nil
		done := k.line(in, "at once, %d at most: %s", f.limit, p.over.describe())
		from := k.here()
		k.items(&p.Steps, within)
		f.branches = []branch{{from: from, to: k.here()}}
		done()
	}
	k.variables, k.branch = outer, wasBranch
	k.land(fork)
	if !slices.ContainsFunc(k.p.code[fork:], takesTime) && k.o.Errors.Len() == 0 {
		k.o.Errors.Add(at.Pos, at.Path, "does nothing that takes time").Hint = "parallel is for requests"
	}
}

func (g *Group) compile(k *compiler, at *block.Node, in place) {
	label := k.label(g.Group, in)
	if g.Group.S == "" {
		k.o.Errors.Add(at.Pos, at.Path, "needs a name")
	}
	index := len(k.p.groupSteps)
	k.p.groupSteps = append(k.p.groupSteps, 0)
	done := k.line(in, "group %s", g.Group)
	k.emit(op{code: opGroup, group: index})
	within := in.under(1)
	within.prefix = label + "/"
	first := len(k.p.steps)
	k.items(&g.Steps, within)
	done()
	// The group follows its steps in the list, so that a program's first step is one.
	k.p.Steps = append(k.p.Steps, StepDesc{
		Label: label, Target: k.o.Target.S, Protocol: load.GroupProtocol, Objectives: g.Objectives, PerIteration: in.times, Group: true,
	})
	k.p.groupSteps[index] = len(k.p.steps)
	k.p.steps = append(k.p.steps, step{index: len(k.p.steps), target: k.targetIndex(first)})
	k.emit(op{code: opGroupEnd, group: index})
}

// targetIndex is the target of a group: that of its first step.
func (k *compiler) targetIndex(first int) int {
	if first < len(k.p.steps) {
		return k.p.steps[first].target
	}
	return 0
}

func (o *Once) compile(k *compiler, at *block.Node, in place) {
	if k.part != "" {
		k.o.Errors.Add(at.Pos, at.Path, "cannot stand within %s, which is performed once", k.part).Hint = "leave once_per_vu out"
		return
	}
	if k.branch {
		k.o.Errors.Add(at.Pos, at.Path, "once_per_vu cannot stand within parallel").Hint = "put it before"
	}
	done := k.line(in, "once for each virtual user")
	n := k.p.onces
	k.p.onces++
	over := k.emit(op{code: opOnce, n: n})
	sets := len(k.sets)
	within := in.under(1)
	within.times, within.expected = 0, 0
	k.items(&o.Steps, within)
	k.onceSets = append(k.onceSets, k.sets[sets:]...)
	k.emit(op{code: opOnceEnd, n: n})
	k.land(over)
	done()
}

func (s *Stop) compile(k *compiler, _ *block.Node, in place) {
	k.line(in, "stop the iteration")
	k.emit(op{code: opStop})
}

func (f *Fail) compile(k *compiler, _ *block.Node, in place) {
	k.line(in, "fail: %s", f.Fail)
	k.emit(op{code: opFail, text: expr.ParseTemplate(f.Fail, in.symbols, k.o.Errors)})
}
