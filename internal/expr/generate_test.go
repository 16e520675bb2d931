package expr

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
)

// generated evaluates an expression n times on one seed.
func generated(t *testing.T, text string, seed uint64, n int) (out []Value) {
	t.Helper()
	var errs block.Errors
	s, sc := symbols()
	sc.Rand = rand.NewPCG(seed, 1)
	f, _, ok := (&compiler{symbols: s}).text(block.Text{S: text}, &errs)
	if !ok {
		t.Fatal(errs.Err())
	}
	for range n {
		v := f(sc, nil)
		if v.kind == fault {
			t.Fatalf("%s: %s", text, v.text)
		}
		out = append(out, v)
	}
	return out
}

func TestGeneratorsAreSeededAndHaveTheirForm(t *testing.T) {
	for text, form := range map[string]string{
		`random_int(1, 1000000)`:                       `^\d{1,7}$`,
		`random_decimal(1, 1000)`:                      `^\d{1,4}\.\d\d$`,
		`random_decimal(-9.5, -1, 4)`:                  `^-\d\.\d{4}$`,
		`random_decimal(1, 10000, 0)`:                  `^\d{1,5}$`,
		`random_string(12)`:                            `^[a-zA-Z0-9]{12}$`,
		`random_string(8, "äöü€01")`:                   `^[äöü€01]{8}$`,
		`random_string(len(list) + 5, "0123456789")`:   `^\d{8}$`,
		`one_of("a", "b", "c", "d")`:                   `^[abcd]$`,
		`one_of([1, 2, 3, 4])`:                         `^[1234]$`,
		`one_of(list)`:                                 `^[123]$`,
		`one_of(token, p.id, random_int(1, 9))`:        `^(tok|\d)$`,
		`first_name()`:                                 `^\p{Lu}\p{Ll}+$`,
		`last_name()`:                                  `^\p{Lu}\p{Ll}+$`,
		`email()`:                                      `^[a-z]+\.[a-z]+\.\d{6}@example\.com$`,
		`street()`:                                     `^\d{1,3} \p{Lu}[a-z]+ \p{Lu}[a-z]+$`,
		`city()`:                                       `^\p{Lu}[a-z]+( \p{Lu}[a-z]+)?$`,
		`postcode()`:                                   `^\d{5}$`,
		`phone()`:                                      `^\+1[2-9]\d\d55501\d\d$`,
		`first_name() + " " + last_name()`:             `^\p{Lu}\p{Ll}+ \p{Lu}\p{Ll}+$`,
		`["a", "b"] | random`:                          `^[ab]$`,
		`lower(one_of("X", "Y")) + random_string(3)`:   `^[xy]\w{3}$`,
		`date(-1 * random_int(1, 9) * 24h, "unix_ms")`: `^\d{13}$`,
	} {
		re := regexp.MustCompile(form)
		same := func(seed uint64) (texts []string) {
			for _, v := range generated(t, text, seed, 100) {
				if !re.MatchString(v.String()) {
					t.Errorf("%s yields %q, want %s", text, v, form)
				}
				texts = append(texts, v.String())
			}
			return texts
		}
		if strings.HasPrefix(text, "date") {
			same(1) // the clock goes on
			continue
		}
		if d := cmp.Diff(same(1), same(1)); d != "" {
			t.Errorf("%s: the same seed yields other values:\n%s", text, d)
		}
		if cmp.Equal(same(1), same(2)) {
			t.Errorf("%s: another seed yields the same values", text)
		}
	}
}

