package expr

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// Habits are what people write who know other languages. Where an expression is
// wrong, the hint says the word that it has here.

// habitNames are names that other tools have for something, and the hint for all of a line.
var habitNames = []struct {
	names []string
	hint  string
}{
	{[]string{"res", "r", "resp", "response", "rsp"}, `the answer has no name of its own: write status, duration, body, json.id or header("Name")`},
	{[]string{"status_code", "statusCode", "code", "http_code", "response_code", "ResponseCode"}, "write status"},
	{[]string{"timings", "response_time", "responseTime", "elapsed", "latency"}, "write duration"},
	{[]string{"$", "JSON", "jsonPath", "jsonpath"}, "write json.id for the member id of the answer"},
	{[]string{"headers"}, `write header("Content-Type")`},
	{[]string{"cookies", "jar"}, `write cookie("session")`},
	{[]string{"responseBody", "text", "content"}, "write body"},
	{[]string{"__VU", "__threadNum"}, "write vu"},
	{[]string{"__ITER"}, "write iteration"},
	{[]string{"exec"}, "write vu or iteration"},
	{[]string{"data", "row", "feeder", "csv"}, "a row has the name of its entry of data: ${users.email}"},
	{[]string{"session", "vars", "variables", "context"}, "a variable is known by its name alone: ${token}"},
	{[]string{"__ENV", "env", "ENV", "process"}, "write ${env:NAME}, which is read when the configuration is loaded"},
	{[]string{"True"}, "write true"},
	{[]string{"False"}, "write false"},
	{[]string{"null", "None", "undefined"}, "write nil"},
	{[]string{"Math"}, "write random_int(1, 10), round(x) or int(x)"},
	{[]string{"Date", "time", "timestamp"}, "write now(), now_unix() or date(\"+24h\")"},
	{[]string{"forever"}, "a loop is bounded: write repeat: {during: 1h} or repeat: 1000"},
}

// habitMethods are methods of other languages, and how it is written here with x and y for what they are called on and with.
var habitMethods = map[string]string{
	"includes": "write x contains y", "contains": "write x contains y", "startsWith": "write x startsWith y", "endsWith": "write x endsWith y",
	"match": `write x matches "pattern"`, "test": `write x matches "pattern"`, "matches": `write x matches "pattern"`,
	"size": "write len(x)", "length": "write len(x)", "count": "write len(x)", "toString": "write string(x)",
	"stringify":   "write json: {…} in http, whose values may hold ${…}",
	"toUpperCase": "write upper(x)", "toLowerCase": "write lower(x)", "trim": "write trim(x)", "json": "write json.id for the member id of the answer",
	"random": "write random_int(1, 10), or random(list)", "floor": "write int(x)", "round": "write round(x)", "now": "write now_unix() or now()",
	"find": `write css(".price"), or css("a.next", "href") for an attribute`, "attr": `write css("a.next", "href")`, "text": `write css(".price")`,
	"get": `write json.name, or header("Name")`, "header": `write header("Name")`,
}

// habitFunctions are functions that other tools have, and what is written here.
var habitFunctions = map[string]string{
	"jsonPath": "write json.id for the member id of the answer", "jsonpath": "write json.id for the member id of the answer",
	"jmesPath": "write json.items[*].id for the member id of each item", "jmespath": "write json.items[*].id for the member id of each item",
	"html": `write css(".price"), or css("a.next", "href") for an attribute`, "parseHTML": `write css(".price"), or css("a.next", "href") for an attribute`,
	"length": "write | count for how many there are, | len for the length of a text", "size": "write | count for how many there are, | len for the length of a text",
	"find": "write css(…), which yields the first; css(…) | all yields all", "findAll": "write css(…) | all", "findRandom": "write css(…) | random",
	"attr": `write css("a.next", "href")`, "form": `write css("input[name=token]", "value")`, "substring": "write regex(body, \"before(.*?)after\")",
	"findBetween": "write regex(body, \"before(.*?)after\")", "boundary": "write regex(body, \"before(.*?)after\")",
	"regexp": `write regex(body, "id=(\\d+)")`, "regexAll": `write regex(body, "id=(\\d+)") | all`, "re": `write regex(body, "id=(\\d+)")`,
	"headerRegex": `write regex(header("Location"), "/orders/(\\d+)")`, "bodyString": "write body", "bodyLength": "write size", "getCookieValue": `write cookie("session")`,
	"responseTimeInMillis": "write duration", "exists": "write json.id != nil", "notNull": "write json.id != nil", "isNull": "write json.id == nil",
	"optional": `write json.id | default("")`, "withDefault": `write json.id | default("")`, "getOrElse": `write json.id | default("")`, "coalesce": `write json.id | default("")`,
	"parseInt": "write int(x)", "parseFloat": "write number(x)", "Number": "write number(x)", "String": "write string(x)",
	"rand": "write random_int(1, 10)", "randomIntBetween": "write random_int(1, 10)", "randomItem": "write random(list)", "uuidv4": "write uuid()", "uuid4": "write uuid()",
	"__Random": "write random_int(1, 10)", "__UUID": "write uuid()", "__time": "write now_unix() or now()", "__threadNum": "write vu",
	"b64encode": "write base64(x)", "btoa": "write base64(x)", "encodeURIComponent": "write url_encode(x)", "hash": "write sha256(x)",
	"sum": "an expression has no sums: set a variable in repeat", "map": "write json.items[*].id for the member id of each item",
	"filter": "write repeat over each of json.items, with when within it",
}

