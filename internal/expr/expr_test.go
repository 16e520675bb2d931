package expr

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// answer is a response of known content.
type answer struct{}

func (answer) Code() int { return 200 }
func (answer) Body() []byte {
	return []byte(`{"token":"abc","products":[{"id":7,"name":"x"}],"n":3,"none":null,"empty":[]}`)
}

func (answer) Header(name string) (string, bool) { return "v1", name == "X-Id" }
func (answer) Duration() time.Duration           { return 100 * time.Millisecond }
func (answer) Size() int64                       { return 10 }
func (answer) Sum() uint64                       { return 1 }

// symbols declares token ("tok"), p ({"id":7}) and list ([1,2,3]) and returns a scope that holds them.
func symbols() (*Symbols, *Scope) {
	s := NewSymbols(nil)
	sc := &Scope{Rand: rand.NewPCG(1, 2), VU: 4}
	sc.Set(s.Declare("token", String), Str("tok"))
	sc.Set(s.Declare("p", Any), FromJSON(`{"id":7}`))
	sc.Set(s.Declare("list", List), FromJSON(`[1,2,3]`))
	return s, sc
}

func TestConditions(t *testing.T) {
	for _, c := range []struct {
		text string
		want bool
	}{
		{`status == 200`, true},
		{`status < 400 && duration < 300ms`, true},
		{`status >= 400 || duration > 1d`, false},
		{`not (status == 200)`, false},
		{`token != ""`, true},
		{`token == "tok" and p.id == 7`, true},
		{`len(json.products) > 0`, true},
		{`len(json.empty) > 0`, false},
		{`json.n == 3`, true},
		{`json.products[0].name matches "^x$"`, true},
		{`json.missing == nil`, true},
		{`json.none == nil`, true},
		{`header("x-id") == "v1"`, true},
		{`header("X-Other") == nil`, true},
		{`status in [200, 201]`, true},
		{`status in [500]`, false},
		{`body contains "token"`, true},
		{`(json.products | first).id == 7`, true},
		{`regex(body, "\"n\":(\\d+)") == "3"`, true},
		{`upper(json.token) == "ABC"`, true},
		{`1h30m > 5400s`, false},
		{`duration * 2 == 200ms`, true},
		{`status == 200 ? true : false`, true},
		{`(json.missing ?? 5) == 5`, true},
		{`vu == 4 && iteration == 0`, true},
	} {
		s, sc := symbols()
		var errs block.Errors
		cond := ParseCondition(block.Text{S: c.text}, s, &errs)
		if cond == nil {
			t.Errorf("ParseCondition(%s): %v", c.text, errs.Err())
			continue
		}
		if got, err := cond.Eval(sc, answer{}); got != c.want || err != nil {
			t.Errorf("%s = %v, %v, want %v", c.text, got, err, c.want)
		}
	}
}

func TestMistakesAreFoundAtLoad(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`statuss == 200`, `unknown name "statuss"`},
		{`statuss == 200`, `did you mean "status"?`},
		{`token < 3`, `token is text and 3 is a number: they cannot be compared`},
		{`len()`, `len takes 1 arguments, got 0`},
		{`lenn(token) == 1`, `did you mean "len"?`},
		{`token`, `must be true or false, "token" is text`},
		{`status && true`, `needs true or false on both sides`},
		{`random(token) == 1`, `random needs a list, token is text`},
		{`body matches "("`, `missing closing )`},
		{`status ==`, `unexpected token`},
		{``, `must not be empty`},
		{`token.x == 1`, `token is text and has no members`},
		{`header(token) == ""`, `header needs a name in quotes`},
		{`len == 1`, `len is a function: write len(…)`},
		{`duration < 300`, `duration is a duration and 300 is a number`},
	} {
		s, _ := symbols()
		var errs block.Errors
		if ParseCondition(block.Text{S: c.text, Path: "expect"}, s, &errs) != nil {
			t.Errorf("ParseCondition(%s) found nothing wrong, want %q", c.text, c.want)
		} else if !strings.Contains(errs.Err().Error(), c.want) {
			t.Errorf("ParseCondition(%s): %v, want %q in it", c.text, errs.Err(), c.want)
		}
	}
}

