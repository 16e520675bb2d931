package block_test

import (
	"fmt"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A pool is a block of configuration.
type pool struct {
	Name string         `yaml:"name" block:"required" doc:"Name of the pool."`
	Size int            `yaml:"size" doc:"How many connections it keeps; 4 by default."`
	Idle block.Duration `yaml:"idle" doc:"How long a connection may be idle; 1m by default."`
}

// Validate checks what no single field can know.
func (p *pool) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("size"); n != nil && p.Size < 1 {
		errs.Add(n.Pos, n.Path, "must be at least 1, got %d", p.Size).Hint = "leave it out for 4"
	}
}

// Defaults are set before a block is decoded over them.
func ExampleDecode() {
	const text = `
name: shop
idle: 1m30s
`
	var errs block.Errors
	p := pool{Size: 4, Idle: block.Duration(time.Minute)}
	block.Decode(block.Parse("pool.yaml", []byte(text), &errs), &p, &errs)
	fmt.Println(p.Name, p.Size, p.Idle, errs.Err())
	// Output: shop 4 1m30s <nil>
}

// All mistakes are reported at once, each with its place and, where known, a hint.
func ExampleErrors() {
	const text = `
nane: shop
size: 0
idle: 90
`
	var errs block.Errors
	var p pool
	block.Decode(block.Parse("pool.yaml", []byte(text), &errs), &p, &errs)
	fmt.Println(errs.Err())
	// Output:
	// pool.yaml:2:1: name: is required
	// pool.yaml:2:1: nane: unknown key "nane"
	// 	hint: did you mean "name"?
	// pool.yaml:3:7: size: must be at least 1, got 0
	// 	hint: leave it out for 4
	// pool.yaml:4:7: idle: a duration needs a unit, got 90
	// 	hint: write "90s", "90ms" or "90m"
}

// The schema has the doc tags as descriptions.
func ExampleSchema() {
	s := block.Schema(pool{})
	fmt.Println(s["required"])
	fmt.Println(s["properties"].(map[string]any)["size"].(map[string]any)["description"])
	// Output:
	// [name]
	// How many connections it keeps; 4 by default.
}

func ExampleNearest() {
	known := []string{"always", "cron", "every", "manual"}
	fmt.Println(block.Nearest("evry", known))
	fmt.Println(block.Nearest("sometimes", known))
	// Output:
	// did you mean "every"?
	// known are always, cron, every, manual
}

func ExampleParseDuration() {
	d, err := block.ParseDuration("1d12h")
	fmt.Println(d, err)
	// Output: 36h0m0s <nil>
}

// A secret does not show itself, however it is printed.
func ExampleSecret() {
	var errs block.Errors
	var c struct {
		Token block.Secret `yaml:"token"`
	}
	block.Decode(block.Parse("perfd.yaml", []byte("token: hunter2"), &errs), &c, &errs)
	fmt.Printf("%v %+v %q %s\n", c, c, c.Token, c.Token.Value())
	// Output: {<secret>} {Token:<secret>} "<secret>" hunter2
}
