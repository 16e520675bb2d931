package expr

import (
	"errors"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

// appended returns what a template or document comes to.
func appended(t *testing.T, a interface {
	Append([]byte, *Scope) ([]byte, error)
}, s *Scope,
) string {
	t.Helper()
	out, err := a.Append(nil, s)
	if err != nil {
		t.Error(err)
	}
	return string(out)
}

// lacking declares a row without some of its members and a variable that is not set.
func lacking() (*Symbols, *Scope) {
	s := NewSymbols(nil)
	sc := &Scope{}
	sc.Set(s.Declare("row", Object), FromJSON(`{"name":"x","empty":"","none":null,"n":2,"list":[1],"in":{"a":1}}`))
	s.Declare("token", String)
	s.Declare("any", Any)
	sc.Set(s.Declare("bad", Any), failed("number: \"x\" is not a number"))
	return s, sc
}

// A value that is missing is an error that names it, wherever a template reads it.
func TestAMissingValueIsNeverEmptyText(t *testing.T) {
	for text, want := range map[string]string{
		"${row.email}":                      "row.email is missing",
		"/users/${row.email}/x":             "row.email is missing",
		"${row['e-mail']}":                  `row["e-mail"] is missing`,
		"${row.in.b}":                       "row.in.b is missing",
		"${row.address.city}":               "row.address is missing",
		"${row.list[1]}":                    "row.list[1] is missing",
		"${row.list[0].id}":                 "row.list[0].id is missing",
		"${token}":                          "token is missing",
		"a=${any}":                          "any is missing",
		"${any.id}":                         "any is missing",
		"${row[any]}":                       "any is missing",
		"${'Bearer ' + token}":              "token is missing",
		"${row.n + row.m}":                  "row.m is missing",
		"${row.m * 2}":                      "row.m is missing",
		"${-row.m}":                         "row.m is missing",
		"${upper(row.email)}":               "row.email is missing",
		"${string(row.email)}":              "row.email is missing",
		"${row.email | string | trim}":      "row.email is missing",
		"${len(row.email)}":                 "row.email is missing",
		"${url_encode(token)}":              "token is missing",
		"${row.ok ? 'a' : 'b'}":             "row.ok is missing",
		"${row.m > 1 ? 'a' : 'b'}":          "row.m is missing",
		"${row.email contains 'x'}":         "row.email is missing",
		"${regex(row.email, '.*')}":         "row.email is missing",
		"${regex(row.name, 'y')}":           `regex(row.name, "y") is missing`,
		"${first(row.list[1:])}":            "",
		"${[row.email]}":                    "row.email is missing",
		"${row.none}":                       "row.none is null",
		"${nil}":                            "nil is null",
		"${string(row.none)}":               "string needs a value",
		"${'a' + row.none}":                 "+ needs a value on both sides",
		"${bad}":                            "is not a number",
		"${number(row.name)}":               "is not a number",
		"${row.n / 0}":                      "/ has no result",
		"${row.email ?? row.mail}":          "row.mail is missing",
		"${row.email == 'x' ? any : token}": "token is missing",
	} {
		s, sc := lacking()
		var errs block.Errors
		tmpl := ParseTemplate(block.Text{S: text}, s, &errs)
		if errs.Len() > 0 {
			if want != "" {
				t.Errorf("%s: %v", text, errs.Err())
			}
			continue
		}
		_, err := tmpl.Append(nil, sc)
		var missing *ValueError
		if !errors.As(err, &missing) || missing.Cause() != load.Input || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err := tmpl.Each(sc, func(string) {}, func(Value) {}); err == nil {
			t.Errorf("%s: Each finds nothing missing", text)
		}
		// A variable that takes the value says the same where it is read.
		sc.Set(s.Declare("taken", Any), tmpl.Value(sc))
		if _, err := ParseTemplate(block.Text{S: "x${taken}"}, s, &errs).Append(nil, sc); err == nil || want != "row.none is null" && want != "nil is null" && !strings.Contains(err.Error(), want) {
			t.Errorf("%s through a variable: %v, want %q", text, err, want)
		}
	}
}

// What is there is sent as it is, and a default takes the place of what is not.
func TestDefaultsAndEmptyTextAreValues(t *testing.T) {
	s, sc := lacking()
	for text, want := range map[string]string{
		"[${row.empty}]":                           "[]",
		"${row.email ?? 'nobody'}":                 "nobody",
		"[${row.email ?? ''}]":                     "[]",
		"${row.none ?? 'nobody'}":                  "nobody",
		"${row.address.city ?? 'Berne'}":           "Berne",
		"${bad ?? 1}":                              "1",
		"${token ?? any ?? 'x'}":                   "x",
		"${row.email == nil ? 'none' : row.email}": "none",
		"${row.email != nil ? row.email : 'none'}": "none",
		"${row.name == nil ? 'none' : row.name}":   "x",
	} {
		var errs block.Errors
		if got := appended(t, ParseTemplate(block.Text{S: text}, s, &errs), sc); got != want || errs.Len() > 0 {
			t.Errorf("%s = %q, want %q (%v)", text, got, want, errs.Err())
		}
	}
}

func TestJSONLacksNothingInSilence(t *testing.T) {
	s, sc := lacking()
	for text, want := range map[string]string{
		`{a: "${row.none}"}`:                `{"a":null}`,
		`{a: "${row.email ?? nil}"}`:        `{"a":null}`,
		`{a: "${row.in}", b: ["${row.n}"]}`: `{"a":{"a":1},"b":[2]}`,
		`{a: "${row.email}"}`:               "row.email is missing",
		`{a: ["x ${row.email}"]}`:           "row.email is missing",
		`{a: "x ${row.none}"}`:              "row.none is null",
		`{"${token}": 1}`:                   "token is missing",
		`["${row.in.b}"]`:                   "row.in.b is missing",
	} {
		var errs block.Errors
		out, err := ParseJSON(block.Parse("f.yaml", []byte(text), &errs), s, &errs).Append(nil, sc)
		if err := errs.Err(); err != nil {
			t.Fatal(err)
		}
		if got := string(out); err != nil {
			if got = err.Error(); got != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		} else if got != want {
			t.Errorf("%s = %s, want %s", text, got, want)
		}
	}
}

// A secret in an expression is not in the error that says what it lacks.
func TestWhatIsMissingTellsNoSecret(t *testing.T) {
	s, sc := lacking()
	var errs block.Errors
	_, err := ParseTemplate(block.Text{S: "${row.none}", Hidden: true}, s, &errs).Append(nil, sc)
	if err == nil || err.Error() != "a value is null" {
		t.Errorf("%v, want the expression hidden", err)
	}
}

// Conditions may ask for what an answer need not have.
func TestConditionsMayAskForWhatIsMissing(t *testing.T) {
	for text, want := range map[string]bool{
		"json.missing == nil": true, "json.missing != nil": false, "len(json.missing) == 0": true, `not (json.missing contains "x")`: true,
		`json.missing == "x"`: false, "json.none == nil": true, `json.missing != "x"`: true, "status in [json.missing, 200]": true,
	} {
		var errs block.Errors
		cond := ParseCondition(block.Text{S: text}, NewSymbols(nil), &errs)
		if got, err := cond.Eval(&Scope{}, answer{}); got != want || err != nil {
			t.Errorf("%s = %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"json.missing > 1": "json.missing is missing", "json.missing": "json.missing is missing", `header("X-No") > "a"`: `header("X-No") is missing`} {
		var errs block.Errors
		if _, err := ParseCondition(block.Text{S: text}, NewSymbols(nil), &errs).Eval(&Scope{}, answer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestTemplatesAllocateNothingForWhatTheyCheck(t *testing.T) {
	s, sc := symbols()
	var errs block.Errors
	tmpl := ParseTemplate(block.Text{S: "/a/${token}/b?v=${vu}"}, s, &errs)
	dst := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { dst, _ = tmpl.Append(dst[:0], sc) }); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
