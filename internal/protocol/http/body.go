package http

import (
	"path/filepath"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
)

// body compiles the step's body.
func (c *Config) body(k *protocol.Compiler, s *step) {
	contentType := ""
	switch {
	case c.Body != nil:
		s.body = []segment{slotOf(expr.ParseTemplate(*c.Body, k.Symbols, k.Errors), nil)}
	case c.JSON != nil:
		contentType = "application/json"
		before := k.Errors.Len()
		if j := expr.ParseJSON(c.JSON, k.Symbols, k.Errors); k.Errors.Len() == before {
			s.body = []segment{jsonOf(j)}
		}
	case c.Form != nil:
		contentType = "application/x-www-form-urlencoded"
		s.body = c.form(k)
	case c.Multipart != nil:
		contentType = "multipart/form-data; boundary=" + boundary
		s.body = c.multipart(k)
	case c.File != nil:
		contentType = "application/octet-stream"
		s.file = k.File(c.File)
	default:
		// RFC 9110 section 8.6: with a method that anticipates a body, Content-Length: 0 is sent.
		s.bodiless = s.method != "POST" && s.method != "PUT" && s.method != "PATCH"
		return
	}
	s.body = merge(s.body)
	if s.contentType == nil && contentType != "" {
		s.contentType = []segment{literal("Content-Type: " + contentType + "\r\n")}
	}
}

func (c *Config) form(k *protocol.Compiler) (list []segment) {
	for _, f := range c.Form {
		for _, value := range f.Value {
			separator := "&"
			if len(list) == 0 {
				separator = ""
			}
			list = append(list, pairsOf(separator, f.Name.S, expr.ParseTemplate(value, k.Symbols, k.Errors))...)
		}
	}
	return list
}

// boundary separates the parts of a multipart body.
const boundary = "perfd-7d1c0b5e9a24f683c1b8"

// multipart compiles a multipart body. It reads the files of the parts.
func (c *Config) multipart(k *protocol.Compiler) (list []segment) {
	for _, p := range c.Multipart {
		head := append([]byte("--"+boundary+"\r\nContent-Disposition: form-data; name="), fieldName(nil, []byte(p.Name.S))...)
		contentType := p.ContentType
		if p.File != nil {
			head = fieldName(append(head, "; filename="...), []byte(filepath.Base(p.File.S)))
			if contentType == "" {
				contentType = "application/octet-stream"
			}
		}
		if contentType != "" {
			head = append(head, "\r\nContent-Type: "+contentType...)
		}
		list = append(list, segment{literal: append(head, "\r\n\r\n"...)})
		if p.Value != nil {
			list = append(list, slotOf(expr.ParseTemplate(*p.Value, k.Symbols, k.Errors), nil))
		} else if p.File != nil {
			list = append(list, segment{literal: k.Content(p.File)})
		}
		list = append(list, literal("\r\n"))
	}
	return append(list, literal("--"+boundary+"--\r\n"))
}
