package expr

import (
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

// page is a response with a body, header fields and cookies.
type page struct {
	answer
	body    string
	header  map[string]string
	cookies map[string]string
}

func (p page) Body() []byte { return []byte(p.body) }

func (p page) Header(name string) (string, bool) { v, ok := p.header[name]; return v, ok }

func (p page) Cookie(name string) (string, bool) { v, ok := p.cookies[name]; return v, ok }

var shopPage = page{
	body: `<!doctype html><html><head><title> The shop </title></head><body>
<form action="/buy"><input type="hidden" name="csrf" value="a&amp;b"><input name="empty" value=""></form>
<ul id="products"><li class="p" data-id="7">Lamp <b>12.50</b></li><li class="p" data-id="9">Chair</li><li class="p">Desk</li></ul>
<a class="next" href="/page/2">next</a></body></html>`,
	cookies: map[string]string{"session": "s1"},
}

var orderPage = page{
	body: `<?xml version="1.0"?><orders xmlns:o="urn:o"><o:note><![CDATA[<br><br>]]></o:note>
<order id="7"><total>12.50</total></order><order id="9"><total>3</total></order></orders>`,
	header: map[string]string{"Content-Type": "application/xml; charset=utf-8"},
}

var listPage = page{body: `{"items":[{"id":1,"tags":["a","b"]},{"id":"2","tags":["c"]},{"none":1}],"one":{"id":5},"$":3}`}

func TestWhatIsExtracted(t *testing.T) {
	for _, c := range []struct {
		from       page
		text, want string // as JSON
		kind       Type   // that is known before
	}{
		{shopPage, `css("title")`, `"The shop"`, String},
		{shopPage, `css("input[name=csrf]", "value")`, `"a&b"`, String},
		{shopPage, `css("input[name=empty]", "value")`, `""`, String},
		{shopPage, `css("li.p")`, `"Lamp 12.50"`, String},
		{shopPage, `css("li.p") | first`, `"Lamp 12.50"`, String},
		{shopPage, `css("li.p") | last`, `"Desk"`, String},
		{shopPage, `css("li.p") | count`, `3`, Number},
		{shopPage, `css("li.none") | count`, `0`, Number},
		{shopPage, `css("li.p", "data-id") | all`, `["7","9"]`, List},
		{shopPage, `css("li.p", "data-id") | last | number`, `9`, Number},
		{shopPage, `css("li.none") | default("nothing")`, `"nothing"`, String},
		{shopPage, `css("li.none") | all | default([])`, `[]`, List},
		{shopPage, `css("h1, a.next", "href")`, `"/page/2"`, String},
		{shopPage, `xpath("//a/@href")`, `"/page/2"`, Any},
		{shopPage, `xpath("//li[2]")`, `"Chair"`, Any},
		{shopPage, `xpath("count(//li)")`, `3`, Any},
		{shopPage, `xpath("boolean(//form)")`, `true`, Any},
		{shopPage, `cookie("session")`, `"s1"`, String},
		{shopPage, `cookie("other") | default("none")`, `"none"`, String},
		{orderPage, `xpath("//order/@id")`, `"7"`, Any},
		{orderPage, `xpath("//order/@id") | all`, `["7","9"]`, List},
		{orderPage, `xpath("sum(//total)")`, `15.5`, Any},
		{orderPage, `xpath("//order") | count`, `2`, Number},
		{orderPage, `xpath("//o:note")`, `"<br><br>"`, Any},
		{orderPage, `xpath("string(//order[2]/total)")`, `"3"`, Any},
		{listPage, `json.items[*].id`, `[1,"2"]`, List},
		{listPage, `json.items[*].id | last`, `"2"`, Any},
		{listPage, `json.items[*].id | first`, `1`, Any},
		{listPage, `json.items[*].tags[*] | all`, `["a","b","c"]`, List},
		{listPage, `json.items[*] | count`, `3`, Number},
		{listPage, `json.items | count`, `3`, Number},
		{listPage, `json.none | default(4)`, `4`, Any},
		{page{body: `{"id":null}`}, `json.id | default(4)`, `4`, Any},
		{page{body: `{"id":null}`}, `json.id ?? "none"`, `"none"`, Any},
		{listPage, `json.one.id | default(4)`, `5`, Any},
		{listPage, `json.one[*].id | default([])`, `[]`, List},
		{listPage, `regex(body, "\"id\":(\\d+)")`, `"1"`, String},
		{listPage, `regex(body, "\"(id)\":(\\d+)", 2) | last`, `"5"`, String},
		{listPage, `regex(body, "\"(?P<key>id)\":(?P<id>\\d+)", "id") | all`, `["1","5"]`, List},
		{listPage, `regex(body, "\"(id|none)\":") | count`, `4`, Number},
		{listPage, `regex(json.items[1].tags[0], "(x)?(.)", 2)`, `"c"`, String},
		{listPage, `regex(body, "x(y)?") | default("-")`, `"-"`, String},
		{page{body: `[{"id":3},{"id":4}]`}, `json[*].id`, `[3,4]`, List},
		{page{body: `[{"id":3},{"id":4}]`}, `json[*] | count`, `2`, Number},
		{page{body: "\ufeff" + `[{"id":3},{"id":4}]`}, `json[*].id`, `[3,4]`, List}, // a byte order mark
		{page{body: "\ufeff" + `[{"id":3},{"id":4}]`}, `json[*].id | last`, `4`, Any},
		{page{body: "\ufeff" + `{"items":[{"id":3}]}`}, `json.items[*].id | random`, `3`, Any},
		{page{body: "\ufeff" + `[3,4]`}, `json | count`, `2`, Number},
		{page{body: "\ufeff" + `{"id":12345678901234567890}`}, `json.id`, `12345678901234567890`, Any},
	} {
		s, sc := symbols()
		var errs block.Errors
		x := ParseExtraction(block.Text{S: c.text}, s, &errs)
		if x == nil {
			t.Errorf("ParseExtraction(%s): %v", c.text, errs.Err())
			continue
		}
		got, err := x.Eval(sc, c.from)
		if err != nil || string(got.AppendJSON(nil)) != c.want {
			t.Errorf("%s = %s, %v, want %s", c.text, got.AppendJSON(nil), err, c.want)
		}
		if x.Type() != c.kind {
			t.Errorf("%s is known to be %s, want %s", c.text, x.Type(), c.kind)
		}
	}
}

// An extraction that fails says what is not there.
func TestWhyAnExtractionFails(t *testing.T) {
	deep := page{body: strings.Repeat("<a>", maxNesting+1) + strings.Repeat("</a>", maxNesting+1)}
	for _, c := range []struct {
		from       page
		text, want string
	}{
		{shopPage, `css("li.none")`, `css("li.none"): not in the answer`},
		{shopPage, `number(css("li.none"))`, `number(css("li.none")): css("li.none") is not in the answer`},
		{shopPage, `css("li.none") | all`, `css("li.none") | all: css("li.none") is not in the answer`},
		{shopPage, `css("a.next", "hreff")`, `css("a.next", "hreff"): attribute hreff of css("a.next", "hreff") is not in the answer`},
		{shopPage, `cookie("other")`, `cookie("other"): not in the answer`},
		{shopPage, `xpath("//h1")`, `xpath("//h1"): not in the answer`},
		{listPage, `xpath("//h1")`, `xpath("//h1"): the body is not XML: `},
		{deep, `xpath("//b")`, `more than 512 elements within each other`},
		{page{}, `css("a") | count`, `the body is empty`},
		{page{}, `xpath("//a")`, `the body is empty`},
		{listPage, `json.items[*].none`, ``},
		{listPage, `json.one[*].id`, `json.one[*].id: not in the answer`},
		{listPage, `regex(body, "nothing")`, `not in the answer`},
		{page{body: `{"id":null}`}, `json.id`, `json.id: is null in the answer`},
		{page{body: `{"items":[{"id":null},{"id":1}]}`}, `json.items[*].id | first`, `json.items[*].id | first: is null in the answer`},
		{page{body: `{"items":[{"id":null},{"id":1}]}`}, `json.items[*].id`, ``},
		{page{body: `null`}, `json`, `json: is null in the answer`},
		{page{body: `{"id":null}`}, `json.id.name`, `json.id.name: not in the answer`},
		{shopPage, `json.id`, `json.id: the body is not JSON`},
		{page{body: "\ufeff"}, `json.id`, `json.id: the body is not JSON`},
		{page{body: "\ufeff\ufeff{}"}, `json.id`, `json.id: the body is not JSON`},
	} {
		s, sc := symbols()
		var errs block.Errors
		x := ParseExtraction(block.Text{S: c.text}, s, &errs)
		if x == nil {
			t.Errorf("ParseExtraction(%s): %v", c.text, errs.Err())
			continue
		}
		v, err := x.Eval(sc, c.from)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v, want an empty list", c.text, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s = %s, %v, want %q", c.text, v, err, c.want)
		}
	}
}

