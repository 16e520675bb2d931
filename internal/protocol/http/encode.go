package http

import "bytes"

const hex = "0123456789ABCDEF"

// unreserved reports whether a byte is never encoded in a URL (RFC 3986 section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// inSegment reports whether a reserved byte need not be encoded in a segment of a path (section 3.3).
func inSegment(c byte) bool {
	switch c {
	case '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '=', ':', '@':
		return true
	}
	return false
}

// pathSegment appends a value as part of one path segment.
func pathSegment(dst, value []byte) []byte {
	for _, c := range value {
		if unreserved(c) || inSegment(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// queryValue appends a value in form encoding, with + for a space.
func queryValue(dst, value []byte) []byte {
	for _, c := range value {
		switch {
		case unreserved(c):
			dst = append(dst, c)
		case c == ' ':
			dst = append(dst, '+')
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// fieldName appends a value as a multipart field's name or file name, in quotes.
// Only these three bytes could end it (HTML, section 4.10.22.8).
func fieldName(dst, value []byte) []byte {
	dst = append(dst, '"')
	for _, c := range value {
		switch c {
		case '"', '\r', '\n':
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// hasLineEnd reports whether a value would end a header field early.
func hasLineEnd(p []byte) bool {
	return bytes.IndexByte(p, '\n') >= 0 || bytes.IndexByte(p, '\r') >= 0 || bytes.IndexByte(p, 0) >= 0
}