func TestConditionWithoutAnAnswerIsAnError(t *testing.T) {
	for _, text := range []string{`json.missing < 3`, `json.token`, `json.token && true`, `number(json.token) > 1`, `not json.n`} {
		s, sc := symbols()
		var errs block.Errors
		c := ParseCondition(block.Text{S: text}, s, &errs)
		if c == nil {
			t.Errorf("ParseCondition(%s): %v", text, errs.Err())
		} else if got, err := c.Eval(sc, answer{}); err == nil {
			t.Errorf("%s = %v, want an error", text, got)
		}
	}
}

func TestExtractions(t *testing.T) {
	s, sc := symbols()
	var errs block.Errors
	for _, c := range []struct{ text, want string }{
		{`json.products | random`, `{"id":7,"name":"x"}`},
		{`json.token`, `abc`},
		{`json.products[0].id`, `7`},
		{`header("X-Id")`, `v1`},
		{`body | regex("n\":(\\d)")`, `3`},
		{`json | len`, `5`},
		{`checksum`, `0000000000000001`},
	} {
		x := ParseExtraction(block.Text{S: c.text}, s, &errs)
		if x == nil {
			t.Fatalf("ParseExtraction(%s): %v", c.text, errs.Err())
		}
		if got, err := x.Eval(sc, answer{}); got.String() != c.want || err != nil {
			t.Errorf("%s = %v, %v, want %v", c.text, got, err, c.want)
		}
	}
	x := ParseExtraction(block.Text{S: "json.nothing.here"}, s, &errs)
	if _, err := x.Eval(sc, answer{}); err == nil || !strings.Contains(err.Error(), "not in the answer") {
		t.Errorf("an extraction of what is not there: %v, want an error that says so", err)
	}
}

func TestTemplates(t *testing.T) {
	s, sc := symbols()
	for _, c := range []struct{ text, want string }{
		{"/products/${p.id}", "/products/7"},
		{"$${x} ${token}", "${x} tok"},
		{"${list}", "[1,2,3]"},
		{"${list[1]}-${list[2]}", "2-3"},
		{`${token == "}" ? "a" : "b{"}`, "b{"},
		{"${300ms}", "300ms"},
		{"${1.5}", "1.5"},
		{"plain", "plain"},
		{"", ""},
	} {
		var errs block.Errors
		tmpl := ParseTemplate(block.Text{S: c.text}, s, &errs)
		if errs.Len() > 0 {
			t.Errorf("ParseTemplate(%s): %v", c.text, errs.Err())
		} else if got := appended(t, tmpl, sc); got != c.want {
			t.Errorf("%s = %q, want %q", c.text, got, c.want)
		}
	}
	var errs block.Errors
	if v := ParseTemplate(block.Text{S: "${p.id}"}, s, &errs).Value(sc); v.Type() != Number {
		t.Errorf("${p.id} has type %v, want %v: a value that is one expression keeps its type", v.Type(), Number)
	}
	ParseTemplate(block.Text{S: "${token"}, s, &errs)
	ParseTemplate(block.Text{S: "${status}"}, s, &errs)
	if errs.Len() != 2 {
		t.Errorf("%d mistakes, want 2 (not closed; no answer to read): %v", errs.Len(), errs.Err())
	}
}

func TestJSONKeepsTypesAndEscapes(t *testing.T) {
	s, sc := symbols()
	sc.Set(s.Declare("evil", String), Str("a\"b\\c\nd"))
	var errs block.Errors
	n := block.Parse("f.yaml", []byte(`{id: "${p.id}", text: "no ${p.id} ${evil}", list: ["${list}", yes, 0x10, 1.50, null], "k${token}": "${evil}"}`), &errs)
	j := ParseJSON(n, s, &errs)
	want := `{"id":7,"text":"no 7 a\"b\\c\nd","list":[[1,2,3],"yes",16,1.50,null],"ktok":"a\"b\\c\nd"}`
	if got := appended(t, j, sc); got != want || errs.Len() > 0 {
		t.Errorf("JSON = %s, want %s (%v)", got, want, errs.Err())
	}
}

