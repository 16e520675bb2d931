package feeder

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
)

// opened writes a file and opens it with the keys of an entry of data, written as YAML. The limits decide where
// rows are kept.
func opened(t testing.TB, file, text, keys string, most limits) (*Feeder, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return openedIn(t, dir, file, keys, most)
}

func openedIn(t testing.TB, dir, file, keys string, most limits) (*Feeder, error) {
	t.Helper()
	var errs block.Errors
	var c Config
	root := block.Parse("f", []byte("{file: "+file+", "+keys+"}"), &errs)
	if root == nil {
		t.Fatal(errs.Err())
	}
	block.Decode(root, &c, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	f := open("rows", &c, dir, &errs, most)
	return f, errs.Err()
}

func mustOpen(t testing.TB, file, text, keys string, most limits) *Feeder {
	t.Helper()
	f, err := opened(t, file, text, keys, most)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// inFile keeps no row in memory.
var inFile = limits{0, usual.starts}

// where says where a test keeps rows.
var where = map[string]limits{"in memory": usual, "in the file": inFile}

// rowsOf returns all rows, in order.
func rowsOf(t testing.TB, f *Feeder) []string {
	t.Helper()
	var out []string
	for i := range f.Rows() {
		v, err := f.rows.row(i)
		if err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
		out = append(out, v.String())
	}
	return out
}

func TestRowsAreReadAlikeInEveryFormat(t *testing.T) {
	want := []string{
		`{"id":"1","text":"plain"}`, `{"id":"2","text":"a \"quoted\" word"}`, `{"id":"007","text":""}`, `{"id":"12.30","text":"two\nlines"}`,
		`{"id":"5\"","text":"é;ü"}`,
	}
	delimiter := func(d string) string {
		return strings.ReplaceAll("id#text\n1#plain\n2#\"a \"\"quoted\"\" word\"\n007#\n12.30#\"two\nlines\"\n5\"#\"é;ü\"\n", "#", d)
	}
	formats := []struct{ file, keys, text string }{
		{"r.csv", "", delimiter(",")},
		{"r.csv", `delimiter: ";"`, delimiter(";")},
		{"r.csv", `delimiter: "§"`, delimiter("§")},
		{"r.tsv", "", delimiter("\t")},
		{"R.TSV", "", delimiter("\t")},
		{"r.txt", `delimiter: \t`, delimiter("\t")},
		{"r.txt", `delimiter: "|"`, delimiter("|")},
		{"r.csv", "columns: [id, text]", strings.TrimPrefix(delimiter(","), "id,text\n")},
		{"r.csv", "", strings.Replace(delimiter(","), "id,text", `"id", text `, 1)},
		{"r.jsonl", "", strings.Join(want, "\n")},
		{"r.ndjson", "", strings.Join(want, "\n") + "\n"},
		{"r.json", "", "[" + strings.Join(want, ",\n") + "]"},
		{"r.json", "", "[\n" + strings.Join(want, "\n,") + "\n]\n"},
	}
	edits := map[string]func(string) string{
		"as it is":             func(s string) string { return s },
		"byte order mark":      func(s string) string { return "\xef\xbb\xbf" + s },
		"CRLF":                 func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"no last line end":     func(s string) string { return strings.TrimRight(s, "\n") },
		"blank lines":          func(s string) string { return "\n  \n" + strings.ReplaceAll(s, "}\n", "}\n\n  \n") + "\n\n \n" },
		"all of them":          func(s string) string { return "\xef\xbb\xbf\r\n" + strings.ReplaceAll(s, "\n", "\r\n") + "\r\n\r\n" },
		"blank lines and CRLF": func(s string) string { return "\r\n" + strings.ReplaceAll(s, "007", "\r\n \r\n007") },
	}
	for _, f := range formats {
		for edit, change := range edits {
			if edit == "blank lines and CRLF" && strings.Contains(f.file, "json") {
				continue // 007 is within a row there
			}
			for place, most := range where {
				t.Run(fmt.Sprintf("%s %s/%s/%s", f.file, f.keys, edit, place), func(t *testing.T) {
					got := rowsOf(t, mustOpen(t, f.file, change(f.text), f.keys, most))
					if d := cmp.Diff(want, got); d != "" {
						t.Errorf("rows (-want +got):\n%s", d)
					}
				})
			}
		}
	}
}

func TestALineOfATextFileIsAValue(t *testing.T) {
	const text = "\xef\xbb\xbfred lamp\r\n\r\n15\" laptop\r\n\"a, \"\"b\"\"\r\nc\"\r\n  \r\n42"
	for place, most := range where {
		got := rowsOf(t, mustOpen(t, "words.txt", text, "", most))
		want := []string{`{"value":"red lamp"}`, `{"value":"15\" laptop"}`, `{"value":"a, \"b\"\nc"}`, `{"value":"42"}`}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", place, d)
		}
		f := mustOpen(t, "words.txt", text, "columns: [word]", most)
		if d := cmp.Diff([]string{"word"}, f.Columns); d != "" {
			t.Errorf("columns (-want +got):\n%s", d)
		}
	}
}

func TestJSONKeepsWhatWasWritten(t *testing.T) {
	rows := []string{
		`{"id":9007199254740993,"price":1.50}`, `{ "nested": {"a": [1, {"b": "]}"}]}, "text": "\\\" }, {" }`, `{}`, `{"é":null}`,
	}
	for file, text := range map[string]string{"r.json": "[" + strings.Join(rows, " , ") + "]", "r.jsonl": strings.Join(rows, "\n")} {
		for place, most := range where {
			f := mustOpen(t, file, text, "", most)
			if d := cmp.Diff(rows, rowsOf(t, f)); d != "" {
				t.Errorf("%s, %s (-want +got):\n%s", file, place, d)
			}
			if d := cmp.Diff([]string{"id", "nested", "price", "text", "é"}, f.Columns); d != "" {
				t.Errorf("%s: columns (-want +got):\n%s", file, d)
			}
		}
	}
}

func TestMistakesNameTheLine(t *testing.T) {
	for _, c := range []struct{ name, file, keys, text, want string }{
		{"too few fields", "r.csv", "", "a,b\n1,2\n\n3\n", `r.csv:4: 1 field, where the header row in line 1 has 2`},
		{"too many fields", "r.csv", "", "\n\na,b\n1,2,3\n", `r.csv:4: 3 fields, where the header row in line 3 has 2`},
		{"fields of given columns", "r.tsv", "columns: [a, b]", "1\t2\n1\n", `r.tsv:2: 1 field, where columns has 2`},
		{"after a field of two lines", "r.csv", "", "a,b\n\"1\n1\",2\n3\n", `r.csv:4: 1 field`},
		{"an open quote", "r.csv", "", "a,b\n1,\"2\n3,4\n", `r.csv:2: a quote is not closed`},
		{"text after a quote", "r.csv", "", "a,b\n1,\"2\"3\n", `r.csv:2: a quoted field goes on after its closing quote`},
		{"text after a quote in a text file", "r.txt", "", "x\n\"2\" 3\n", `r.txt:2: a quoted field goes on after its closing quote`},
		{"a quote that takes the file", "r.csv", "", "a,b\n1,2\n3,\"" + strings.Repeat("4,5\n", 1<<19), `r.csv:3: a row is longer than 1024 KiB`},
		{"no header row", "r.csv", "", "\n\n", `r.csv: has no header row`},
		{"no rows", "r.csv", "", "a,b\n", `r.csv: has no rows`},
		{"an empty file", "r.txt", "", "", `r.txt: has no rows`},
		{"an empty list", "r.json", "", "[]", `r.json: has no rows`},
		{"a column without a name", "r.csv", "", "a,,b\n1,2,3\n", `r.csv:1: column 2 has no name`},
		{"two columns of one name", "r.csv", "", "a,b,a\n1,2,3\n", `r.csv:1: two columns have the name "a"`},
		{"semicolons", "r.csv", "", "id;name\n1;x\n", "r.csv:1: the header row has no \",\" between its columns\n\thint: write delimiter: \";\""},
		{"a header and columns", "r.csv", "columns: [a, b]", "a,b\n1,2\n", `r.csv:1: the header row, where the configuration has columns`},
		{"not UTF-8", "r.csv", "", "a,b\n1,2\n3,M\xfcller\n", `r.csv:3: not in UTF-8`},
		{"UTF-16", "r.tsv", "", "\xff\xfea\x00\t\x00b\x00", `r.tsv:1: in UTF-16`},
		{"several", "r.csv", "", "a,b\n1\n2,2\n3\n", "r.csv:2: 1 field, where the header row in line 1 has 2\nf:1:8: file: r.csv:4: 1 field"},
		{"a line that is not JSON", "r.jsonl", "", "{\"a\":1}\n\n{\"a\":}\n", `r.jsonl:3: not JSON: invalid character '}'`},
		{"a line that is no object", "r.jsonl", "", "{\"a\":1}\n2\n", `r.jsonl:2: a row must be an object`},
		{"two objects in a line", "r.ndjson", "", "{\"a\":1} {\"a\":2}\n", `r.ndjson:1: not JSON: invalid character '{'`},
		{"a list in .jsonl", "r.jsonl", "", "[{\"a\":1}]", `r.jsonl:1: a row must be an object`},
		{"lines in .json", "r.json", "", "{\"a\":1}\n{\"a\":2}\n", `r.json:1: must be a list of objects`},
		{"no comma", "r.json", "", "[{\"a\":1}\n {\"a\":2}]", `r.json:2: a comma is missing`},
		{"two commas", "r.json", "", "[{\"a\":1},\n,{\"a\":2}]", `r.json:2: an element is missing`},
		{"a comma at the end", "r.json", "", "[{\"a\":1},\n]", `r.json:2: an element is missing`},
		{"a list that does not end", "r.json", "", "[{\"a\":1}\n,{\"a\":2}\n", `r.json:3: the list does not end`},
		{"an object that does not end", "r.json", "", "[{\"a\":1},\n{\"a\":[2}", `r.json:2: not JSON`},
		{"text after the list", "r.json", "", "[{\"a\":1}]\n[]", `r.json:2: text after the end of the list`},
		{"an element of two lines", "r.json", "", "[{\"a\":1},\n{\"a\":\n\"b\",}]", `r.json:3: not JSON`},
		{"an element that is no object", "r.json", "", "[{\"a\":1}, 2]", `r.json:1: a row must be an object`},
		{"weights", "r.csv", "weight: w", "a,w\n1,2\n3,x\n4,-1\n5,NaN\n6,1e999\n7,0.5\n", "r.csv:3: the weight in column \"w\" is not a number of 0 or more\nf:1:8: file: r.csv:4: the weight"},
		{"no weights", "r.csv", "weight: w", "a,w\n1,0\n", `r.csv: the weights in column "w" add up to 0`},
		{"a weight that is no column", "r.csv", "weight: weigth", "a,weight\n1,0\n", "r.csv:1: there is no column \"weigth\" for the weight\n\thint: did you mean \"weight\"?"},
		{"a weight that is no member", "r.jsonl", "weight: w", "{\"a\":1}\n", `r.jsonl:1: the weight in column "w" is not`},
		{"unknown kind", "r.xlsx", "", "", `r.xlsx is neither .csv, .tsv, .txt, .json, .jsonl nor .ndjson`},
		{"compressed", "r.csv.gz", "", "", "hint: unpack it"},
		{"no file", "../no.csv", "", "", `../no.csv: no such file or directory`},
		{"two values a line", "r.txt", "columns: [a, b]", "1 2\n", `a line of a .txt file is one value`},
		{"the same column twice", "r.csv", "columns: [a, a]", "1,2\n", `columns[1]: two columns have the name "a"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if filepath.Base(c.file) == c.file {
				if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for place, most := range where {
				if _, err := openedIn(t, dir, c.file, c.keys, most); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v\nwant in it: %s", place, err, c.want)
				}
			}
		})
	}
}

func TestWrongKeys(t *testing.T) {
	for keys, want := range map[string]string{
		"order: circular":                  "hint: write order: sequential",
		"order: shuffle":                   "hint: write order: shuffled",
		"order: uniqe":                     `hint: did you mean "unique"?`,
		"at_end: halt":                     `at_end: must be stop or wrap, got "halt"`,
		"order: random, at_end: stop":      "the order random has no end",
		"order: per_vu, at_end: wrap":      "the order per_vu has no end",
		"weight: a, at_end: stop":          "the order random has no end",
		"order: unique, weight: a":         "rows have weights in the order random only, not in unique",
		"exponent: 1.1":                    "only the order zipf has an exponent, not sequential",
		"order: zipf, exponent: 0":         "must be more than 0 and at most 20, got 0",
		"order: zipf, exponent: much":      "must be a number",
		"delimiter: ';;'":                  `must be one character, got ";;"`,
		"delimiter: ''":                    `must be one character, got ""`,
		`delimiter: '"'`:                   `cannot be "\""`,
		"columns: []":                      "must name at least one column",
		"columns: a":                       "must be a list",
		"delimeter: ';'":                   `did you mean "delimiter"?`,
		"order: zipf, weight: a":           "not in zipf",
		"order: sequential, exponent: 1.0": "not sequential",
	} {
		if _, err := opened(t, "r.csv", "a,b\n1,2\n", keys, usual); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant in it: %s", keys, err, want)
		}
	}
	for _, keys := range []string{"delimiter: ';'", "columns: [a]"} {
		if _, err := opened(t, "r.json", "[{}]", keys, usual); err == nil || !strings.Contains(err.Error(), "JSON") {
			t.Errorf("%s of JSON: %v", keys, err)
		}
	}
}

func TestPipesAndFoldersAreNotRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "r.csv"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := openedIn(t, dir, "r.csv", "", usual); err == nil || !strings.Contains(err.Error(), "r.csv: is not a file") {
		t.Errorf("a folder: %v", err)
	}
	makePipe(t, filepath.Join(dir, "p.csv"))
	if _, err := openedIn(t, dir, "p.csv", "", usual); err == nil || !strings.Contains(err.Error(), "p.csv: is not a file") {
		t.Errorf("a pipe: %v", err)
	}
}

// csv is a file with rows of all lengths; row i has the id i.
func csv(n int) string {
	var b strings.Builder
	b.WriteString("id,name\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,\"%s\"\"\n\"\n", i, strings.Repeat("x", i%97*i%5))
	}
	return b.String()
}

func TestAnIndexThatIsFullGetsCoarser(t *testing.T) {
	const n = 3*1024 + 123
	var b strings.Builder
	b.WriteString("id,w\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,%d\n", i, i%3)
	}
	for place, most := range where {
		f := mustOpen(t, "r.csv", b.String(), "weight: w", limits{most.text, 1024})
		if f.Rows() != n || f.rows.every != 4 || len(f.rows.sums) != (n+3)/4 || len(f.rows.starts) > 1024 {
			t.Fatalf("%s: %d rows in blocks of %d, %d of them; want %d in blocks of 4", place, f.Rows(), f.rows.every, len(f.rows.sums), n)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for _, i := range []int{0, 1, 2, 3, 4, 5, n / 2, n - 2, n - 1, r.IntN(n), r.IntN(n), r.IntN(n)} {
			v, err := f.rows.row(i)
			if want := fmt.Sprintf(`{"id":"%d","w":"%d"}`, i, i%3); err != nil || v.String() != want {
				t.Errorf("%s: row %d = %s, %v; want %s", place, i, v, err, want)
			}
		}
		// The weights before row i add up to 3⌊i/3⌋ + (0, 0, 1)[i%3].
		for range 100 {
			i := r.IntN(n/3) * 3
			for k, want := range []int{i + 1, i + 2, i + 2} {
				u := float64(i) + float64(k) + 0.5*r.Float64()
				v, err := f.rows.weighted(u)
				if text := fmt.Sprintf(`{"id":"%d","w":"%d"}`, want, want%3); err != nil || v.String() != text {
					t.Fatalf("%s: at the weight %v is %s, %v; want %s", place, u, v, err, text)
				}
			}
		}
	}
}

func TestAFileThatChangesIsAFailure(t *testing.T) {
	text := csv(1000)
	for name, change := range map[string]func(path string) error{
		"truncated":            func(path string) error { return os.Truncate(path, 100) },
		"emptied":              func(path string) error { return os.Truncate(path, 0) },
		"longer":               func(path string) error { return os.WriteFile(path, []byte(text+"1001,y\n"), 0o600) },
		"other, the same size": func(path string) error { return os.WriteFile(path, []byte(strings.ReplaceAll(text, ",", "#")), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "r.csv")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := openedIn(t, dir, "r.csv", "order: random", inFile)
			if err != nil {
				t.Fatal(err)
			}
			d := f.Dealer(0, 0, 1)
			r := rand.New(rand.NewPCG(1, 1))
			if _, err := d.Next(0, r); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond) // file systems count times in ticks of up to 10 ms
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if v, err := d.Next(0, r); !errors.Is(err, errChanged) || !strings.HasPrefix(err.Error(), "r.csv: ") {
					t.Fatalf("a row of a file that was changed: %s, %v", v, err)
				}
			}
		})
	}
	t.Run("replaced", func(t *testing.T) { // as editors and deployments do; the old content is still there
		dir := t.TempDir()
		path := filepath.Join(dir, "r.csv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := openedIn(t, dir, "r.csv", "", inFile)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", []byte("a\n1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		if rows := rowsOf(t, f); len(rows) != 1000 {
			t.Errorf("%d rows, want 1000", len(rows))
		}
	})
}

func TestRowsAreReadByManyAtOnce(t *testing.T) {
	const n = 5000
	f := mustOpen(t, "r.csv", csv(n), "", inFile)
	var g sync.WaitGroup
	for w := range 8 {
		g.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range 500 {
				i := r.IntN(n)
				v, err := f.rows.row(i)
				if err != nil || !strings.HasPrefix(v.String(), fmt.Sprintf(`{"id":"%d",`, i)) {
					t.Errorf("row %d = %s, %v", i, v, err)
					return
				}
			}
		})
	}
	g.Wait()
}

func TestALargeFileTakesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 40 MB")
	}
	path := filepath.Join(t.TempDir(), "r.csv")
	size := writeLarge(t, path, 40<<20)
	before := heap()
	f, err := openedIn(t, filepath.Dir(path), "r.csv", "", usual)
	if err != nil {
		t.Fatal(err)
	}
	took := heap() - before
	t.Logf("%d rows of %d MB: %d KiB of heap, index %d KiB", f.Rows(), size>>20, took>>10, len(f.rows.starts)*8>>10)
	if took > 12<<20 {
		t.Errorf("a file of %d MB takes %d MiB, want at most 12", size>>20, took>>20)
	}
	for _, i := range []int{0, 1, f.Rows() / 3, f.Rows() - 1} {
		v, err := f.rows.row(i)
		if want := fmt.Sprintf(`{"id":"%d","name":"u%d"}`, i, i%1000); err != nil || v.String() != want {
			t.Errorf("row %d = %s, %v; want %s", i, v, err, want)
		}
	}
	runtime.KeepAlive(f)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// writeLarge writes a file of at least size bytes.
func writeLarge(t testing.TB, path string, size int64) int64 {
	t.Helper()
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("id,name\n")
	var written int64
	for i := 0; written < size; i++ {
		text = fmt.Appendf(text, "%d,u%d\n", i, i%1000)
		if len(text) > 1<<20 || written+int64(len(text)) >= size {
			n, err := w.Write(text)
			if err != nil {
				t.Fatal(err)
			}
			written += int64(n)
			text = text[:0]
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return written
}

func TestRowsInMemoryAllocateNothing(t *testing.T) {
	for _, keys := range []string{"order: sequential", "order: random", "order: shuffled", "order: unique, at_end: wrap", "order: per_vu", "order: zipf", "weight: id"} {
		d := mustOpen(t, "r.csv", csv(1000), keys, usual).Dealer(1, 0, 1)
		r := rand.New(rand.NewPCG(1, 1))
		var row expr.Value
		var err error
		if n := testing.AllocsPerRun(1000, func() { row, err = d.Next(7, r) }); n != 0 || err != nil || row.IsNull() {
			t.Errorf("%s: %v objects a row, %v", keys, n, err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for place, most := range where {
		for _, keys := range []string{"order: sequential", "order: random", "order: shuffled", "order: zipf", "weight: id"} {
			b.Run(place+"/"+keys, func(b *testing.B) {
				d := mustOpen(b, "r.csv", csv(100_000), keys, limits{2 * most.text, usual.starts}).Dealer(1, 0, 1)
				r := rand.New(rand.NewPCG(1, 1))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := d.Next(7, r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
