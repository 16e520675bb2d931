package expr

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/perfd/perfd/internal/block"
)

// A generator is a function that makes a value, most of them out of the VU's random
// source. A variable may have the name of one, because a call has parentheses.
type generator struct {
	least  int    // arguments that must be given
	params []Type // of all that may be given
	yields Type
	do     func(s *Scope, args []Value) Value
}

var generators = map[string]generator{
	"random_decimal": {2, []Type{Number, Number, Number}, Number, randomDecimal},
	"random_string":  {1, []Type{Number, String}, String, randomString},
	"date":           {0, []Type{Any, String}, Any, date},
	"first_name":     {0, nil, String, func(s *Scope, _ []Value) Value { return Str(oneOf(s, firstNames)) }},
	"last_name":      {0, nil, String, func(s *Scope, _ []Value) Value { return Str(oneOf(s, lastNames)) }},
	"email":          {0, nil, String, email},
	"street": {0, nil, String, func(s *Scope, _ []Value) Value {
		return Str(strconv.Itoa(1+int(s.below(199))) + " " + oneOf(s, streets))
	}},
	"city":     {0, nil, String, func(s *Scope, _ []Value) Value { return Str(oneOf(s, cities)) }},
	"postcode": {0, nil, String, func(s *Scope, _ []Value) Value { return Str(string(appendDigits(nil, s, 5))) }},
	"phone":    {0, nil, String, phone},
}

// generatorNames returns the names of all generators.
func generatorNames() []string {
	names := []string{"one_of"}
	for name := range generators {
		names = append(names, name)
	}
	return names
}

// generate compiles a call of a generator, and reports whether the name is one.
func (c *compiler) generate(name string, args []ast.Node) (f eval, kind Type, known bool, err error) {
	if name == "one_of" {
		f, kind, err = c.oneOf(args)
		return f, kind, true, err
	}
	g, known := generators[name]
	if !known {
		return nil, Any, false, nil
	}
	switch most := len(g.params); {
	case len(args) >= g.least && len(args) <= most:
	case g.least == most:
		return nil, Any, true, wrong("%s takes %d arguments, got %d", name, most, len(args))
	default:
		return nil, Any, true, wrong("%s takes %d to %d arguments, got %d", name, g.least, most, len(args))
	}
	evals := make([]eval, len(args))
	constants := true
	for i, arg := range args {
		e, kind, err := c.node(arg)
		if err != nil {
			return nil, Any, true, err
		}
		if want := g.params[i]; want != Any && kind != Any && kind != want {
			return nil, Any, true, wrong("%s needs %s, %s is %s", name, want, arg, kind)
		}
		evals[i], constants = e, constants && isConstant(arg)
	}
	f = func(s *Scope, r Response) Value {
		var values [3]Value
		for i, e := range evals {
			v := e(s, r)
			if v.kind == fault {
				return v
			}
			if want := g.params[i]; want != Any && v.kind != want {
				return failed(name + " needs " + want.String() + ", got " + v.Type().String())
			}
			values[i] = v
		}
		return g.do(s, values[:len(evals)])
	}
	if constants { // what is wrong with them is known without a run
		v := f(&Scope{Rand: rand.NewPCG(0, 0)}, nil)
		if v.kind == fault {
			return nil, Any, true, &mistake{text: v.text, hint: hintOf(name)}
		}
		return f, v.kind, true, nil
	}
	return f, g.yields, true, nil
}

func hintOf(name string) string {
	if name == "date" {
		return `write date("+24h", "2006-01-02 15:04:05"): layouts are Go's, or one of ` + strings.Join(layoutNames, ", ")
	}
	return ""
}

// isConstant reports whether a node yields the same in each evaluation.
func isConstant(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode, *ast.BoolNode:
		return true
	case *ast.UnaryNode:
		return isConstant(n.Node)
	case *ast.CallNode: // a duration written out
		f, ok := n.Callee.(*ast.IdentifierNode)
		return ok && f.Value == "duration"
	}
	return false
}

// oneOf compiles one_of(a, b, …), which evaluates one of its arguments, and one_of(list).
func (c *compiler) oneOf(args []ast.Node) (eval, Type, error) {
	if len(args) == 0 {
		return nil, Any, wrong("one_of needs values to choose from")
	}
	evals := make([]eval, len(args))
	kind := Any
	for i, arg := range args {
		e, k, err := c.node(arg)
		if err != nil {
			return nil, Any, err
		}
		if evals[i] = e; i == 0 {
			kind = k
		} else if kind != k {
			kind = Any
		}
	}
	if len(args) > 1 {
		return func(s *Scope, r Response) Value { return evals[s.below(uint64(len(evals)))](s, r) }, kind, nil
	}
	if kind != List && kind != Any {
		return nil, Any, &mistake{text: "one_of needs a list, or more than one value; " + args[0].String() + " is " + kind.String(), hint: `write one_of("a", "b")`}
	}
	return func(s *Scope, r Response) Value {
		v := evals[0](s, r)
		if v.kind == fault {
			return v
		}
		if v.kind != List {
			return failed("one_of needs a list, got " + v.Type().String())
		}
		n := v.len()
		if n == 0 {
			return failed("one_of: the list is empty")
		}
		return v.at(int(s.below(uint64(n))))
	}, Any, nil
}