// TestGeneratorsAreUniform holds the counts of each value within five standard deviations.
func TestGeneratorsAreUniform(t *testing.T) {
	const draws = 20_000
	for text, values := range map[string][]string{
		`one_of("a", "b", "c")`:         {"a", "b", "c"},
		`one_of([1, 2])`:                {"1", "2"},
		`random_decimal(0.1, 0.3, 1)`:   {"0.1", "0.2", "0.3"},
		`random_decimal(-0.2, 0.1, 1)`:  {"-0.2", "-0.1", "0.0", "0.1"},
		`random_decimal(1.01, 1.04)`:    {"1.01", "1.02", "1.03", "1.04"},
		`random_decimal(0.15, 0.34, 1)`: {"0.2", "0.3"},
		`random_decimal(5, 5, 3)`:       {"5.000"},
		`random_string(1, "xyz")`:       {"x", "y", "z"},
	} {
		counts := map[string]int{}
		for _, v := range generated(t, text, 99, draws) {
			counts[v.String()]++
		}
		p := 1 / float64(len(values))
		for _, v := range values {
			if off := math.Abs(float64(counts[v]) - draws*p); off > 5*math.Sqrt(draws*p*(1-p)) {
				t.Errorf("%s yields %s %d times of %d", text, v, counts[v], draws)
			}
			delete(counts, v)
		}
		if len(counts) > 0 {
			t.Errorf("%s also yields %v", text, counts)
		}
	}
	distinct := map[string]bool{}
	for _, v := range generated(t, "email()", 7, draws) {
		distinct[v.String()] = true
	}
	if len(distinct) < draws-5 {
		t.Errorf("%d of %d addresses are distinct", len(distinct), draws)
	}
}

func TestDecimalsAreNumbers(t *testing.T) {
	for _, v := range generated(t, "random_decimal(1, 2, 3)", 3, 100) {
		if v.Type() != Number || string(v.AppendJSON(nil)) != v.String() || len(v.String()) != len("1.000") {
			t.Errorf("%s is %s, in JSON %s", v, v.Type(), v.AppendJSON(nil))
		}
	}
}

func TestDates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which begins at midnight UTC on 2000-01-01
		time.Sleep(3*time.Hour + 4*time.Minute + 5*time.Second + 678*time.Millisecond)
		for text, want := range map[string]string{
			`date()`:                                    "2000-01-01T03:04:05Z",
			`date("")`:                                  "2000-01-01T03:04:05Z",
			`date("now", "date")`:                       "2000-01-01",
			`date("+24h", "2006-01-02")`:                "2000-01-02",
			`date("-7d", "date")`:                       "1999-12-25",
			`date("1d12h", "datetime")`:                 "2000-01-02 15:04:05",
			`date("-1h", "time")`:                       "02:04:05",
			`date(90m, "rfc3339")`:                      "2000-01-01T04:34:05Z",
			`date(-1d, "rfc3339_ms")`:                   "1999-12-31T03:04:05.678Z",
			`date("0s", "http")`:                        "Sat, 01 Jan 2000 03:04:05 GMT",
			`date("0s", "unix")`:                        "946695845",
			`date("0s", "unix_ms")`:                     "946695845678",
			`date("+1h", "02.01.2006 um 15 Uhr")`:       "01.01.2000 um 04 Uhr",
			`date("+" + string(len(list)) + "d")`:       "2000-01-04T03:04:05Z",
			`date(2 * 24h, token == "" ? "x" : "date")`: "2000-01-03",
		} {
			if got := generated(t, text, 1, 1)[0].String(); got != want {
				t.Errorf("%s = %s, want %s", text, got, want)
			}
		}
		if v := generated(t, `date("0s", "unix") + 1`, 1, 1)[0]; v.String() != "946695846" {
			t.Errorf("a date in seconds and one is %s", v)
		}
	})
}

