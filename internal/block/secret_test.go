package block

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// No way of printing a secret shows its text.
func TestSecretsAreNeverPrinted(t *testing.T) {
	const secret = "hunter2hunter2"
	type holder struct {
		Token  Secret `yaml:"token" json:"token"`
		hidden Secret
	}
	var errs Errors
	var h holder
	Decode(Parse("f", []byte("token: "+secret), &errs), &h, &errs)
	h.hidden = h.Token
	if h.Token.Value() != secret {
		t.Fatalf("Value() = %q, want the secret", h.Token.Value())
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	printed := string(text) + fmt.Sprintf("%v %+v %#v %s %q", h, h, h, h.Token, h.Token)

	hiddenNode := &Node{Kind: String, Scalar: secret, Hidden: true, Untyped: true}
	var v outer
	for _, into := range []any{&v.Count, &v.Share, &v.On, &v.Wait, &v.Limit, &v.Room, &v.List, &v.Optional, &v.Labels, &v.Ordered} {
		Decode(hiddenNode, into, &errs)
	}
	number := &Node{Kind: Int, Scalar: "314159265", Hidden: true}
	for _, into := range []any{&v.Text, &v.On, &v.Wait, &v.Limit, &v.Room, &v.List} {
		Decode(number, into, &errs)
	}
	if errs.Len() != 16 {
		t.Errorf("%d mistakes, want 16", errs.Len())
	}
	printed += errs.Err().Error()

	both := &Node{Kind: Map, Keys: []Key{{Name: "a", Value: hiddenNode}, {Name: "b", Value: number}, {Name: "c", Value: &Node{Kind: Int, Scalar: "0123"}}}}
	text, err = json.Marshal(struct {
		Tree *Node
		Text Text
	}{both, hiddenNode.Text()})
	if want := `{"Tree":{"a":"\u003csecret\u003e","b":"\u003csecret\u003e","c":"0123"},"Text":"\u003csecret\u003e"}`; err != nil || string(text) != want {
		t.Errorf("Marshal = %s, %v, want %s", text, err, want)
	}
	printed += string(text) + fmt.Sprintf("%v %+v %#v %q", hiddenNode.Text(), []Text{hiddenNode.Text()}, hiddenNode.Text(), hiddenNode.Text()) + fmt.Sprint(both)
	for _, s := range []string{secret, "314159265"} {
		if strings.Contains(printed, s) {
			t.Errorf("%q was printed:\n%s", s, printed)
		}
	}
}
