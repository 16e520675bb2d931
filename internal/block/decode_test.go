package block

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Name string `yaml:"name" block:"required"`
	Size int    `yaml:"size"`
}

func (i *inner) Validate(at *Node, errs *Errors) {
	if n := at.Get("name"); n != nil && i.Name == "" {
		errs.Add(n.Pos, n.Path, "must not be empty")
	}
	if i.Size < 0 {
		errs.Add(at.Get("size").Pos, at.Get("size").Path, "must not be negative, got %d", i.Size)
	}
	if at.Get("size") == nil && i.Name == "sized" {
		errs.Add(at.Pos, at.Path, "needs a size")
	}
}

type shared struct {
	Seed int64 `yaml:"seed"`
}

type outer struct {
	shared
	Text     string            `yaml:"text"`
	Any      Text              `yaml:"any"`
	Count    int               `yaml:"count"`
	Share    float64           `yaml:"share"`
	On       bool              `yaml:"on"`
	Wait     Duration          `yaml:"wait"`
	Limit    Rate              `yaml:"limit"`
	Room     Size              `yaml:"room"`
	Token    Secret            `yaml:"token"`
	Optional *inner            `yaml:"optional"`
	List     []inner           `yaml:"list"`
	Labels   map[string]string `yaml:"labels"`
	Ordered  Entries[int]      `yaml:"ordered"`
	Raw      *Node             `yaml:"raw"`
	Skipped  chan int
}

func TestDecodeFillsEveryType(t *testing.T) {
	const text = `
text: "12"
any: 0123
count: -3
share: 0.5
on: true
wait: 1d12h
limit: 300/m
room: 2GiB
token: 0042
seed: 9
optional: {name: a}
list: [{name: b, size: 1}, {name: c}]
labels: {team: x, a.b: y}
ordered: {z: 1, a: 2}
raw: {any: [shape]}
`
	var errs Errors
	var got outer
	got.Optional = &inner{Size: 7} // a default set before stays
	Decode(Parse("f", []byte(text), &errs), &got, &errs)
	if errs.Len() > 0 {
		t.Fatal(errs.Err())
	}
	for _, c := range []struct{ name, got, want any }{
		{"text", got.Text, "12"},
		{"any", got.Any, Text{S: "0123", Pos: Pos{File: "f", Line: 3, Col: 6}, Path: "any"}},
		{"count", got.Count, -3},
		{"share", got.Share, 0.5},
		{"on", got.On, true},
		{"wait", got.Wait.D(), 36 * time.Hour},
		{"limit", got.Limit.PerSecond(), 5.0},
		{"room", got.Room, Size(2 << 30)},
		{"token", got.Token.Value(), "0042"},
		{"seed", got.Seed, int64(9)},
		{"optional", *got.Optional, inner{"a", 7}},
		{"list", got.List, []inner{{"b", 1}, {"c", 0}}},
		{"labels", got.Labels, map[string]string{"team": "x", "a.b": "y"}},
		{"ordered", fmt.Sprintf("%s %d %s %d", got.Ordered[0].Name.S, got.Ordered[0].Value, got.Ordered[1].Name.S, got.Ordered[1].Value), "z 1 a 2"},
		{"raw", sketch(got.Raw.Get("any")), `["shape"@16:13]`},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an unknown key, mistyped", "cuont: 1", "f:1:1: cuont: unknown key \"cuont\"\n\thint: did you mean \"count\"?"},
		{"the wrong case", "Count: 1", "f:1:1: Count: unknown key \"Count\"\n\thint: did you mean \"count\"?"},
		{"an unknown key below a list", "list: [{name: a}, {name: b, weight: 3}]", "f:1:29: list[1].weight: unknown key \"weight\"\n\thint: known are name, size"},
		{"a required key", "list: [{size: 1}]", "f:1:8: list[0].name: is required"},
		{"nothing where a value belongs", "wait:", "f:1:6: wait: has no value\n\thint: give it one, or leave the key out"},
		{"nothing where a mapping belongs", "optional:", "f:1:10: optional: has no value\n\thint: give it one, or leave the key out"},
		{"a number for text", "text: 0123", "f:1:7: text: must be text, got 0123\n\thint: write \"0123\""},
		{"a mapping for text", "text: {a: 1}", "f:1:7: text: must be text, got a mapping"},
		{"text for a number", "count: many", "f:1:8: count: must be a whole number, got \"many\""},
		{"a quoted number for a number", `count: "5"`, "f:1:8: count: must be a whole number, got \"5\""},
		{"a fraction for a whole number", "count: 1.5", "f:1:8: count: must be a whole number, got 1.5"},
		{"an octal number", "count: 0123", "f:1:8: count: must be a whole number in decimal digits, got 0123\n\thint: no leading zeros, no underscores, no 0x or 0o: readers of YAML do not agree on those"},
		{"a number beyond 64 bits", "count: 18446744073709551615", "f:1:8: count: is too large a number, got 18446744073709551615"},
		{"infinity", "share: .inf", "f:1:8: share: must be a number, got .inf"},
		{"a word for a boolean", "on: yes", "f:1:5: on: must be true or false, got \"yes\"\n\thint: write true"},
		{"a bare number for a duration", "wait: 5", "f:1:7: wait: a duration needs a unit, got 5\n\thint: write \"5s\", \"5ms\" or \"5m\""},
		{"a negative duration", "wait: -5s", "f:1:7: wait: must not be negative, got \"-5s\""},
		{"a duration beyond 292 years", "wait: 99999999d", "f:1:7: wait: must be a duration such as 300ms, 5m or 7d, got \"99999999d\""},
		{"a bare number for a rate", "limit: 5.5", "f:1:8: limit: a rate needs a unit of time, got 5.5\n\thint: write \"5.5/s\", \"5.5/m\" or \"5.5/h\""},
		{"a rate per fortnight", "limit: 5/fortnight", "f:1:8: limit: must be a rate such as 50/s, 300/m or 2/h, got \"5/fortnight\""},
		{"a negative rate", "limit: -5/s", "f:1:8: limit: must not be negative, got \"-5/s\""},
		{"a bare number for a size", "room: 10", "f:1:7: room: a size needs a unit, got 10\n\thint: write \"10B\", \"10kB\" or \"10MiB\""},
		{"a size of words", "room: big", "f:1:7: room: must be a size such as 512MiB or 10kB, got \"big\""},
		{"a scalar for a list", "list: a", "f:1:7: list: must be a list, got \"a\"\n\thint: write [a]"},
		{"a mapping for a list", "list: {name: a}", "f:1:7: list: must be a list, got a mapping\n\thint: begin each item with \"- \""},
		{"a list for a mapping", "labels: [a]", "f:1:9: labels: must be a mapping, got a list"},
		{"a list for an ordered mapping", "ordered: [a]", "f:1:10: ordered: must be a mapping, got a list"},
		{"a list for a struct", "optional: [a]", "f:1:11: optional: must be a mapping, got a list"},
		{"a list for a secret", "token: [a]", "f:1:8: token: must be text, got a list"},
		{"a wrong label", "labels: {a: 1}", "f:1:13: labels.a: must be text, got 1\n\thint: write \"1\""},
		{"what only the struct knows", "list: [{name: a, size: -1}]", "f:1:24: list[0].size: must not be negative, got -1"},
		{"what only the struct knows, beside a wrong field", "optional: {name: 5, size: -1}", "f:1:18: optional.name: must be text, got 5\n\thint: write \"5\"\nf:1:27: optional.size: must not be negative, got -1"},
		{"what is missing from a struct", "optional: {name: sized}", "f:1:11: optional: needs a size"},
		{"what is missing because it is mistyped", "optional: {name: sized, sise: 1}", "f:1:25: optional.sise: unknown key \"sise\"\n\thint: did you mean \"size\"?"},
		{"a very long text", "count: " + longText(), "f:1:8: count: must be a whole number, got \"" + longText()[:99] + "…"},
		{"several at once, in order of place", "share: x\ncount: y\nlist: [{}]", "f:1:8: share: must be a number, got \"x\"\nf:2:8: count: must be a whole number, got \"y\"\nf:3:8: list[0].name: is required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs Errors
			Decode(Parse("f", []byte(c.text), &errs), new(outer), &errs)
			if diff := cmp.Diff(c.want, messages(&errs)); diff != "" {
				t.Errorf("Decode(%q) (-want +got):\n%s", c.text, diff)
			}
		})
	}
}

