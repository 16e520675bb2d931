package pace

import (
	"fmt"
	"strings"

	"github.com/perfd/perfd/internal/block"
)

// Stages is the shape that is written line by line.
var Stages = Shape{
	Name: "stages",
	Doc:  "The stages of a ramping executor, one after another.",
	New:  func() Curve { return new(stageList) },
}

type stageList []Stage

func (l *stageList) Check(c *Checker) {
	if len(*l) == 0 {
		c.Fail(Stages.Name, "%s needs at least one", c.Executor).Hint = "write stages: [{duration: 5m, target: " + c.Model.example() + "}]"
		return
	}
	for i := range *l {
		c.Target((*l)[i].Target)
	}
}

func (l *stageList) Stages() []Stage { return *l }

func (l *stageList) count() int { return max(1, len(*l)) }

// Describe returns " → 50/s over 5m, then 50/s for 55m".
func (l *stageList) Describe(start Target) string {
	var b strings.Builder
	level := start.String()
	for i, s := range *l {
		target := s.Target.String()
		switch {
		case s.Duration == 0:
			fmt.Fprintf(&b, ", then at once %s", target)
		case target == level && i == 0:
			fmt.Fprintf(&b, " for %s", s.Duration)
		case target == level:
			fmt.Fprintf(&b, ", then %s for %s", target, s.Duration)
		case i == 0:
			fmt.Fprintf(&b, " → %s over %s", target, s.Duration)
		default:
			fmt.Fprintf(&b, ", then → %s over %s", target, s.Duration)
		}
		level = target
	}
	return b.String()
}

// JSONSchema describes the list.
func (stageList) JSONSchema() map[string]any { return block.Schema([]Stage{}) }
