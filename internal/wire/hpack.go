package wire

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/net/http2/hpack"
)

// The tables and codes of HPACK (RFC 7541). The codec works on bytes of the connection's own, because the strings of a
// library's are allocations of each request; Huffman's code is the library's.

// A headerField is one field of a header list.
type headerField struct{ name, value []byte }

// staticTable is that of RFC 7541, appendix A.
var staticTable = func() (t [62]headerField) {
	for i, f := range [...][2]string{
		{":authority", ""},
		{":method", "GET"},
		{":method", "POST"},
		{":path", "/"},
		{":path", "/index.html"},
		{":scheme", "http"},
		{":scheme", "https"},
		{":status", "200"},
		{":status", "204"},
		{":status", "206"},
		{":status", "304"},
		{":status", "400"},
		{":status", "404"},
		{":status", "500"},
		{"accept-charset", ""},
		{"accept-encoding", "gzip, deflate"},
		{"accept-language", ""},
		{"accept-ranges", ""},
		{"accept", ""},
		{"access-control-allow-origin", ""},
		{"age", ""},
		{"allow", ""},
		{"authorization", ""},
		{"cache-control", ""},
		{"content-disposition", ""},
		{"content-encoding", ""},
		{"content-language", ""},
		{"content-length", ""},
		{"content-location", ""},
		{"content-range", ""},
		{"content-type", ""},
		{"cookie", ""},
		{"date", ""},
		{"etag", ""},
		{"expect", ""},
		{"expires", ""},
		{"from", ""},
		{"host", ""},
		{"if-match", ""},
		{"if-modified-since", ""},
		{"if-none-match", ""},
		{"if-range", ""},
		{"if-unmodified-since", ""},
		{"last-modified", ""},
		{"link", ""},
		{"location", ""},
		{"max-forwards", ""},
		{"proxy-authenticate", ""},
		{"proxy-authorization", ""},
		{"range", ""},
		{"referer", ""},
		{"refresh", ""},
		{"retry-after", ""},
		{"server", ""},
		{"set-cookie", ""},
		{"strict-transport-security", ""},
		{"transfer-encoding", ""},
		{"user-agent", ""},
		{"vary", ""},
		{"via", ""},
		{"www-authenticate", ""},
	} {
		t[i+1] = headerField{[]byte(f[0]), []byte(f[1])}
	}
	return t
}()

// Indices of staticTable.
const (
	staticAuthority  = 1
	staticGET        = 2
	staticPOST       = 3
	staticPath       = 4
	staticHTTP       = 6
	staticHTTPS      = 7
	firstDynamic     = 62
	entryOverhead    = 32   // bytes that a table counts for an entry beside its texts
	defaultTableSize = 4096 // bytes
)

// staticNames maps a name to its first index.
var staticNames = func() map[string]uint64 {
	names := map[string]uint64{}
	for i := len(staticTable) - 1; i > 0; i-- {
		names[string(staticTable[i].name)] = uint64(i)
	}
	return names
}()

// A headerTable is the dynamic table of one direction of a connection. Its texts lie in one buffer, in the order in which
// they came, so that one more costs no allocation.
type headerTable struct {
	entries   []tableEntry // the oldest first
	first     int          // of entries that are not evicted
	texts     []byte
	size, max int // as RFC 7541 section 4.1 counts
}

type tableEntry struct {
	at, name, value int32 // where its texts begin, and their lengths
	key             uint64
}

func (e *tableEntry) size() int { return int(e.name) + int(e.value) + entryOverhead }

func (t *headerTable) len() int { return len(t.entries) - t.first }

// field returns the i-th newest entry, from 0.
func (t *headerTable) field(i int) headerField {
	e := &t.entries[len(t.entries)-1-i]
	middle := e.at + e.name
	return headerField{t.texts[e.at:middle:middle], t.texts[middle : middle+e.value]}
}

// evict makes the table no larger than a size.
func (t *headerTable) evict(size int) {
	for t.size > size {
		t.size -= t.entries[t.first].size()
		t.first++
	}
	if t.first == len(t.entries) {
		t.first, t.entries, t.texts = 0, t.entries[:0], t.texts[:0]
	}
}

// add adds an entry, unless it is larger than the table, which it then empties. The texts may be of the table itself.
func (t *headerTable) add(name, value []byte, key uint64) {
	size := len(name) + len(value) + entryOverhead
	if size > t.max {
		t.evict(0)
		return
	}
	// The texts of what is evicted stay where they are until the table is compacted.
	for t.size > t.max-size {
		t.size -= t.entries[t.first].size()
		t.first++
	}
	at := len(t.texts)
	t.texts = append(append(t.texts, name...), value...)
	t.entries = append(t.entries, tableEntry{int32(at), int32(len(name)), int32(len(value)), key})
	t.size += size
	if t.first > 32 && t.first > len(t.entries)/2 || len(t.texts) > 2*t.max {
		t.compact()
	}
}

// compact moves what is not evicted to the front.
func (t *headerTable) compact() {
	from := t.entries[t.first].at
	t.texts = t.texts[:copy(t.texts, t.texts[from:])]
	t.entries = t.entries[:copy(t.entries, t.entries[t.first:])]
	t.first = 0
	for i := range t.entries {
		t.entries[i].at -= from
	}
}

