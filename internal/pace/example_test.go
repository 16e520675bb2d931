package pace_test

import (
	"fmt"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/pace"
)

// workload decodes the workload block of a scenario, as the configuration does.
func workload(text string) (pace.Config, error) {
	kinds := pace.Kinds{
		Executors: []pace.Executor{pace.ConstantArrivalRate, pace.RampingArrivalRate, pace.ConstantVUs, pace.RampingVUs},
		Shapes:    []pace.Shape{pace.Stages},
	}
	var errs block.Errors
	var c pace.Config
	block.Decode(block.Parse("perfd.yaml", []byte(text), &errs), &c, &errs)
	c.Decode(kinds, &errs)
	return c, errs.Err()
}

// An open plan has a due time for each iteration. It can be entered anywhere.
func ExampleOpen() {
	c, err := workload("{executor: constant-arrival-rate, rate: 4/s, max_vus: 10}")
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := pace.New(c, "shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	open := plan.(pace.Open)
	n := 0
	for due := range open.Arrivals(100*24*time.Hour, 0, 1) {
		if n++; n > 3 {
			break
		}
		fmt.Println(due)
	}
	fmt.Println(open.Count(0, time.Minute), "in the first minute")
	// Output:
	// 2400h0m0s
	// 2400h0m0.25s
	// 2400h0m0.5s
	// 240 in the first minute
}

// Each arrival belongs to exactly one of the shards.
func ExampleOpen_shards() {
	c, err := workload("{executor: constant-arrival-rate, rate: 1/s, duration: 6s, max_vus: 10}")
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := pace.New(c, "shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	for shard := range 2 {
		fmt.Print("shard ", shard, ":")
		for due := range plan.(pace.Open).Arrivals(0, shard, 2) {
			fmt.Print(" ", due)
		}
		fmt.Println()
	}
	// Output:
	// shard 0: 0s 2s 4s
	// shard 1: 1s 3s 5s
}

// A closed plan has a number of virtual users at each instant.
func ExamplePlan() {
	c, err := workload("{executor: ramping-vus, start_vus: 0, stages: [{duration: 4s, target: 2}, {duration: 2s, target: 2}]}")
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := pace.New(c, "shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	for t := time.Duration(0); t != pace.Forever; t = plan.At(t).Until {
		fmt.Println(t, plan.At(t).VUs)
	}
	fmt.Println("ends", plan.End())
	// Output:
	// 0s 0
	// 2s 1
	// 4s 2
	// 6s 0
	// ends after 6s
}

// What a workload amounts to is known before it runs.
func ExampleConfig() {
	c, err := workload("{executor: ramping-arrival-rate, max_vus: 50, stages: [{duration: 5m, target: 50/s}, {duration: 55m, target: 50/s}], repeat: {from: 1}}")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Describe())
	fmt.Printf("%s model, peak %g/s, mean %g/s, at most %d VUs, ends %s\n", c.Model(), c.Peak(), c.Mean(), c.MostVUs(), c.End())
	// Output:
	// ramping-arrival-rate: 0/s → 50/s over 5m, then 50/s for 55m, repeats from stage 1
	// open model, peak 50/s, mean 50/s, at most 50 VUs, ends never
}

func ExampleEnd() {
	fmt.Println(pace.End{})
	fmt.Println(pace.End{Time: 10 * time.Minute})
	fmt.Println(pace.End{Total: 1000}.Within(10 * time.Minute))
	// Output:
	// never
	// after 10m
	// after 1000 iterations or 10m, whichever is first
}

// The shares of all shards add up to the total.
func ExampleShare() {
	for shard := range 3 {
		fmt.Println(pace.Share(10, shard, 3))
	}
	// Output:
	// 4
	// 3
	// 3
}
