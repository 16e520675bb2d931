package load

import "time"

// The kinds of resources.
const (
	ResourceMemory      = "memory"
	ResourceDisk        = "disk"
	ResourceGoroutines  = "goroutines"
	ResourceThreads     = "threads"
	ResourceDescriptors = "descriptors"
	ResourceConnections = "connections"
	ResourceCPU         = "cpu"     // a rate: seconds of CPU per second, which are cores
	ResourceNetwork     = "network" // a rate: bytes per second
)

// The units of resources.
const (
	UnitBytes          = "bytes"
	UnitCount          = "count"
	UnitCores          = "cores"
	UnitBytesPerSecond = "bytes_per_second"
)

// ResourceUnit returns the unit of a kind of resources.
func ResourceUnit(kind string) string {
	switch kind {
	case ResourceMemory, ResourceDisk:
		return UnitBytes
	case ResourceCPU:
		return UnitCores
	case ResourceNetwork:
		return UnitBytesPerSecond
	}
	return UnitCount
}

// ResourceRate reports whether a kind of resources is a rate. What is used at a rate is not held, so it cannot leak.
func ResourceRate(kind string) bool { return kind == ResourceCPU || kind == ResourceNetwork }

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
