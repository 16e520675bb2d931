package expr

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/andybalholm/cascadia"
	"github.com/antchfx/htmlquery"
	"github.com/antchfx/xmlquery"
	"github.com/antchfx/xpath"
	"golang.org/x/net/html"
)

// A document is the body of an answer as HTML and as XML, each parsed when it is first asked for.
type document struct {
	html, xml       bool // was parsed
	htmlErr, xmlErr error
	htmlRoot        *html.Node
	xmlRoot         *xmlquery.Node
}

// document returns that of the answer that is read.
func (s *Scope) document() *document {
	if s.doc == nil {
		s.doc = new(document)
	}
	return s.doc
}

func (d *document) asHTML(body []byte) (*html.Node, error) {
	if !d.html {
		d.html = true
		if d.htmlRoot, d.htmlErr = html.Parse(bytes.NewReader(body)); d.htmlErr != nil {
			d.htmlErr = fmt.Errorf("the body is not HTML: %w", d.htmlErr)
		}
	}
	return d.htmlRoot, d.htmlErr
}

func (d *document) asXML(body []byte) (*xmlquery.Node, error) {
	if !d.xml {
		d.xml = true
		d.xmlRoot, d.xmlErr = parseXML(body)
	}
	return d.xmlRoot, d.xmlErr
}

// maxNesting bounds the depth of XML, which the parser does not: the search for a path calls itself for each level.
// It is the bound of the parser of HTML.
const maxNesting = 512

func parseXML(body []byte) (root *xmlquery.Node, err error) {
	if nesting(body) > maxNesting {
		return nil, fmt.Errorf("the body has more than %d elements within each other", maxNesting)
	}
	defer func() {
		if p := recover(); p != nil { // what a server sends is no fault of perfd
			root, err = nil, fmt.Errorf("the body is not XML: %v", p)
		}
	}()
	if root, err = xmlquery.Parse(bytes.NewReader(body)); err != nil {
		return nil, fmt.Errorf("the body is not XML: %w", err)
	}
	return root, nil
}

// nesting returns how many elements of XML text are open at once, at most.
func nesting(text []byte) (most int) {
	open := 0
	for {
		i := bytes.IndexByte(text, '<')
		if i < 0 {
			return most
		}
		text = text[i+1:]
		end := ">"
		switch {
		case bytes.HasPrefix(text, []byte("!--")):
			end = "-->"
		case bytes.HasPrefix(text, []byte("![CDATA[")):
			end = "]]>"
		case bytes.HasPrefix(text, []byte("!")), bytes.HasPrefix(text, []byte("?")):
		case bytes.HasPrefix(text, []byte("/")):
			open--
		default:
			open++
			most = max(most, open)
			if i = tagEnd(text); i > 0 && text[i-1] == '/' {
				open--
			}
			text = text[i:]
		}
		if i = bytes.Index(text, []byte(end)); i < 0 {
			return most
		}
		text = text[i+len(end):]
	}
}

// tagEnd returns the index of the > that ends a tag, len(text) if there is none.
func tagEnd(text []byte) int {
	var quote byte
	for i, c := range text {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i
		}
	}
	return len(text)
}

// isHTML reports whether an answer is HTML rather than XML: by its media type, or else by how its body begins.
func isHTML(r Response) bool {
	if kind, ok := r.Header(contentType); ok {
		kind, _, _ = strings.Cut(strings.ToLower(kind), ";")
		switch kind = strings.TrimSpace(kind); {
		case kind == "text/html":
			return true
		case strings.HasSuffix(kind, "/xml"), strings.HasSuffix(kind, "+xml"):
			return false
		}
	}
	start := bytes.TrimLeft(unmarked(r.Body()), " \t\r\n")
	start = bytes.ToLower(start[:min(len(start), len("<!doctype html"))])
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

const contentType = "Content-Type"

// selectCSS returns the texts of the elements that a selector finds, or the values of one of their attributes. bare
// says that there are elements and that none has the attribute.
func selectCSS(root *html.Node, selector cascadia.SelectorGroup, attribute string, most int) (found []string, bare bool) {
	var walk func(*html.Node) bool
	walk = func(n *html.Node) bool {
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			if c.Type == html.ElementNode && selector.Match(c) {
				if attribute == "" {
					found = append(found, textOf(c))
				} else if v, ok := attributeOf(c, attribute); ok {
					found = append(found, v)
				} else {
					bare = true
				}
				if len(found) == most {
					return false
				}
			}
			if !walk(c) {
				return false
			}
		}
		return true
	}
	walk(root)
	return found, bare && len(found) == 0
}

func attributeOf(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return strings.Clone(a.Val), true
		}
	}
	return "", false
}

// textOf returns the text within an element, without the space around it.
func textOf(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(n)
	return strings.Clone(strings.TrimSpace(b.String()))
}

// navigator returns what paths are searched in.
func (s *Scope) navigator(r Response) (xpath.NodeNavigator, error) {
	body := r.Body()
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, errEmpty
	}
	if isHTML(r) {
		root, err := s.document().asHTML(body)
		if err != nil {
			return nil, err
		}
		return htmlquery.CreateXPathNavigator(root), nil
	}
	root, err := s.document().asXML(body)
	if err != nil {
		return nil, err
	}
	return xmlquery.CreateXPathNavigator(root), nil
}

// searchPath returns what a path finds: texts of nodes, or the one number, text or boolean that it comes to.
func searchPath(path *xpath.Expr, in xpath.NodeNavigator, most int) (found []Value, err error) {
	defer func() {
		if p := recover(); p != nil { // the library reports mistakes of values so
			found, err = nil, fmt.Errorf("%v", p)
		}
	}()
	switch v := path.Evaluate(in).(type) {
	case float64:
		found = append(found, Num(v))
	case string:
		found = append(found, Str(strings.Clone(v)))
	case bool:
		found = append(found, Boolean(v))
	case *xpath.NodeIterator:
		for len(found) < most && v.MoveNext() {
			found = append(found, Str(strings.Clone(strings.TrimSpace(v.Current().Value()))))
		}
	}
	return found, nil
}