func TestRandomChoicesFollowTheScope(t *testing.T) {
	s, sc := symbols()
	var errs block.Errors
	tmpl := ParseTemplate(block.Text{S: "${random_int(1, 1000000)} ${list | random}"}, s, &errs)
	sc.Rand.Seed(7, 7)
	a := appended(t, tmpl, sc)
	b := appended(t, tmpl, sc)
	sc.Rand.Seed(7, 7)
	if again := appended(t, tmpl, sc); again != a || a == b {
		t.Errorf("with one seed %q and %q, then %q: want the first and last equal", a, again, b)
	}
}

func TestUUIDsDoNotComeBack(t *testing.T) {
	s, sc := symbols()
	var errs block.Errors
	tmpl := ParseTemplate(block.Text{S: "${uuid()}"}, s, &errs)
	sc.Rand.Seed(7, 7)
	a := appended(t, tmpl, sc)
	sc.Rand.Seed(7, 7)
	if b := appended(t, tmpl, sc); a == b || len(a) != 36 || a[14] != '4' {
		t.Errorf("with one seed the UUIDs %s and %s, want two of version 4", a, b)
	}
}

func TestScalarsKeepTheirType(t *testing.T) {
	s, sc := symbols()
	var errs block.Errors
	n := block.Parse("f", []byte(`[3, "3", true, 1.5, x, "${p.id}"]`), &errs)
	for i, want := range []Type{Number, String, Bool, Number, String, Number} {
		if got := ParseScalar(n.Items[i], s, &errs).Value(sc).Type(); got != want {
			t.Errorf("%s is %v, want %v", n.Items[i].Scalar, got, want)
		}
	}
}

func TestSimpleComparisonsAllocateNothing(t *testing.T) {
	s, sc := symbols()
	var r Response = answer{}
	for _, text := range []string{`status == 200`, `status < 400 && duration < 300ms`, `token != ""`, `status in [200]`} {
		var errs block.Errors
		c := ParseCondition(block.Text{S: text}, s, &errs)
		allocs := testing.AllocsPerRun(100, func() { c.Eval(sc, r) })
		if want := map[bool]float64{true: 3}[strings.Contains(text, "in [")]; allocs > want {
			t.Errorf("%s allocates %v times, want at most %v", text, allocs, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("status == 200 && ${x}")
	f.Add("json.a[0] | random | upper()")
	f.Add("`1ms\"'$${")
	f.Fuzz(func(t *testing.T, text string) {
		s, sc := symbols()
		var errs block.Errors
		if c := ParseCondition(block.Text{S: text}, s, &errs); c != nil {
			c.Eval(sc, answer{})
		}
		if n := errs.Len(); n == 0 {
			_, _ = ParseTemplate(block.Text{S: text}, s, &errs).Append(nil, sc)
		}
	})
}

func BenchmarkCondition(b *testing.B) {
	s, sc := symbols()
	var r Response = answer{}
	for _, text := range []string{`status == 200`, `status < 400 && duration < 300ms`, `token != ""`, `json.n == 3`} {
		var errs block.Errors
		c := ParseCondition(block.Text{S: text}, s, &errs)
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Eval(sc, r)
			}
		})
	}
}

// The reference of the language has a row for each function.
func TestEveryFunctionIsInTheReference(t *testing.T) {
	var rows strings.Builder
	for _, file := range []string{"../../docs/scenarios.md", "../../docs/data.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "| `") {
				what, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), " | ")
				rows.WriteString(what + "\n")
			}
		}
	}
	for _, name := range Functions() {
		if !strings.Contains(rows.String(), "`"+name+"(") {
			t.Errorf("no row is about %s()", name)
		}
	}
}
