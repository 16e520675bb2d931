package flow

import (
	"strings"
	"testing"
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
