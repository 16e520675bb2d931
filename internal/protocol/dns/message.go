package dns

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/wire"
)

// Messages of DNS (RFC 1035 section 4): a header of 12 bytes, one question, and records in three sections.
const (
	headLength = 12
	longest    = 65535 // bytes of a message
	mostName   = 255   // bytes of a name on the wire
	mostLabel  = 63
)

// Bits of the header's third and fourth byte, as one number.
const (
	bitQR  = 1 << 15
	bitAA  = 1 << 10
	bitTC  = 1 << 9
	bitRD  = 1 << 8
	bitRA  = 1 << 7
	bitAD  = 1 << 5
	bitCD  = 1 << 4
	opMask = 0xf << 11
)

// Types of records that are read here by more than their bytes.
const (
	typeA      = 1
	typeNS     = 2
	typeCNAME  = 5
	typeSOA    = 6
	typePTR    = 12
	typeMX     = 15
	typeTXT    = 16
	typeAAAA   = 28
	typeSRV    = 33
	typeDNAME  = 39
	typeOPT    = 41
	typeDS     = 43
	typeDNSKEY = 48
	typeTLSA   = 52
	typeSPF    = 99
	typeCAA    = 257
)

// types are those that have a name here (IANA, "Resource Record (RR) TYPEs").
var types = map[uint16]string{
	typeA: "A", typeNS: "NS", typeCNAME: "CNAME", typeSOA: "SOA", typePTR: "PTR", 13: "HINFO", typeMX: "MX", typeTXT: "TXT",
	17: "RP", typeAAAA: "AAAA", 29: "LOC", typeSRV: "SRV", 35: "NAPTR", 37: "CERT", typeDNAME: "DNAME", typeOPT: "OPT",
	typeDS: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC", typeDNSKEY: "DNSKEY", 50: "NSEC3", 51: "NSEC3PARAM", typeTLSA: "TLSA",
	53: "SMIMEA", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY", 64: "SVCB", 65: "HTTPS", typeSPF: "SPF", 255: "ANY", 256: "URI", typeCAA: "CAA",
}

var classes = map[string]uint16{"IN": 1, "CH": 3, "HS": 4}

// rcodes are the names of the codes of answers (IANA, "DNS RCODEs").
var rcodes = map[int]string{
	0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET",
	9: "NOTAUTH", 10: "NOTZONE", 16: "BADVERS", 23: "BADCOOKIE",
}

func rcodeName(code int) string {
	if name, ok := rcodes[code]; ok {
		return name
	}
	return "RCODE" + strconv.Itoa(code)
}

// typeNamed returns the number of a type: of its name, or as in TYPE65.
func typeNamed(name string) (uint16, bool) {
	name = strings.ToUpper(name)
	for n, known := range types {
		if known == name && n != typeOPT {
			return n, true
		}
	}
	if digits, ok := strings.CutPrefix(name, "TYPE"); ok {
		n, err := strconv.ParseUint(digits, 10, 16)
		return uint16(n), err == nil && n > 0 && n != typeOPT
	}
	return 0, false
}