func longText() string {
	b := make([]byte, 500)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return string(b)
}

func TestUntypedTextTakesTheTypeAskedOfIt(t *testing.T) {
	var v struct {
		Text  string   `yaml:"text"`
		Count int      `yaml:"count"`
		Share float64  `yaml:"share"`
		On    bool     `yaml:"on"`
		Wait  Duration `yaml:"wait"`
	}
	n := &Node{Kind: Map}
	for _, k := range [][2]string{{"text", "12"}, {"count", "12"}, {"share", "12"}, {"on", "true"}, {"wait", "12s"}} {
		n.Keys = append(n.Keys, Key{Name: k[0], Value: Untyped(k[1], Pos{Env: "X"}, k[0])})
	}
	var errs Errors
	Decode(n, &v, &errs)
	if errs.Len() > 0 || v.Text != "12" || v.Count != 12 || v.Share != 12 || !v.On || v.Wait.D() != 12*time.Second {
		t.Errorf("Decode of untyped values = %+v, %v", v, errs.Err())
	}
	bad := Untyped("5", Pos{Env: "PERFD_WAIT"}, "wait")
	Decode(bad, &v.Wait, &errs)
	if got, want := messages(&errs), "environment PERFD_WAIT: wait: a duration needs a unit, got \"5\"\n\thint: write \"5s\", \"5ms\" or \"5m\""; got != want {
		t.Errorf("Decode of a bare number = %s, want %s", got, want)
	}
}

func TestErrIsOneErrorWithAll(t *testing.T) {
	var errs Errors
	if err := errs.Err(); err != nil {
		t.Errorf("Err of none = %v, want nil", err)
	}
	errs.Add(Pos{File: "b", Line: 1, Col: 1}, "", "second")
	errs.Add(Pos{File: "a", Line: 9, Col: 2}, "k", "first")
	errs.Add(Pos{Flag: "web"}, "k", "flag")
	var all Mistakes
	if !errors.As(errs.Err(), &all) || len(all) != 3 {
		t.Fatalf("Err() = %v, want 3 Mistakes", errs.Err())
	}
	if got, want := all.Error(), "flag --web: k: flag\na:9:2: k: first\nb:1:1: second"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