// noCookies is a response of a protocol without cookies.
type noCookies struct{ answer }

func TestACookieOfAProtocolWithoutCookies(t *testing.T) {
	s, sc := symbols()
	var errs block.Errors
	x := ParseExtraction(block.Text{S: `cookie("a")`}, s, &errs)
	if _, err := x.Eval(sc, noCookies{}); err == nil || !strings.Contains(err.Error(), "set no cookies") {
		t.Errorf("cookie of a protocol without cookies: %v, want an error that says so", err)
	}
	if k := x.Keep(); !k.Cookies || k.Body {
		t.Errorf("cookie keeps %+v, want cookies alone", k)
	}
}

func TestMistakesOfExtractions(t *testing.T) {
	for _, c := range []struct{ text, want, hint string }{
		{`css("li[")`, `"li[" is no CSS selector: `, ``},
		{`css("a::attr(href)")`, `no CSS selector`, `write css("a", "href")`},
		{`css("a::text")`, `no CSS selector`, `write css("a")`},
		{`css("//a/@href")`, `no CSS selector`, `write xpath("//a/@href")`},
		{`css("li:eq(1)")`, `no CSS selector`, `that is of jQuery`},
		{`css(token)`, `css takes text written out, got token`, `write css(".price")`},
		{`css()`, `css takes text written out, got 0 arguments`, `write css(".price")`},
		{`xpath("//a[")`, `is no XPath`, ``},
		{`xpath("a > b")`, ``, ``},
		{`xpath("div#main")`, `is no XPath`, `this looks like CSS`},
		{`xpath("//a", "href")`, `xpath takes text written out, got 2 arguments`, `write xpath("//order/@id")`},
		{`regex(body, "(")`, `missing closing )`, ``},
		{`regex("a(b)")`, `regex takes a text and a pattern, got 1 arguments`, `write regex(body, `},
		{`regex(body, "a(b)", 2)`, `the pattern has 1 groups, and no group 2`, ``},
		{`regex(body, "a(?P<id>b)", "ids")`, `no group named "ids"`, `did you mean "id"?`},
		{`regex(body, "a(b)", "id")`, `no group named "id"`, `(?P<id>…)`},
		{`css("a") | frist`, `unknown function "frist"`, `did you mean "first"?`},
		{`css("a") | len`, `finds several`, `css(…) | count`},
		{`status | count`, `count needs a list, status is a number`, ``},
		{`json.id | default`, `default takes a value and what stands in for it, got 1 arguments`, `json.id | default(0)`},
		{`css("a").href`, `css("a") is text and has no members`, ``},
		{`list[*].id`, `[*] is part of a path that begins with json`, `json.items[*].id`},
		{`jsonPath("$.id")`, `unknown function "jsonPath"`, `write json.id`},
	} {
		s, _ := symbols()
		var errs block.Errors
		x := ParseExtraction(block.Text{S: c.text, Path: "extract"}, s, &errs)
		if c.want == "" && x != nil {
			continue
		}
		if x != nil {
			t.Errorf("ParseExtraction(%s) found nothing wrong, want %q", c.text, c.want)
		} else if said := errs.Err().Error(); !strings.Contains(said, c.want) || !strings.Contains(said, c.hint) {
			t.Errorf("ParseExtraction(%s): %v, want %q and %q in it", c.text, said, c.want, c.hint)
		}
	}
	for _, text := range []string{`css("a")`, `xpath("//a")`, `cookie("a")`} {
		s, _ := symbols()
		var errs block.Errors
		if ParseTemplate(block.Text{S: "${" + text + "}"}, s, &errs); errs.Len() == 0 || !strings.Contains(errs.Err().Error(), "there is no answer to read here") {
			t.Errorf("%s where there is no answer: %v", text, errs.Err())
		}
	}
}