// mostDigits is how many decimal places random_decimal has at most: a float64 holds 15 digits.
const mostDigits = 15

// randomDecimal returns a number from low to high, both included, with digits decimal places (2 if not given), all of
// which its text has. All such numbers are equally likely.
func randomDecimal(s *Scope, a []Value) Value {
	digits := 2
	if len(a) == 3 {
		if digits = int(a[2].num); float64(digits) != a[2].num || digits < 0 || digits > mostDigits {
			return failed("random_decimal: the number of digits must be a whole number from 0 to 15, got " + a[2].String())
		}
	}
	scale := math.Pow10(digits)
	low, high := wholeAbove(a[0].num*scale), -wholeAbove(-a[1].num*scale)
	switch {
	case math.Abs(low) > exactly || math.Abs(high) > exactly:
		return failed("random_decimal(" + a[0].String() + ", " + a[1].String() + "): more digits than a number holds")
	case high < low:
		return failed("random_decimal: there is no number from " + a[0].String() + " to " + a[1].String() + " with " + strconv.Itoa(digits) + " digits")
	}
	n := int64(low) + int64(s.below(uint64(high-low)+1))
	b := strconv.AppendInt(nil, max(n, -n), 10)
	for len(b) <= digits {
		b = append([]byte{'0'}, b...)
	}
	text := string(b[:len(b)-digits])
	if digits > 0 {
		text += "." + string(b[len(b)-digits:])
	}
	if n < 0 {
		text = "-" + text
	}
	f, _ := strconv.ParseFloat(text, 64) // is a number
	return numeral(text, f)
}

// wholeAbove is the least whole number that is not below x, but for what rounding made of x.
func wholeAbove(x float64) float64 {
	if near := math.Round(x); math.Abs(x-near) <= 1e-9*max(1, math.Abs(x)) {
		return near
	}
	return math.Ceil(x)
}

const (
	alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	longestText  = 1 << 16
)

// randomString returns a text of n characters of an alphabet, letters and digits if none is given.
func randomString(s *Scope, a []Value) Value {
	n := int(a[0].num)
	if float64(n) != a[0].num || n < 0 || n > longestText {
		return failed("random_string: the length must be a whole number from 0 to " + strconv.Itoa(longestText) + ", got " + a[0].String())
	}
	alphabet := alphanumeric
	if len(a) == 2 {
		alphabet = a[1].text
	}
	if alphabet == "" {
		return failed("random_string: the alphabet is empty")
	}
	characters := []rune(alphabet)
	r := rand.New(s.Rand)
	var b strings.Builder
	b.Grow(n)
	for range n {
		b.WriteRune(characters[r.IntN(len(characters))])
	}
	return Str(b.String())
}

// layouts are the formats of date that have a name; those of Go's package time are others.
var layouts = map[string]string{
	"rfc3339": time.RFC3339, "rfc3339_ms": "2006-01-02T15:04:05.000Z07:00", "date": time.DateOnly, "time": time.TimeOnly,
	"datetime": time.DateTime, "http": "Mon, 02 Jan 2006 15:04:05 GMT",
}

var layoutNames = []string{"rfc3339", "rfc3339_ms", "date", "time", "datetime", "http", "unix", "unix_ms"}

// date returns an instant, now and a duration, in UTC, in a layout: RFC 3339 if none is given.
func date(_ *Scope, a []Value) Value {
	var offset time.Duration
	if len(a) > 0 {
		switch v := a[0]; v.kind {
		case Duration:
			offset = time.Duration(v.num)
		case String:
			d, err := signedDuration(v.text)
			if err != nil {
				return failed(`date: ` + strconv.Quote(v.text) + ` is not a duration such as "+24h" or "-7d"`)
			}
			offset = d
		default:
			return failed("date needs a duration, got " + v.Type().String())
		}
	}
	at := time.Now().UTC().Add(offset)
	layout := "rfc3339"
	if len(a) == 2 {
		layout = a[1].text
	}
	switch layout {
	case "unix":
		return Num(float64(at.Unix()))
	case "unix_ms":
		return Num(float64(at.UnixMilli()))
	}
	if named, ok := layouts[layout]; ok {
		return Str(at.Format(named))
	}
	text := at.Format(layout)
	if text == layout && at.AddDate(1, 1, 1).Add(3723*time.Second).Format(layout) == layout {
		return failed("date: the layout " + strconv.Quote(layout) + " has no part of a date or time")
	}
	return Str(text)
}

