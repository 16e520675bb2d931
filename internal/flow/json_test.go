package flow

import (
	"strconv"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/load"
)

// Whether an answer is JSON is asked of each answer anew, however alike they are.
func TestEachAnswerIsJSONByItself(t *testing.T) {
	p := must(t, `
flow:
  - {name: whole, fake: {send: '{"ok":true }'}, expect: json.ok == true, checks: {again: json.ok}}
  - {name: cut, fake: {send: '{"ok":true, '}, expect: json.ok == true}
  - {name: whole again, fake: {send: '{"ok":true }'}, expect: json.ok == true}
`)
	x := newPerformer()
	x.iterate(p.NewVU(0, x.rt), 0)
	if len(x.results) != 3 || len(x.failed) != 1 || !strings.HasPrefix(x.failed[0], "cut: expect") || !strings.Contains(x.failed[0], "not JSON") {
		t.Errorf("%d results, failed %q, want cut alone, because its body is not JSON", len(x.results), x.failed)
	}
}

// What parsers refuse meets no condition on json, however much of it a lenient one would read.
func TestWhatIsNotJSONMeetsNoCondition(t *testing.T) {
	for body, holds := range map[string]bool{
		`{"ok":true}`: true, " \r\n\t{\"ok\":true}\n ": true, "\ufeff{\"ok\":true}": true, `{"ok":true,"x":"\ud800"}`: true,
		`{"ok":true,"x":NaN}`: false, `{"ok":true,"x":-Infinity}`: false, `{"ok":true,}`: false, `{"ok":true}{"ok":true}`: false, `{"ok":true}garbage`: false,
		`{'ok':true}`: false, `{ok:true}`: false, `{"ok":true}<html>`: false, "{\"ok\":true,\"x\":\"a\nb\"}": false, `{"ok":true,"n":01}`: false, `{"ok":true,"n":1.}`: false,
		`{"ok":true,"n":+1}`: false, `{"ok":true,"n":0x1}`: false, "{\"ok\":true}\x00": false, `{"ok":true /* yes */}`: false, `{"ok":true`: false, `{"ok":True}`: false, ``: false,
	} {
		x := newPerformer()
		p := must(t, "flow: [{name: a, fake: {send: "+strconv.Quote(body)+"}, expect: json.ok == true}]")
		x.iterate(p.NewVU(0, x.rt), 0)
		if got := x.results[0].Cause == load.None; got != holds {
			t.Errorf("json.ok == true holds of %q: %v, want %v (%q)", body, got, holds, x.failed)
		}
	}
}
