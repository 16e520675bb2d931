package output

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

// What is wrong with a file of certificates stands at the key that names it, all of it at once.
func TestMistakesOfTLSStandAtTheirKeys(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		"{}":                               nil,
		"{server_name: a}":                 nil,
		"{ca_file: none.pem}":              {"o.yaml:1:11: ca_file: " + filepath.Join(dir, "none.pem") + ": no such file"},
		"{ca_file: empty.pem}":             {"o.yaml:1:11: ca_file: " + filepath.Join(dir, "empty.pem") + " holds no certificate"},
		"{ca_file: .}":                     {"o.yaml:1:11: ca_file: " + dir + " is no file of certificates"},
		"{cert_file: c.pem}":               {"o.yaml:1:13: cert_file: needs key_file beside it"},
		"{key_file: k.pem}":                {"o.yaml:1:12: key_file: needs cert_file beside it"},
		"{key_file: k.pem, ca_file: none}": {"o.yaml:1:12: key_file: needs cert_file", "o.yaml:1:28: ca_file: "},
		"{ca_file: none, cert_file: empty.pem, key_file: none}":      {"o.yaml:1:11: ca_file: ", "o.yaml:1:49: key_file: "},
		"{cert_file: empty.pem, key_file: empty.pem, ca_file: none}": {"o.yaml:1:13: cert_file: ", "o.yaml:1:54: ca_file: "},
		"{ca_file: [], cert_file: c.pem}":                            {"o.yaml:1:11: ca_file: "}, // is not read
	} {
		var errs block.Errors
		root := block.Parse("o.yaml", []byte(text), &errs)
		var c TLS
		block.Decode(root, &c, &errs)
		c.Check(root, dir, &errs)
		found := errs.Mistakes()
		if len(found) != len(want) {
			t.Errorf("%s: %v, want %d mistakes", text, errs.Err(), len(want))
			continue
		}
		for i, w := range want {
			if !strings.HasPrefix(found[i].Error(), w) {
				t.Errorf("%s: %v, want %s", text, found[i], w)
			}
		}
	}
}