func typeNames() (names []string) {
	for n, name := range types {
		if n != typeOPT {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func appendType(dst []byte, t uint16) []byte {
	if name, ok := types[t]; ok {
		return append(dst, name...)
	}
	return strconv.AppendUint(append(dst, "TYPE"...), uint64(t), 10)
}

func appendClass(dst []byte, c uint16) []byte {
	for name, n := range classes {
		if n == c {
			return append(dst, name...)
		}
	}
	return strconv.AppendUint(append(dst, "CLASS"...), uint64(c), 10)
}

// appendQuestionName appends a name in the form of the wire. Its text is that of zone files: labels between dots, a dot at
// the end or not, \. and \065 for what cannot be written otherwise. Other alphabets are written as DNS knows them.
func appendQuestionName(dst, text []byte) ([]byte, error) {
	begin := len(dst)
	if slices.ContainsFunc(text, func(c byte) bool { return c >= utf8.RuneSelf }) {
		ascii, err := idna.Lookup.ToASCII(string(text))
		if err != nil {
			return dst, &expr.ValueError{Text: "name: " + strconv.Quote(string(text)) + " is none: " + err.Error()}
		}
		text = []byte(ascii)
	}
	if len(text) == 0 {
		return dst, &expr.ValueError{Text: "name is empty; the root is ."}
	}
	if string(text) == "." {
		return append(dst, 0), nil
	}
	at := len(dst) // of the label's length
	dst = append(dst, 0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '.':
			if n := len(dst) - at - 1; n == 0 || n > mostLabel {
				return dst, badLabel(text)
			}
			dst[at] = byte(len(dst) - at - 1)
			at = len(dst)
			dst = append(dst, 0)
			continue
		case c == '\\' && i+3 < len(text) && isDigit(text[i+1]) && isDigit(text[i+2]) && isDigit(text[i+3]):
			n := int(text[i+1]-'0')*100 + int(text[i+2]-'0')*10 + int(text[i+3]-'0')
			if n > 255 {
				return dst, badLabel(text)
			}
			c = byte(n)
			i += 3
		case c == '\\' && i+1 < len(text):
			i++
			c = text[i]
		}
		dst = append(dst, c)
	}
	if n := len(dst) - at - 1; n > mostLabel {
		return dst, badLabel(text)
	} else if n > 0 {
		dst[at] = byte(n)
		dst = append(dst, 0)
	}
	if len(dst)-begin > mostName {
		return dst, &expr.ValueError{Text: "name: " + strconv.Quote(string(text)) + " is longer than 255 bytes"}
	}
	return dst, nil
}

func badLabel(text []byte) error {
	return &expr.ValueError{Text: "name: " + strconv.Quote(string(text)) + " has a part that is empty or longer than 63 bytes"}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// appendQuery appends a query with the number 0 for the name in text.
func (s *step) appendQuery(dst, text []byte) ([]byte, error) {
	flags := uint16(0)
	if s.recursion {
		flags |= bitRD
	}
	extra := uint16(0)
	if s.edns.Size > 0 {
		extra = 1
	}
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	dst = append(dst, 0, 1, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, extra)
	dst, err := appendQuestionName(dst, text)
	if err != nil {
		return dst, err
	}
	dst = binary.BigEndian.AppendUint16(dst, s.qtype)
	dst = binary.BigEndian.AppendUint16(dst, s.qclass)
	if extra > 0 { // a record OPT of the root, whose class is a size and whose TTL are flags
		dst = append(dst, 0, 0, typeOPT)
		dst = binary.BigEndian.AppendUint16(dst, uint16(s.edns.Size))
		dst = append(dst, 0, 0, byte(map[bool]int{true: 0x80}[s.edns.DNSSECOK]), 0, 0, 0)
	}
	return dst, nil
}

// answers reports whether a message is the answer to a query: its number and its question are the same, names in any case.
// A server that cannot read a query may answer without the question.
func answers(query []byte, questionEnd int, msg []byte) bool {
	if len(msg) < headLength || msg[0] != query[0] || msg[1] != query[1] {
		return false
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&bitQR == 0 || flags&opMask != 0 {
		return false
	}
	switch binary.BigEndian.Uint16(msg[4:]) {
	case 0:
		return flags&0xf != 0
	case 1:
	default:
		return false
	}
	if len(msg) < questionEnd || string(msg[questionEnd-4:questionEnd]) != string(query[questionEnd-4:questionEnd]) {
		return false
	}
	for i := headLength; i < questionEnd-4; i++ {
		if lower(msg[i]) != lower(query[i]) {
			return false
		}
	}
	return true
}

// lower returns a letter in lower case. The lengths of labels are less than any letter.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}

var errMessage = &wire.ProtocolError{Text: "the answer is no message of DNS: it ends within a record, or a name in it leads nowhere"}

// appendName appends the name at an offset in the form of zone files, and returns the offset behind it. A pointer leads to
// what is before it only, so that names end. A name has no more pointers than it can have labels: those of one that has were made
// to cost time.
func appendName(dst, msg []byte, off int) (name []byte, end int, err error) {
	length, least, jumps := 0, off, 0
	for jumped := false; ; {
		if off >= len(msg) {
			return dst, 0, errMessage
		}
		switch c := int(msg[off]); c >> 6 {
		case 0:
			off++
			if c == 0 {
				if length == 0 {
					dst = append(dst, '.')
				}
				if !jumped {
					end = off
				}
				return dst, end, nil
			}
			if length += c + 1; off+c > len(msg) || length >= mostName {
				return dst, 0, errMessage
			}
			dst = append(appendLabel(dst, msg[off:off+c]), '.')
			off += c
		case 3:
			if off+1 >= len(msg) {
				return dst, 0, errMessage
			}
			to := (c&0x3f)<<8 | int(msg[off+1])
			if jumps++; to >= least || to < headLength || jumps > mostName/2 {
				return dst, 0, errMessage
			}
			if !jumped {
				end, jumped = off+2, true
			}
			off, least = to, to
		default:
			return dst, 0, errMessage
		}
	}
}

func appendLabel(dst, label []byte) []byte {
	for _, c := range label {
		switch {
		case c == '.' || c == '\\':
			dst = append(dst, '\\', c)
		case c <= ' ' || c >= 0x7f:
			dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// A record is a resource record of an answer.
type record struct {
	kind, class uint16
	ttl         uint32
	from, to    int // of its data
}

// readRecord reads the record at an offset and appends its name.
func readRecord(dst, msg []byte, off int) (name []byte, r record, err error) {
	dst, off, err = appendName(dst, msg, off)
	if err != nil {
		return dst, r, err
	}
	if off+10 > len(msg) {
		return dst, r, errMessage
	}
	r.kind, r.class = binary.BigEndian.Uint16(msg[off:]), binary.BigEndian.Uint16(msg[off+2:])
	r.ttl = binary.BigEndian.Uint32(msg[off+4:])
	r.from = off + 10
	r.to = r.from + int(binary.BigEndian.Uint16(msg[off+8:]))
	if r.to > len(msg) {
		return dst, r, errMessage
	}
	return dst, r, nil
}

// appendData appends the data of a record as zone files have it, TXT as text without quotes, and what is not known here as
// RFC 3597 writes it.
func appendData(dst, msg []byte, r record) ([]byte, error) {
	data := msg[r.from:r.to]
	switch r.kind {
	case typeA:
		if a, ok := netip.AddrFromSlice(data); ok && len(data) == 4 {
			return a.AppendTo(dst), nil
		}
		return dst, errMessage
	case typeAAAA:
		if a, ok := netip.AddrFromSlice(data); ok && len(data) == 16 {
			return a.AppendTo(dst), nil
		}
		return dst, errMessage
	case typeNS, typeCNAME, typePTR, typeDNAME:
		return appendNames(dst, msg, r.from, r.to, 1)
	case typeMX:
		return appendNumbers(dst, msg, r, 1)
	case typeSRV:
		return appendNumbers(dst, msg, r, 3)
	case typeSOA:
		if len(data) < 22 {
			return dst, errMessage
		}
		dst, err := appendNames(dst, msg, r.from, r.to-20, 2)
		for i := r.to - 20; i < r.to && err == nil; i += 4 {
			dst = strconv.AppendUint(append(dst, ' '), uint64(binary.BigEndian.Uint32(msg[i:])), 10)
		}
		return dst, err
	case typeTXT, typeSPF:
		for len(data) > 0 {
			n := int(data[0])
			if n >= len(data) {
				return dst, errMessage
			}
			dst, data = append(dst, data[1:1+n]...), data[1+n:]
		}
		return dst, nil
	case typeCAA:
		if len(data) < 2 || 2+int(data[1]) > len(data) {
			return dst, errMessage
		}
		dst = append(strconv.AppendUint(dst, uint64(data[0]), 10), ' ')
		dst = append(append(dst, data[2:2+data[1]]...), " \""...)
		return append(append(dst, data[2+data[1]:]...), '"'), nil
	case typeDS, typeTLSA, typeDNSKEY:
		return appendKey(dst, data, r.kind)
	}
	dst = append(dst, "\\# "...)
	dst = append(strconv.AppendInt(dst, int64(len(data)), 10), ' ')
	return hex.AppendEncode(dst, data), nil
}

// appendNames appends n names that lie one after another and end at an offset.
func appendNames(dst, msg []byte, from, to, n int) (_ []byte, err error) {
	for i := range n {
		if i > 0 {
			dst = append(dst, ' ')
		}
		if from >= to {
			return dst, errMessage
		}
		if dst, from, err = appendName(dst, msg, from); err != nil {
			return dst, err
		}
	}
	if from != to {
		return dst, errMessage
	}
	return dst, nil
}

// appendNumbers appends n numbers of 16 bits and the name behind them.
func appendNumbers(dst, msg []byte, r record, n int) ([]byte, error) {
	if r.to-r.from < 2*n+1 {
		return dst, errMessage
	}
	for i := range n {
		dst = append(strconv.AppendUint(dst, uint64(binary.BigEndian.Uint16(msg[r.from+2*i:])), 10), ' ')
	}
	return appendNames(dst, msg, r.from+2*n, r.to, 1)
}

// appendKey appends the data of DS (RFC 4034 section 5), TLSA (RFC 6698) or DNSKEY (RFC 4034 section 2): numbers, and bytes.
func appendKey(dst, data []byte, kind uint16) ([]byte, error) {
	first := 2 // bytes of the first number
	if kind == typeTLSA {
		first = 1
	}
	if len(data) < first+2 {
		return dst, errMessage
	}
	n := uint64(data[0])
	if first == 2 {
		n = n<<8 | uint64(data[1])
	}
	dst = append(strconv.AppendUint(dst, n, 10), ' ')
	dst = append(strconv.AppendUint(dst, uint64(data[first]), 10), ' ')
	dst = append(strconv.AppendUint(dst, uint64(data[first+1]), 10), ' ')
	if kind == typeDNSKEY {
		return base64.StdEncoding.AppendEncode(dst, data[first+2:]), nil
	}
	return hex.AppendEncode(dst, data[first+2:]), nil
}

// appendQuoted appends text as a string of JSON. Bytes that are not UTF-8 become the characters of their numbers.
func appendQuoted(dst, text []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&0xf])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				r = rune(c)
			}
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