var (
	errHpackInteger = &ProtocolError{"HPACK: an integer is too large or cut off"}
	errHpackIndex   = &ProtocolError{"HPACK: an index is of no field"}
	errHpackString  = &ProtocolError{"HPACK: a string is cut off or no Huffman code"}
	errHpackSize    = &ProtocolError{"HPACK: a table's size is changed where it may not be"}
)

// A headerDecoder reads header blocks.
type headerDecoder struct {
	table headerTable
	plain appender // room for strings in Huffman's code
}

// An appender is an io.Writer that appends.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

func newHeaderDecoder() headerDecoder {
	return headerDecoder{table: headerTable{max: defaultTableSize}}
}

// next returns the first field of a block, and what follows it. The field is valid until the next call. Ok is false at the
// end of the block. Begun says that a field of the block came before.
func (d *headerDecoder) next(p []byte, begun bool) (f headerField, rest []byte, ok bool, err error) {
	for len(p) > 0 && p[0]&0xe0 == 0x20 { // a change of the table's size (section 6.3)
		var n uint64
		if n, p, err = hpackInteger(p, 5); err != nil {
			return f, nil, false, err
		}
		if begun || n > defaultTableSize {
			return f, nil, false, errHpackSize
		}
		d.table.max = int(n)
		d.table.evict(d.table.max)
	}
	if len(p) == 0 {
		return f, nil, false, nil
	}
	if p[0]&0x80 != 0 { // indexed (section 6.1)
		var i uint64
		if i, p, err = hpackInteger(p, 7); err != nil {
			return f, nil, false, err
		}
		f, ok = d.at(i)
		if !ok {
			return f, nil, false, errHpackIndex
		}
		return f, p, true, nil
	}
	bits, add := 4, false // without indexing, or never indexed (sections 6.2.2 and 6.2.3)
	if p[0]&0x40 != 0 {   // with indexing (section 6.2.1)
		bits, add = 6, true
	}
	var i uint64
	if i, p, err = hpackInteger(p, bits); err != nil {
		return f, nil, false, err
	}
	d.plain = d.plain[:0]
	if i > 0 {
		if f, ok = d.at(i); !ok {
			return f, nil, false, errHpackIndex
		}
	} else if f.name, p, err = d.text(p); err != nil {
		return f, nil, false, err
	}
	if f.value, p, err = d.text(p); err != nil {
		return f, nil, false, err
	}
	if add {
		d.table.add(f.name, f.value, 0)
		if d.table.len() > 0 { // adding may have moved the name
			f = d.table.field(0)
		}
	}
	return f, p, true, nil
}

// at returns the field at an index of both tables.
func (d *headerDecoder) at(i uint64) (headerField, bool) {
	switch {
	case i == 0:
		return headerField{}, false
	case i < firstDynamic:
		return staticTable[i], true
	case i-firstDynamic < uint64(d.table.len()):
		return d.table.field(int(i - firstDynamic)), true
	}
	return headerField{}, false
}

// text reads a string (section 5.2).
func (d *headerDecoder) text(p []byte) (text, rest []byte, err error) {
	if len(p) == 0 {
		return nil, nil, errHpackString
	}
	huffman := p[0]&0x80 != 0
	n, p, err := hpackInteger(p, 7)
	if err != nil {
		return nil, nil, err
	}
	if n > uint64(len(p)) {
		return nil, nil, errHpackString
	}
	text, rest = p[:n], p[n:]
	if !huffman {
		return text, rest, nil
	}
	from := len(d.plain)
	if _, err := hpack.HuffmanDecode(&d.plain, text); err != nil {
		return nil, nil, errHpackString
	}
	return d.plain[from:len(d.plain):len(d.plain)], rest, nil
}

// hpackInteger reads an integer with a prefix of so many bits (section 5.1).
func hpackInteger(p []byte, bits int) (n uint64, rest []byte, err error) {
	most := uint64(1)<<bits - 1
	n = uint64(p[0]) & most
	if n < most {
		return n, p[1:], nil
	}
	for i, shift := 1, 0; i < len(p) && shift < 28; i, shift = i+1, shift+7 {
		n += uint64(p[i]&0x7f) << shift
		if p[i]&0x80 == 0 {
			return n, p[i+1:], nil
		}
	}
	return 0, nil, errHpackInteger
}

