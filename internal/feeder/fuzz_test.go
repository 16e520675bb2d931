package feeder

import (
	"bytes"
	stdcsv "encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/block"
)

// both opens a file with its rows in memory and with its rows on disk, and checks that they agree.
func both(t *testing.T, c Config, text []byte) (rows []string, err error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, c.File.S), text, 0o600); err != nil {
		t.Fatal(err)
	}
	var all [2][]string
	var failures [2]string
	for i, most := range []limits{usual, {0, 4}} {
		var errs block.Errors
		f := open("rows", &c, dir, &errs, most)
		if err = errs.Err(); err != nil {
			failures[i] = err.Error()
			continue
		}
		all[i] = rowsOf(t, f)
		for _, row := range all[i] {
			if !gjson.Valid(row) || row[0] != '{' {
				t.Errorf("a row is no object: %s", row)
			}
		}
	}
	if d := cmp.Diff(all[0], all[1]) + cmp.Diff(failures[0], failures[1]); d != "" {
		t.Errorf("in memory and in the file differ (-memory +file):\n%s", d)
	}
	return all[0], err
}

// spaced finds a line of nothing but spaces, which encoding/csv takes for a row.
var spaced = regexp.MustCompile(`(?m)^[ \t]+\r?$`)

func FuzzFields(f *testing.F) {
	for _, text := range []string{
		"a,b\n1,2\n", "\xef\xbb\xbfa,b\r\n\"1\",\"2\"\r\n", "a,\"b\n\"\"\",c\r\n\n1,,\n", "\"\",\"\"\n,\n", "a\"b,c\n", "\"a\"b\n", "\"a", "x\r\ry\r\n\r",
		"\"a\r\nb\",c\r", "ü,ß\n", "\xff\n", "a;b\n1;2", "a\tb\n\t\n",
	} {
		f.Add(text, byte(','))
		f.Add(text, byte('\t'))
		f.Add(text, byte(';'))
	}
	f.Fuzz(func(t *testing.T, text string, delimiter byte) {
		if delimiter >= utf8.RuneSelf || delimiter == '"' || delimiter == '\r' || delimiter == '\n' || delimiter == 0 {
			delimiter = ','
		}
		oracle := stdcsv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\xef\xbb\xbf")))
		oracle.Comma = rune(delimiter)
		oracle.FieldsPerRecord = 0 // as many as the first row has
		records, wrong := oracle.ReadAll()
		c := Config{File: block.Text{S: "r.csv"}, Delimiter: string(rune(delimiter))}
		n := 1
		if len(records) > 0 {
			n = len(records[0])
		}
		for i := range n {
			c.Columns = append(c.Columns, block.Text{S: fmt.Sprintf("column %d", i)})
		}
		rows, err := both(t, c, []byte(text))
		if wrong != nil || len(records) == 0 || spaced.MatchString(text) || !utf8.ValidString(text) || strings.HasPrefix(text, "\xef\xbb\xbf\xef\xbb\xbf") {
			return
		}
		if err != nil || len(rows) != len(records) {
			t.Fatalf("%q: %d rows, %v; encoding/csv reads %q", text, len(rows), err, records)
		}
		for i, record := range records {
			for k, want := range record {
				if got := gjson.Get(rows[i], fmt.Sprintf("column %d", k)).Str; got != want {
					t.Errorf("%q: row %d, field %d is %q, want %q", text, i, k, got, want)
				}
			}
		}
	})
}

func FuzzValues(f *testing.F) {
	for _, text := range []string{"a\nb\n", "\xef\xbb\xbf\"a\"\"\r\n\"\r\n\r\n b", "\"a\" b", "\"", "\r"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := both(t, Config{File: block.Text{S: "r.txt"}}, []byte(text))
		if strings.Contains(text, `"`) || !utf8.ValidString(text) || strings.Contains(text, "\ufeff") {
			return
		}
		var want []string
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSuffix(line, "\r"); strings.Trim(line, " \t") != "" {
				want = append(want, line)
			}
		}
		var got []string
		for _, row := range rows {
			got = append(got, gjson.Get(row, "value").Str)
		}
		if d := cmp.Diff(want, got); d != "" || (err != nil) != (len(want) == 0) {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, d)
		}
	})
}

func FuzzObjects(f *testing.F) {
	for _, text := range []string{
		`[{"a":1},{"b":[{}, "]"]}]`, "{\"a\":1}\n\n{\"a\":\"\\\"}\"}\r\n", "[]", "[{}", "[{},]", "[1]", "{}{}", "[{\"a\":}]", "\xef\xbb\xbf[ {} , {} ]\n", "[{}]x", "[\"\\\\\"]", "[}]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		plain := bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		rows, err := both(t, Config{File: block.Text{S: "r.json"}}, text)
		var want []json.RawMessage
		good := json.Unmarshal(plain, &want) == nil && len(want) > 0 && utf8.Valid(text)
		for _, w := range want {
			good = good && w != nil && w[0] == '{'
		}
		if good != (err == nil) || good && len(rows) != len(want) {
			t.Fatalf("%q: %d rows, %v; want %d rows, good %v", text, len(rows), err, len(want), good)
		}
		for i := range rows {
			if rows[i] != string(want[i]) {
				t.Errorf("%q: row %d is %s, want %s", text, i, rows[i], want[i])
			}
		}

		rows, err = both(t, Config{File: block.Text{S: "r.jsonl"}}, text)
		good, want = utf8.Valid(text), nil
		for line := range bytes.SplitSeq(plain, []byte{'\n'}) {
			if line = bytes.Trim(line, " \t\r"); len(line) > 0 {
				good = good && json.Valid(line) && line[0] == '{'
				want = append(want, line)
			}
		}
		if good = good && len(want) > 0; good != (err == nil) || good && len(rows) != len(want) {
			t.Fatalf("%q: %d lines, %v; want %d lines, good %v", text, len(rows), err, len(want), good)
		}
		for i := range rows {
			if rows[i] != string(want[i]) {
				t.Errorf("%q: line %d is %s, want %s", text, i, rows[i], want[i])
			}
		}
	})
}
