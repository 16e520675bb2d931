package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// fieldsOf decodes a block with the codec under test.
func fieldsOf(d *headerDecoder, block []byte) (fields []string, err error) {
	for begun := false; ; begun = true {
		f, rest, ok, err := d.next(block, begun)
		if err != nil || !ok {
			return fields, err
		}
		fields = append(fields, string(f.name)+": "+string(f.value))
		block = rest
	}
}

// The blocks are those of RFC 7541, appendices C.3 and C.6, whose tables evict.
func TestHeaderBlocksOfTheRFC(t *testing.T) {
	for _, c := range []struct {
		size   int
		blocks []string
		want   [][]string
	}{
		{
			4096,
			[]string{"828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865", "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"},
			[][]string{
				{":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"},
				{":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"},
				{":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"},
			},
		},
		{
			256,
			[]string{
				"488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
				"4883640effc1c0bf",
				"88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
			},
			[][]string{
				{":status: 302", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT", "location: https://www.example.com"},
				{":status: 307", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT", "location: https://www.example.com"},
				{
					":status: 200", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:22 GMT", "location: https://www.example.com",
					"content-encoding: gzip", "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
				},
			},
		},
	} {
		d := newHeaderDecoder()
		d.table.max = c.size
		for i, text := range c.blocks {
			block, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := fieldsOf(&d, block)
			if err != nil || !slices.Equal(got, c.want[i]) {
				t.Errorf("block %d of a table of %d: %v %q, want %q", i, c.size, err, got, c.want[i])
			}
		}
	}
}

func TestHeaderBlocksThatAreNone(t *testing.T) {
	for name, block := range map[string]string{
		"index 0":                           "80",
		"index beyond the table":            "be",
		"name beyond the table":             "7f80800161",
		"string cut off":                    "400a6375",
		"integer cut off":                   "ff",
		"integer too large":                 "ffffffffffffffff7f",
		"padding of a Huffman code is zero": "0001618100",
		"a size in the middle":              "823f01",
		"a size above what was allowed":     "3fe2ff03",
		"name without value":                "400161",
	} {
		p, err := hex.DecodeString(block)
		if err != nil {
			t.Fatal(err)
		}
		d := newHeaderDecoder()
		if got, err := fieldsOf(&d, p); err == nil {
			t.Errorf("%s: %q is decoded to %q", name, block, got)
		}
	}
}

// A peer with the library's decoder reads what requests were, whatever the size of the table.
func TestRequestsAsHeaderBlocks(t *testing.T) {
	e := newHeaderEncoder()
	var got []string
	d := hpack.NewDecoder(defaultTableSize, func(f hpack.HeaderField) { got = append(got, f.Name+": "+f.Value) })
	first, last := 0, 0
	for i := range 400 {
		if i == 200 {
			e.resize(300)
			d.SetMaxDynamicTableSize(defaultTableSize)
		}
		head := fmt.Sprintf("GET /items/%d?q=%d HTTP/1.1\r\nHost: shop.example.com:8080\r\nUser-Agent: perfd/1\r\nX-Perfd: scenario/run\r\n"+
			"traceparent: 00-%032x-%016x-01\r\nConnection: close\r\nTE: gzip\r\nX-Empty:\r\nX-Long: %s\r\n\r\nbody", i%50, i, i, i, strings.Repeat("x", i))
		want := []string{
			":method: GET", ":scheme: https", ":authority: shop.example.com:8080", fmt.Sprintf(":path: /items/%d?q=%d", i%50, i), "user-agent: perfd/1",
			"x-perfd: scenario/run", fmt.Sprintf("traceparent: 00-%032x-%016x-01", i, i), "x-empty: ", "x-long: " + strings.Repeat("x", i),
		}
		got = nil
		block := e.request(nil, []byte(head), true)
		if _, err := d.Write(block); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if err := d.Close(); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("request %d arrives as %q, want %q", i, got, want)
		}
		if e.table.size > e.table.max || cap(e.table.texts) > 4*defaultTableSize {
			t.Fatalf("request %d: the table has %d of %d bytes, in room for %d", i, e.table.size, e.table.max, cap(e.table.texts))
		}
		if first = max(first, len(block)-i); i < 200 {
			last = len(block) - i
		}
	}
	if last > first-60 {
		t.Errorf("the 200th request takes %d bytes beside its long field, the longest %d: what comes again is not taken from the table", last, first)
	}
}

// FuzzHeaderBlocks holds the decoder against the library's, block after block.
func FuzzHeaderBlocks(f *testing.F) {
	f.Add([]byte("\x82\x86\x84\x41\x0fwww.example.com"), []byte("\x82\x86\x84\xbe\x58\x08no-cache"))
	f.Add([]byte("\x3f\xe1\x1f\x40\x01a\x01b"), []byte("\x20\xbe"))
	f.Add([]byte("\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b"), []byte("\x48\x83\x64\x0e\xff\xc1\xc0\xbf"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		d := newHeaderDecoder()
		var want []string
		library := hpack.NewDecoder(defaultTableSize, func(f hpack.HeaderField) { want = append(want, f.Name+": "+f.Value) })
		for _, block := range [][]byte{one, two} {
			want = nil
			_, werr := library.Write(block)
			if cerr := library.Close(); werr == nil {
				werr = cerr
			}
			got, err := fieldsOf(&d, bytes.Clone(block))
			if errors.Is(err, errHpackSize) || werr != nil && strings.Contains(werr.Error(), "size update") {
				return // the library lets the size of an empty table change after a field, and no other change twice
			}
			if (err == nil) != (werr == nil) {
				t.Fatalf("%x: %v, the library %v", block, err, werr)
			}
			if err != nil {
				return
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%x is read as %q, want %q", block, got, want)
			}
			if d.table.size > defaultTableSize || d.table.len() > 0 && d.table.size < entryOverhead {
				t.Fatalf("%x: the table counts %d bytes", block, d.table.size)
			}
		}
	})
}