// appendHpackInteger appends an integer whose prefix has so many bits, of a byte that begins with others.
func appendHpackInteger(dst []byte, first byte, bits int, n uint64) []byte {
	most := uint64(1)<<bits - 1
	if n < most {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// A headerEncoder writes header blocks. What comes again goes into the table; of a name whose values differ from
// request to request, such as traceparent, only the first few do.
type headerEncoder struct {
	table   headerTable
	added   [64]uint8 // how many values of a name were added, at the place of the name's hash
	resized bool      // the next block begins with the table's size
	least   int       // that the table had since the block before, where resized
	name    []byte    // room for a name in lower case
}

// mostValues is how many values of one name go into the table.
const mostValues = 8

func newHeaderEncoder() headerEncoder {
	return headerEncoder{table: headerTable{max: defaultTableSize}}
}

// resize takes the size of the table that the peer allows.
func (e *headerEncoder) resize(n uint32) {
	most := int(min(n, defaultTableSize))
	if most == e.table.max {
		return
	}
	if !e.resized || most < e.least {
		e.least = most
	}
	e.table.max, e.resized = most, true
	e.table.evict(most)
}

// begin appends what a block begins with.
func (e *headerEncoder) begin(dst []byte) []byte {
	if !e.resized {
		return dst
	}
	e.resized = false
	if e.least < e.table.max { // RFC 7541 section 4.2
		dst = appendHpackInteger(dst, 0x20, 5, uint64(e.least))
	}
	return appendHpackInteger(dst, 0x20, 5, uint64(e.table.max))
}

// indexed appends a field of the static table.
func indexed(dst []byte, i byte) []byte { return append(dst, 0x80|i) }

// field appends a field whose name is in lower case and has a static index, or none: 0.
func (e *headerEncoder) field(dst []byte, static uint64, name, value []byte) []byte {
	key := xxhash.Sum64(value) ^ uint64(len(name))*0x9e3779b97f4a7c15
	if len(name) > 0 {
		key ^= uint64(name[0])<<32 | uint64(name[len(name)-1])<<40
	}
	t := &e.table
	for i := len(t.entries) - 1; i >= t.first; i-- {
		if t.entries[i].key != key {
			continue
		}
		n := len(t.entries) - 1 - i
		if f := t.field(n); bytes.Equal(f.value, value) && bytes.Equal(f.name, name) {
			return appendHpackInteger(dst, 0x80, 7, uint64(firstDynamic+n))
		}
	}
	added := &e.added[xxhash.Sum64(name)%uint64(len(e.added))]
	first, bits := byte(0), 4
	if *added < mostValues && len(name)+len(value)+entryOverhead <= t.max/2 {
		first, bits = 0x40, 6
	}
	if static == 0 {
		static = e.known(name)
	}
	dst = appendHpackInteger(dst, first, bits, static)
	if static == 0 {
		dst = appendHpackText(dst, name)
	}
	dst = appendHpackText(dst, value)
	if bits == 6 {
		*added++
		t.add(name, value, key)
	}
	return dst
}

// known returns the index of an entry with a name, 0 where there is none.
func (e *headerEncoder) known(name []byte) uint64 {
	for n := range e.table.len() {
		if bytes.Equal(e.table.field(n).name, name) {
			return uint64(firstDynamic + n)
		}
	}
	return 0
}

// appendHpackText appends a string as it is: Huffman's code costs the generator more than it saves the network.
func appendHpackText(dst, text []byte) []byte {
	return append(appendHpackInteger(dst, 0, 7, uint64(len(text))), text...)
}

// ofConnection are the fields that HTTP/1.1 says of a connection, which HTTP/2 does not know (RFC 9113 section 8.2.2).
var ofConnection = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "transfer-encoding": true, "upgrade": true,
}

// request appends the header block of a request, given its head as HTTP/1.1 has it: a line, and fields up to an empty line.
func (e *headerEncoder) request(dst, head []byte, tls bool) []byte {
	dst = e.begin(dst)
	line, rest := cutLine(head)
	method, line, _ := bytes.Cut(line, []byte(" "))
	path, _, _ := bytes.Cut(line, []byte(" "))
	switch string(method) {
	case "GET":
		dst = indexed(dst, staticGET)
	case "POST":
		dst = indexed(dst, staticPOST)
	default:
		dst = e.field(dst, staticGET, staticTable[staticGET].name, method)
	}
	if tls {
		dst = indexed(dst, staticHTTPS)
	} else {
		dst = indexed(dst, staticHTTP)
	}
	if host := hostField(rest); len(host) > 0 {
		dst = e.field(dst, staticAuthority, staticTable[staticAuthority].name, host)
	}
	if len(path) == 1 && path[0] == '/' {
		dst = indexed(dst, staticPath)
	} else {
		dst = e.field(dst, staticPath, staticTable[staticPath].name, path)
	}
	for len(rest) > 0 {
		if line, rest = cutLine(rest); len(line) == 0 {
			break
		}
		i := bytes.IndexByte(line, ':')
		if i <= 0 {
			continue
		}
		e.name = appendLower(e.name[:0], line[:i])
		value := trim(line[i+1:])
		if string(e.name) == "host" || ofConnection[string(e.name)] || string(e.name) == "te" && !equalFold(value, "trailers") {
			continue
		}
		dst = e.field(dst, staticNames[string(e.name)], e.name, value)
	}
	return dst
}

// hostField returns the value of the field Host, nil where there is none.
func hostField(fields []byte) []byte {
	const name = "Host"
	for len(fields) > 0 {
		var line []byte
		if line, fields = cutLine(fields); len(line) == 0 {
			break
		}
		if len(line) > len(name) && line[len(name)] == ':' && equalFold(line[:len(name)], name) {
			return trim(line[len(name)+1:])
		}
	}
	return nil
}

func appendLower(dst, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}
