package analysis

import "strings"

// besides stands between the name of a scenario and that of its baseline's target. No name of a scenario has it.
const besides = "@"

// BaselineName returns the name under which the other side of a scenario with a twin is recorded: what its baseline,
// a target, does with the same load. It is that of no scenario, so that what counts scenarios never mixes the two sides.
func BaselineName(scenario, target string) string { return scenario + besides + target }

// IsBaseline reports whether a name is one that BaselineName returned.
func IsBaseline(name string) bool { return strings.Contains(name, besides) }
