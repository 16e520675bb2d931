package expr

import (
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

// text is a response with a body.
type text struct {
	answer
	body string
}

func (t text) Body() []byte { return []byte(t.body) }

// What an answer says goes out as it came: through an extraction, a template, JSON and rows.
func TestNumbersKeepTheirDigits(t *testing.T) {
	for _, written := range []string{
		"2733382000000000049", "9007199254740993", "-9007199254740993", "18446744073709551615", "123456789012345678901234567890",
		"0", "7", "-1", "999999999999999", "1000000000000000", "1.5", "1.50", "0.1", "0.30000000000000004", "3.14159265358979323846", "1e3", "1E-7", "-0.0", "100.00",
	} {
		s := NewSymbols(nil)
		sc := &Scope{}
		var errs block.Errors
		x := ParseExtraction(block.Text{S: "json.a[0].id"}, s, &errs)
		if err := errs.Err(); err != nil {
			t.Fatal(err)
		}
		v, err := x.Eval(sc, text{body: `{"a": [{"id": ` + written + `}]}`})
		if err != nil {
			t.Errorf("%s: %v", written, err)
			continue
		}
		sc.Set(s.Declare("v", Any), v)
		sc.Set(s.Declare("row", Any), FromJSON(`{"id":`+written+`}`))
		n := block.Parse("f.yaml", []byte(`{got: "${v}", row: "${row.id}", in: "x${v}"}`), &errs)
		j := ParseJSON(n, s, &errs)
		if got, want := appended(t, j, sc), `{"got":`+written+`,"row":`+written+`,"in":"x`+written+`"}`; got != want || errs.Len() > 0 {
			t.Errorf("JSON = %s, want %s (%v)", got, want, errs.Err())
		}
		if got := ParseTemplate(block.Text{S: "/item/${row.id}"}, s, &errs).Value(sc).String(); got != "/item/"+written {
			t.Errorf("template = %s, want /item/%s", got, written)
		}
	}
}

func TestNumbersOfYAML(t *testing.T) {
	for written, want := range map[string]string{
		"2733382000000000049": "2733382000000000049", "123456789012345678901234567890": "123456789012345678901234567890",
		"0o10": "8", "0x1F": "31", "1.50": "1.50", "-3": "-3", "1e3": "1e3",
	} {
		var errs block.Errors
		n := block.Parse("f.yaml", []byte("["+written+"]"), &errs)
		if got := appended(t, ParseJSON(n, NewSymbols(nil), &errs), &Scope{}); got != "["+want+"]" || errs.Len() > 0 {
			t.Errorf("%s = %s, want %s (%v)", written, got, want, errs.Err())
		}
	}
}

func TestArithmeticAndOrderOfLargeIntegers(t *testing.T) {
	s := NewSymbols(nil)
	sc := &Scope{}
	sc.Set(s.Declare("id", Any), FromJSON("2733382000000000049"))
	sc.Set(s.Declare("next", Any), FromJSON("2733382000000000050"))
	sc.Set(s.Declare("half", Any), FromJSON("1.5"))
	for text, want := range map[string]string{
		"id + 1": "2733382000000000050", "id - 1": "2733382000000000048", "-id": "-2733382000000000049", "-(-id)": "2733382000000000049",
		"id * 10": "27333820000000000490", "id % 100": "49", "id - id": "0", "next - id": "1", "9007199254740992 + 1": "9007199254740993",
		"int(id)": "2733382000000000049", `int("2733382000000000049")`: "2733382000000000049", "half + half": "3", "int(half)": "1", "number(id) + 0": "2733382000000000049",
	} {
		var errs block.Errors
		got := ParseTemplate(block.Text{S: "${" + text + "}"}, s, &errs)
		if err := errs.Err(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if v := got.Value(sc).String(); v != want {
			t.Errorf("%s = %s, want %s", text, v, want)
		}
	}
	for text, want := range map[string]bool{
		"id == next": false, "id != next": true, "id < next": true, "id <= next": true, "next > id": true, "id == 2733382000000000049": true, "id >= next": false,
		"1.50 == 1.5": true, "id in [next, id]": true, "id in [next]": false,
	} {
		var errs block.Errors
		cond := ParseCondition(block.Text{S: text}, s, &errs)
		if cond == nil {
			t.Errorf("%s: %v", text, errs.Err())
			continue
		}
		if got, err := cond.Eval(sc, answer{}); got != want || err != nil {
			t.Errorf("%s = %v, %v, want %v", text, got, err, want)
		}
	}
}

// A body that is no JSON fails every condition on it, whatever its beginning says.
func TestWhatIsNoJSON(t *testing.T) {
	for _, body := range []string{`{"ok": true, "items": [1, 2`, `{"ok": true} <html>`, "", `{"ok": true,}`, "ok: true"} {
		for _, c := range []string{"json.ok == true", "json.ok != false", "json.error == nil", "json.missing != 1", "not json.ok", "len(json.items) >= 0", "json.ok", "json.n > -1"} {
			var errs block.Errors
			cond := ParseCondition(block.Text{S: c}, NewSymbols(nil), &errs)
			if cond == nil {
				t.Fatalf("%s: %v", c, errs.Err())
			}
			got, err := cond.Eval(&Scope{}, text{body: body})
			if got || err == nil || !strings.Contains(err.Error(), "not JSON") {
				t.Errorf("%s of %q = %v, %v, want an error that says so", c, body, got, err)
			}
		}
	}
}

func BenchmarkJSONPath(b *testing.B) {
	s := NewSymbols(nil)
	var errs block.Errors
	cond := ParseCondition(block.Text{S: "json.products[0].id == 7"}, s, &errs)
	sc := &Scope{}
	for b.Loop() {
		if ok, err := cond.Eval(sc, answer{}); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