func TestWrongGenerators(t *testing.T) {
	for text, want := range map[string]string{
		`random_decimal(1)`:                 "random_decimal takes 2 to 3 arguments, got 1",
		`random_decimal(1, 2, 1.5)`:         "must be a whole number from 0 to 15, got 1.5",
		`random_decimal(2, 1)`:              "there is no number from 2 to 1 with 2 digits",
		`random_decimal(1, 9e15)`:           "more digits than a number holds",
		`random_decimal("1", 2)`:            `random_decimal needs a number, "1" is text`,
		`random_string()`:                   "random_string takes 1 to 2 arguments, got 0",
		`random_string(-1)`:                 "must be a whole number from 0 to 65536, got -1",
		`random_string(1e9)`:                "must be a whole number from 0 to 65536",
		`random_string(3, "")`:              "the alphabet is empty",
		`date("tomorrow")`:                  `"tomorrow" is not a duration`,
		`date("+24h", "yyyy-MM-dd")`:        `the layout "yyyy-MM-dd" has no part of a date or time`,
		`date("+24h", "%Y-%m-%d")`:          "layouts are Go's, or one of rfc3339",
		`date(24)`:                          "date needs a duration, got a number",
		`date("1h", "date", "UTC")`:         "date takes 0 to 2 arguments, got 3",
		`one_of()`:                          "one_of needs values",
		`one_of("a")`:                       `one_of needs a list, or more than one value; "a" is text`,
		`city(1)`:                           "city takes 0 arguments, got 1",
		`frist_name()`:                      `did you mean "first_name"?`,
		`first_name`:                        "first_name is a function: write first_name(…)",
		`random_string(2) > 1`:              "text",
		`random_string(random_int(1, "a"))`: "random_int needs a number",
	} {
		var errs block.Errors
		s, _ := symbols()
		(&compiler{symbols: s}).text(block.Text{S: text}, &errs)
		if err := errs.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant in it: %s", text, err, want)
		}
	}
	// What only a run knows fails there.
	for text, want := range map[string]string{
		`one_of(p)`:                      "one_of needs a list, got an object",
		`one_of(p.nothing)`:              "one_of needs a list, got nothing",
		`random_string(p.id - 8)`:        "got -1",
		`date(p.id)`:                     "date needs a duration, got a number",
		`date("0s", token)`:              "has no part of a date",
		`random_decimal(p.id, p.id - 1)`: "there is no number from 7 to 6",
		`random_string(p.id, p)`:         "random_string needs text, got an object",
	} {
		var errs block.Errors
		s, sc := symbols()
		f, _, ok := (&compiler{symbols: s}).text(block.Text{S: text}, &errs)
		if !ok {
			t.Errorf("%s: %v", text, errs.Err())
			continue
		}
		if v := f(sc, nil); v.kind != fault || !strings.Contains(v.text, want) {
			t.Errorf("%s = %s %q, want a fault with %q", text, v.kind, v.text, want)
		}
	}
}

// TestVariablesMayHaveTheNamesOfGenerators keeps names such as email free for what flows extract.
func TestVariablesMayHaveTheNamesOfGenerators(t *testing.T) {
	for _, name := range generatorNames() {
		if Reserved(name) {
			t.Errorf("%s cannot be the name of a variable", name)
		}
	}
	var errs block.Errors
	s, sc := symbols()
	sc.Set(s.Declare("email", String), Str("me@shop.test"))
	v := ParseTemplate(block.Text{S: "${email} ${email()}"}, s, &errs)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	text, err := v.Append(nil, sc)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); !regexp.MustCompile(`^me@shop\.test [a-z]+\.`).MatchString(got) {
		t.Errorf("a variable and a call of one name are %q", got)
	}
}

func BenchmarkGenerators(b *testing.B) {
	for _, text := range []string{`random_int(1, 100)`, `random_decimal(1, 100)`, `random_string(16)`, `one_of("a", "b", "c")`, `email()`, `date("+24h", "date")`} {
		b.Run(fmt.Sprint(text), func(b *testing.B) {
			var errs block.Errors
			s, sc := symbols()
			f, _, ok := (&compiler{symbols: s}).text(block.Text{S: text}, &errs)
			if !ok {
				b.Fatal(errs.Err())
			}
			b.ReportAllocs()
			for b.Loop() {
				f(sc, nil)
			}
		})
	}
}
