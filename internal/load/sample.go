package load

import "time"

// The kinds of resources. Memory is in bytes, all others are counts.
const (
	ResourceMemory      = "memory"
	ResourceGoroutines  = "goroutines"
	ResourceThreads     = "threads"
	ResourceDescriptors = "descriptors"
	ResourceConnections = "connections"
)

// A Sample is the level of one resource of a target over an interval. It is one
// reading, with Start equal to End and all levels equal, or several readings folded.
type Sample struct {
	Target   string
	Resource string // its name in the configuration
	Kind     string // ResourceMemory, …
	Member   string // the pod, process or instance; empty if the target has one only

	Start, End           time.Time
	Count                int     // readings
	Min, Mean, Max, Last float64 // in the unit of Kind
}