// signedDuration reads a duration with or without a sign; "" and "now" are none.
func signedDuration(s string) (time.Duration, error) {
	if s == "" || s == "now" {
		return 0, nil
	}
	rest, negative := strings.CutPrefix(s, "-")
	if !negative {
		rest = strings.TrimPrefix(s, "+")
	}
	d, err := block.ParseDuration(rest)
	if negative {
		d = -d
	}
	return d, err
}

// email returns an address at a domain that nobody has (RFC 2606).
func email(s *Scope, _ []Value) Value {
	b := append([]byte(nil), strings.ToLower(oneOf(s, firstNames))...)
	b = append(b, '.')
	b = append(b, strings.ToLower(oneOf(s, lastNames))...)
	b = append(b, '.')
	b = appendDigits(b, s, 6)
	return Str(string(append(b, "@example.com"...)))
}

// phone returns a number in E.164 that is reserved for fiction (North American Numbering Plan, 555-0100 to 555-0199).
func phone(s *Scope, _ []Value) Value {
	b := append([]byte("+1"), byte('2'+s.below(8)))
	b = appendDigits(b, s, 2)
	b = append(b, "55501"...)
	return Str(string(appendDigits(b, s, 2)))
}

func appendDigits(b []byte, s *Scope, n int) []byte {
	for range n {
		b = append(b, byte('0'+s.below(10)))
	}
	return b
}

// lines splits a list with commas over several lines.
func lines(s string) []string { return strings.Split(strings.ReplaceAll(s, "\n", ""), ",") }

func oneOf(s *Scope, list []string) string { return list[s.below(uint64(len(list)))] }

var (
	firstNames = strings.Fields(`Ada Aisha Alan Amara Amir Ana Anders Anna Anton Ayla Ben Bianca Carla Carlos Chen Clara Daniel Daria David Diego
		Elena Elias Emil Emma Erik Eva Farah Felix Fatima Finn Freya Gabriel Grace Hana Hassan Helena Hugo Ida Ines Irina Ivan Jakob Jana Jin
		Jonas Julia Kai Karim Katya Kofi Lara Lea Leo Lina Luca Lucia Maja Malik Maria Marta Max Mei Mila Mira Nadia Nia Nils Noah Nora Olga
		Omar Oscar Paula Pavel Priya Rafael Ravi Rosa Samir Sara Selma Simon Sofia Tariq Theo Tomas Uma Vera Victor Wei Yara Yuki Zoe`)
	lastNames = strings.Fields(`Ahmed Almeida Andersen Bauer Becker Berg Bianchi Brown Carter Castro Chen Clark Cohen Costa Dahl Diaz Dubois Eriksen
		Evans Fischer Flores Fontaine Garcia Gomez Greco Gruber Haas Hansen Hill Hoffmann Huber Ito Ivanov Jansen Jensen Jones Kaya Keller Khan
		Kim Klein Kovacs Kowalski Kumar Lang Larsen Laurent Lee Lewis Lopez Marino Martin Mensah Meyer Moreau Morris Nagy Nguyen Nielsen Novak
		Okafor Olsen Park Patel Pereira Petrov Reyes Ricci Rossi Sato Schmidt Silva Singh Smith Sokolov Suzuki Tanaka Torres Tran Vega Virtanen
		Vogel Wagner Walker Wang Weber Wilson Wood Wright Yilmaz Young Zhang Ziegler`)
	streets = lines(`Acorn Street,Beech Avenue,Bridge Road,Canal Street,Castle Lane,Cedar Drive,Chapel Road,Cherry Lane,Church Street,Field Road,
Garden Street,Harbour Road,Hazel Close,High Street,Hill Road,King Street,Lake View,Linden Avenue,Maple Street,Market Square,Mill Lane,North Road,
Oak Avenue,Orchard Way,Park Road,Pine Street,Poplar Drive,Queen Street,River Road,School Lane,South Street,Spring Road,Station Road,Sunset Avenue,
Valley Road,Victoria Street,Water Lane,West Street,Willow Way,Windmill Hill`)
	cities = lines(`Aarhus,Accra,Amsterdam,Athens,Austin,Barcelona,Basel,Berlin,Bogota,Boston,Bristol,Brno,Brussels,Busan,Cairo,Calgary,Cape Town,Cork,
Dakar,Dublin,Ghent,Graz,Hamburg,Helsinki,Izmir,Kigali,Krakow,Kyoto,Lagos,Lima,Lisbon,Ljubljana,London,Lyon,Madrid,Milan,Montreal,Nairobi,Oslo,Porto,
Prague,Pune,Quito,Riga,Rome,Seattle,Seoul,Sofia,Tallinn,Tartu,Toronto,Turin,Utrecht,Valencia,Vienna,Vilnius,Warsaw,Wellington,Zagreb,Zurich`)
)