// hintOfName returns the hint for an unknown name, empty for none.
func hintOfName(name string) string {
	for _, h := range habitNames {
		if slices.Contains(h.names, name) {
			return h.hint
		}
	}
	return ""
}

// hintOfCall returns the hint for a call of a method, empty for none.
func hintOfCall(n ast.Node) string {
	call, ok := n.(*ast.CallNode)
	if !ok {
		return ""
	}
	if m, ok := call.Callee.(*ast.MemberNode); ok {
		if name, ok := m.Property.(*ast.StringNode); ok {
			if of, ok := m.Node.(*ast.IdentifierNode); ok && hintOfName(of.Value) != "" && habitMethods[name.Value] == "" {
				return hintOfName(of.Value)
			}
			return habitMethods[name.Value]
		}
	}
	return ""
}

// hintOfMismatch returns the hint for a comparison of two types, empty for none.
func hintOfMismatch(n *ast.BinaryNode, ak, bk Type) string {
	for _, side := range []struct {
		literal, other ast.Node
		is             Type
	}{{n.Left, n.Right, bk}, {n.Right, n.Left, ak}} {
		switch l := side.literal.(type) {
		case *ast.StringNode:
			if _, err := strconv.ParseFloat(l.Value, 64); err == nil && side.is == Number {
				return "write " + l.Value + " without quotes"
			}
		case *ast.IntegerNode:
			if side.is == Duration {
				return "a duration has a unit: write " + strconv.Itoa(l.Value) + "ms"
			}
			if side.is == String {
				return "write number(" + side.other.String() + "), or " + strconv.Quote(strconv.Itoa(l.Value))
			}
		}
	}
	return ""
}

var (
	quotes    = regexp.MustCompile("\"(\\\\.|[^\"\\\\])*\"|'(\\\\.|[^'\\\\])*'|`[^`]*`")
	pattern   = regexp.MustCompile(`=~|~=|matches\s*/|,\s*/`)
	member    = regexp.MustCompile(`\b(map|filter)\(\s*[.#]`)
	assigned  = regexp.MustCompile(`(^|[^=!<>])=([^=]|$)`)
	words     = regexp.MustCompile(`\s(AND|OR|And|Or)\s|(^|\s)(NOT|Not)\s`)
	lengthOf  = regexp.MustCompile(`([A-Za-z_][\w.\[\]]*)\.length\b($|[^(])`)
	spoken    = regexp.MustCompile(`\s(equals?|equal to|is)\s`)
	mustaches = regexp.MustCompile(`\{\{\s*([A-Za-z_$][\w.$]*)\s*\}\}`)
)

// habit returns the mistake of an expression's text that only habit explains, nil for none.
func habit(text string) *mistake {
	bare := text
	if strings.ContainsAny(text, "\"'`") {
		bare = quotes.ReplaceAllString(text, `""`)
	}
	// A configuration has thousands of expressions: what is no match costs no regular expression.
	has := func(part string) bool { return strings.Contains(bare, part) }
	switch {
	case has("=>") || has("->"):
		return &mistake{"an expression has no functions of its own", "write the condition alone: status == 200"}
	case (has("~") || has("matches") || has(",")) && pattern.MatchString(bare):
		return &mistake{"a pattern is text in quotes", `write body matches "ok"`}
	case (has("map(") || has("filter(")) && member.MatchString(bare):
		return &mistake{"an expression has no functions of its own", "write json.items[*].id for the member id of each item"}
	case has("===") || has("!=="):
		return &mistake{"there is no strict comparison", "write == or !=: values of two types are never equal"}
	case has("=") && assigned.MatchString(bare):
		return &mistake{"an expression assigns nothing", "write == to compare"}
	case strings.ContainsAny(bare, "AON") && words.MatchString(bare):
		return &mistake{"words of expressions are in lower case", "write and, or, not"}
	case (has("equals") || has(" is ")) && spoken.MatchString(bare):
		return &mistake{"an expression compares by signs", `write status == 200, or body contains "ok"`}
	case has("${"):
		return &mistake{"this is an expression by itself, without ${…} in it", `write user.name == "x", without ${ and }`}
	}
	if !has(".length") {
		return nil
	}
	if m := lengthOf.FindStringSubmatch(bare); m != nil {
		return &mistake{"values have no length of their own", "write len(" + m[1] + "); a member of that name is " + m[1] + `["length"]`}
	}
	return nil
}