// A variable may have the name of a function whose call has parentheses.
func TestVariablesNamedAsPipes(t *testing.T) {
	for _, name := range []string{"count", "all", "css", "xpath", "cookie", "default"} {
		if Reserved(name) {
			t.Errorf("%s cannot be a variable", name)
		}
	}
	s, sc := symbols()
	sc.Set(s.Declare("count", Number), Num(5))
	var errs block.Errors
	c := ParseCondition(block.Text{S: "count == 5 && (json.items | count) == 3"}, s, &errs)
	if c == nil {
		t.Fatal(errs.Err())
	}
	if ok, err := c.Eval(sc, listPage); !ok || err != nil {
		t.Errorf("= %v, %v, want true", ok, err)
	}
}

// Random picks come from the virtual user's source, and each element is picked.
func TestRandomOfSeveral(t *testing.T) {
	s, sc := symbols()
	var errs block.Errors
	x := ParseExtraction(block.Text{S: `xpath("//order/@id") | random`}, s, &errs)
	seen := map[string]int{}
	for range 100 {
		v, err := x.Eval(sc, orderPage)
		if err != nil {
			t.Fatal(err)
		}
		seen[v.String()]++
	}
	if seen["7"] < 25 || seen["9"] < 25 {
		t.Errorf("of 100 picks of two: %v, want each about 50 times", seen)
	}
}

