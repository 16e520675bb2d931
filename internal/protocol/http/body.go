package http

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
)

// maxPart bounds a file inside a multipart body, in bytes, because it is kept in memory.
const maxPart = 16 << 20

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
		s.file = fileOf(k, c.File)
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
			list = append(list, segment{literal: contentOf(k, p.File)})
		}
		list = append(list, literal("\r\n"))
	}
	return append(list, literal("--"+boundary+"--\r\n"))
}

// contentOf reads the file of a multipart body's part.
func contentOf(k *protocol.Compiler, t *block.Text) []byte {
	path := fileOf(k, t)
	if path == "" {
		return nil
	}
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxPart {
		err = fmt.Errorf("%s is larger than %d MiB", path, maxPart>>20)
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(path)
	}
	if err != nil {
		k.Errors.Add(t.Pos, t.Path, "%v", err)
	}
	return content
}

// fileOf returns the path of a regular file; it reports any other, and returns "".
func fileOf(k *protocol.Compiler, t *block.Text) string {
	path := k.Path(t.S)
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		k.Errors.Add(t.Pos, t.Path, "%v", err)
		return ""
	}
	return path
}
