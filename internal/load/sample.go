package load

import "time"

// The kinds of resources.
const (
	ResourceMemory      = "memory" // bytes; all others are counts
	ResourceGoroutines  = "goroutines"
	ResourceThreads     = "threads"
	ResourceDescriptors = "descriptors"
	ResourceConnections = "connections"
)

// A Sample is the level of one resource of a target over an interval: one
// reading, where Start is End and all levels are equal, or several folded.
type Sample struct {
	Target   string
	Resource string // its name in the configuration
	Kind     string // ResourceMemory, …
	Member   string // the pod, process or instance; empty where there is one

	Start, End           time.Time
	Count                int // readings
	Min, Mean, Max, Last float64
}