// The body is parsed once for all that reads one answer, and again for the next.
func TestADocumentIsParsedOnceForAnAnswer(t *testing.T) {
	s, sc := symbols()
	var errs block.Errors
	a := ParseExtraction(block.Text{S: `css("title")`}, s, &errs)
	b := ParseExtraction(block.Text{S: `css("a.next", "href")`}, s, &errs)
	eval := func(x *Extraction, p page) string {
		v, err := x.Eval(sc, p)
		if err != nil {
			t.Error(err)
		}
		return v.String()
	}
	eval(a, shopPage)
	parsed := sc.doc
	if got := eval(b, shopPage); sc.doc != parsed || got != "/page/2" {
		t.Errorf("the second extraction of one answer parsed it again, or found %q", got)
	}
	sc.Answered()
	other := shopPage
	other.body = "<title>other</title>"
	if got := eval(a, other); got != "other" {
		t.Errorf("after the next answer the title is %q, want that of the answer", got)
	}
}

// A regular expression over the body does not copy it.
func TestARegexOverTheBodyAllocatesItsValueOnly(t *testing.T) {
	s, sc := symbols()
	var errs block.Errors
	x := ParseExtraction(block.Text{S: `regex(body, "\"token\":\"([^\"]+)")`}, s, &errs)
	var r Response = fixed{body: []byte(`{"token":"abc"}`)}
	if n := testing.AllocsPerRun(100, func() { _, _ = x.Eval(sc, r) }); n > 4 {
		// The match, the text and the list of one; the race detector empties the pool of the expression's machines.
		t.Errorf("an extraction allocates %v times, want 3 and at times 4", n)
	}
}

type fixed struct {
	answer
	body []byte
}

func (f fixed) Body() []byte { return f.body }

// FuzzExtraction reads arbitrary bodies as HTML, as XML and by patterns.
func FuzzExtraction(f *testing.F) {
	for _, p := range []page{shopPage, orderPage, listPage} {
		f.Add([]byte(p.body), "")
		f.Add([]byte(p.body), "text/html")
	}
	f.Add([]byte("<a b='>'/><!-- <c> --><![CDATA[<d>]]></a>"), "text/xml")
	s, sc := symbols()
	var errs block.Errors
	var all []*Extraction
	for _, text := range []string{
		`css("a, li.p:not(.x) > b:nth-child(2n+1)", "href") | all`, `css("*") | last`, `xpath("//*[@id]/@id") | all`, `xpath("count(//*)")`,
		`xpath("//li[last()]/preceding-sibling::*[contains(., 'a')]")`, `regex(body, "(a)|(b+)", 2) | all`, `json.items[*].tags[*].id | all`, `json[*] | count`,
	} {
		all = append(all, ParseExtraction(block.Text{S: text}, s, &errs))
	}
	if errs.Len() > 0 {
		f.Fatal(errs.Err())
	}
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		p := fixedPage{fixed{body: body}, kind}
		for _, x := range all {
			if v, err := x.Eval(sc, p); err == nil && v.Type() == List {
				if again := FromJSON(v.String()); again.Type() != List {
					t.Errorf("%s yields %q, which is no list", x.text, v)
				}
			}
		}
		sc.Answered()
	})
}

type fixedPage struct {
	fixed
	kind string
}

func (f fixedPage) Header(name string) (string, bool) {
	return f.kind, name == "Content-Type" && f.kind != ""
}

// FuzzSelectors compiles arbitrary selectors and paths, and searches with those that are right.
func FuzzSelectors(f *testing.F) {
	for _, text := range []string{"a[href^='x']", "//a[@b='c']/text()", "li:nth-child(2)", "count(//x) > 1", "::", "//*[position()=last()]"} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		if strings.ContainsAny(text, "\"\\") {
			return
		}
		s, sc := symbols()
		for _, call := range []string{"css", "xpath"} {
			var errs block.Errors
			if x := ParseExtraction(block.Text{S: call + "(\"" + text + "\") | all"}, s, &errs); x != nil {
				_, _ = x.Eval(sc, shopPage)
			}
		}
	})
}
