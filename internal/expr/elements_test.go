package expr

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfd/perfd/internal/block"
)

// What is picked of a path is what is picked of the list that the path comes to.
func TestPickingOfAPathIsPickingOfItsList(t *testing.T) {
	value := rapid.Custom(func(t *rapid.T) any {
		return rapid.SampledFrom([]any{
			nil, true, 1.5, 12345678901234567, "x", "a \"q\" é\n",
			[]any{1, "a.b"},
			map[string]any{"id": 7},
			map[string]any{"id": nil},
			map[string]any{"id": []any{}, "n": map[string]any{"id": "in"}},
			map[string]any{"n": []any{map[string]any{"id": 1}, 2}},
			map[string]any{},
		}).Draw(t, "value")
	})
	paths := []string{"json", "json.items", "json[*].id", "json.items[*]", "json.items[*].id", "json.items[*].n.id", "json.items[*].n[0].id", "json.items[*].n[*].id", "json.items[1]", "json.items[1].n[*].id", `json["a.b"][*].id`}
	rapid.Check(t, func(t *rapid.T) {
		var body any = rapid.SliceOfN(value, 0, 5).Draw(t, "items")
		if list := body.([]any); len(list) > 0 && rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			body = slices.Repeat(list, 40)
		}
		if rapid.Bool().Draw(t, "in an object") {
			body = map[string]any{"items": body, "a.b": body}
		}
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		answer := text{body: string(encoded)}
		seed := rapid.Uint64().Draw(t, "seed")
		path := rapid.SampledFrom(paths).Draw(t, "path")
		for _, pick := range []string{"first", "last", "random", "count"} {
			eval := func(expression string) (string, string) {
				var errs block.Errors
				x := ParseExtraction(block.Text{S: expression}, NewSymbols(nil), &errs)
				if x == nil {
					t.Fatalf("%s: %v", expression, errs.Err())
				}
				v, err := x.Eval(&Scope{Rand: rand.NewPCG(seed, 2)}, answer)
				if err != nil {
					return "", "error"
				}
				return v.Type().String() + " " + v.String(), ""
			}
			got, gotErr := eval(path + " | " + pick)
			want, wantErr := eval("(" + path + " ?? " + path + ") | " + pick)
			if got != want || gotErr != wantErr {
				t.Fatalf("%s | %s of %s = %s %s, of its list %s %s", path, pick, encoded, got, gotErr, want, wantErr)
			}
		}
	})
}

// A list that is longer than what is remembered of it has all of its elements picked, the last ones too.
func TestPickingFromALongList(t *testing.T) {
	all := make([]int, 100)
	for i := range all {
		all[i] = 1000 + i
	}
	encoded, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var errs block.Errors
	x := ParseExtraction(block.Text{S: "json | random"}, NewSymbols(nil), &errs)
	if x == nil {
		t.Fatal(errs.Err())
	}
	s, seen := &Scope{Rand: rand.NewPCG(1, 2)}, map[string]bool{}
	for range 2000 {
		v, err := x.Eval(s, buffer{body: encoded})
		if err != nil {
			t.Fatal(err)
		}
		seen[v.String()] = true
		s.Answered()
	}
	for _, n := range all {
		if !seen[strconv.Itoa(n)] {
			t.Errorf("%d of the list was never picked", n)
		}
	}
	if len(seen) != len(all) {
		t.Errorf("%d values were picked of a list of %d", len(seen), len(all))
	}
}

// A buffer is an answer whose body is its own memory.
type buffer struct {
	answer
	body []byte
}

func (b buffer) Body() []byte { return b.body }

// A picked value does not point into the answer, whose buffer the next request uses.
func TestAPickedValueOutlivesItsAnswer(t *testing.T) {
	for _, expression := range []string{"json.items[*].id | random", "json.items | first", "json.items[*].n | last"} {
		body := []byte(`{"items":[{"id":"lamp","n":1234567890123456789}]}`)
		var errs block.Errors
		x := ParseExtraction(block.Text{S: expression}, NewSymbols(nil), &errs)
		if x == nil {
			t.Fatal(errs.Err())
		}
		v, err := x.Eval(&Scope{Rand: rand.NewPCG(1, 2)}, buffer{body: body})
		if err != nil {
			t.Fatal(err)
		}
		before := string(v.Append(nil))
		clear(body)
		if after := v.String(); after != before {
			t.Errorf("%s = %q, and %q once the buffer is used again", expression, before, after)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	products := make([]map[string]any, 20)
	for i := range products {
		products[i] = map[string]any{"id": 100 + i, "name": "Oak lamp", "price": 10.95, "tags": []string{"lamp", "oak"}}
	}
	encoded, err := json.Marshal(map[string]any{"products": products})
	if err != nil {
		b.Fatal(err)
	}
	for _, expression := range []string{"json.products | random", "json.products[*].id | random", "json.products[10].id", "json.products[*].id | count"} {
		b.Run(expression, func(b *testing.B) {
			var errs block.Errors
			x := ParseExtraction(block.Text{S: expression}, NewSymbols(nil), &errs)
			s := &Scope{Rand: rand.NewPCG(1, 2)}
			answer := buffer{body: encoded}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.Eval(s, answer); err != nil {
					b.Fatal(err)
				}
				s.Answered()
			}
		})
	}
}
