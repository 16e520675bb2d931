package load

import (
	"cmp"
	"slices"
)

// A Disturbance says how perfd itself disturbed a measurement (SEMANTICS section
// 7). The set is closed, so that a label made of it stays bounded; its numbers are
// on disk.
type Disturbance uint8

// The disturbances.
const (
	Undisturbed   Disturbance = iota
	ByGap                     // perfd did not run for a moment
	ByLateness                // perfd sent the request late
	ByThrottling              // perfd did not run for a moment, because the kernel held back CPU time
	ByClock                   // the wall clock stepped
	ByDescriptors             // nearly no file descriptors left
	ByPorts                   // nearly no local ports left
	ByVUCap                   // the workload's own limit of VUs dropped arrivals
	ByLateDrops               // arrivals were dropped because perfd was late
	ByRateCap                 // arrivals were dropped by a limit on requests
	ByLittlesLaw              // what was recorded does not add up to what was under way
	ByFault                   // a fault of perfd itself
	ByCredential              // perfd had no credential to send requests with
	NumDisturbances
)

var disturbanceNames = [NumDisturbances]string{
	"", "pacer_gap", "lateness", "throttled", "clock", "descriptors", "ports", "vu_cap", "late", "rate_cap", "littles_law", "internal", "credential",
}

// String returns the label value of d, the empty string for Undisturbed.
func (d Disturbance) String() string {
	if d < NumDisturbances {
		return disturbanceNames[d]
	}
	return "unknown"
}

// Bit returns the bit of d in Flags.Invalid, 0 for Undisturbed.
func (d Disturbance) Bit() uint32 { return 1 << d >> 1 }

// Disturbances returns those whose bits are set, in their order.
func Disturbances(bits uint32) (found []Disturbance) {
	for d := ByGap; d < NumDisturbances; d++ {
		if bits&d.Bit() != 0 {
			found = append(found, d)
		}
	}
	return found
}

// A TouchedCount is the number of requests that one disturbance touched and that
// ended in one way.
type TouchedCount struct {
	By    Disturbance
	Cause Cause // None for requests that were answered and met their expect
	Count uint64
}

// AddTouched returns list, which is in order of By and Cause, with c added.
func AddTouched(list []TouchedCount, c TouchedCount) []TouchedCount {
	if c.Count == 0 {
		return list
	}
	i, known := slices.BinarySearchFunc(list, c, func(a, b TouchedCount) int {
		return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.Cause, b.Cause))
	})
	if !known {
		list = slices.Insert(list, i, TouchedCount{By: c.By, Cause: c.Cause})
	}
	list[i].Count += c.Count
	return list
}

// Sure reports whether a failure of the cause is the target's whatever perfd did
// meanwhile: a stall makes an answer late, and may let a connection or a deadline
// pass, but it refuses no connection and makes no answer wrong.
func (c Cause) Sure() bool {
	switch c {
	case DNS, Refused, Unreachable, TLS, Status, Check, Expect, Extract, Protocol, Input:
		return true
	}
	return false
}
