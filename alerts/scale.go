package alerts

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/common/model"
)

var (
	// field is a line that holds a duration of its own.
	field = regexp.MustCompile(`^( *(?:- )?(?:for|keep_firing_for|interval): *)(\S+)(\s*)$`)
	// scalar is a line after which a text follows that is indented more deeply.
	scalar = regexp.MustCompile(`^( *(?:- )?)([a-z_]+): *[|>][-+0-9]*\s*$`)
	// inline is an expression on the line of its key.
	inline = regexp.MustCompile(`^( *(?:- )?expr: *)([^|>\s].*\s*)$`)
)

// scale divides the durations of a file of rules by n: those of its fields and
// those inside its expressions. Comments, labels, annotations and the names of
// recorded series stay as they are.
func scale(text []byte, n float64) ([]byte, error) {
	var (
		out    bytes.Buffer
		expr   strings.Builder
		depth  = -1 // indent of the key whose text is being read, -1 outside one
		inExpr bool
	)
	finish := func() error {
		scaled, err := scaleExpr(expr.String(), n)
		expr.Reset()
		out.WriteString(scaled)
		return err
	}
	for line := range strings.Lines(string(text)) {
		if blank := strings.TrimSpace(line) == ""; depth >= 0 && (blank || indent(line) > depth) {
			if inExpr {
				expr.WriteString(line)
			} else {
				out.WriteString(line)
			}
			continue
		}
		if err := finish(); err != nil {
			return nil, err
		}
		depth = -1
		if m := scalar.FindStringSubmatch(line); m != nil {
			depth, inExpr = len(m[1]), m[2] == "expr"
		} else if m := field.FindStringSubmatch(line); m != nil {
			d, err := divide(m[2], n)
			if err != nil {
				return nil, err
			}
			line = m[1] + d + m[3]
		} else if m := inline.FindStringSubmatch(line); m != nil {
			e, err := scaleExpr(m[2], n)
			if err != nil {
				return nil, err
			}
			line = m[1] + e
		}
		out.WriteString(line)
	}
	err := finish()
	return out.Bytes(), err
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// scaleExpr divides the durations of a PromQL expression: ranges, subqueries
// and offsets. It reads the tokens that may hide one (strings, comments, words)
// and copies everything else.
func scaleExpr(expr string, n float64) (string, error) {
	var out strings.Builder
	for i := 0; i < len(expr); {
		rest := expr[i:]
		size := 1
		switch c := rest[0]; {
		case c == '"' || c == '\'' || c == '`':
			size = quoted(rest)
		case c == '#':
			size = len(rest)
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				size = end
			}
		case c == '[':
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return "", fmt.Errorf("no end of the range in %q", rest)
			}
			parts := strings.Split(rest[1:end], ":")
			for k, p := range parts {
				if p = strings.TrimSpace(p); p == "" { // a subquery without a step
					continue
				}
				d, err := divide(p, n)
				if err != nil {
					return "", err
				}
				parts[k] = d
			}
			out.WriteString("[" + strings.Join(parts, ":") + "]")
			i += end + 1
			continue
		case wordy(c):
			size = len(rest) - len(strings.TrimLeftFunc(rest, func(r rune) bool { return r < unicode.MaxASCII && wordy(byte(r)) }))
			if strings.EqualFold(rest[:size], "offset") {
				m := offset.FindStringSubmatch(rest[size:])
				if m == nil {
					return "", fmt.Errorf("no duration after offset in %q", rest)
				}
				d, err := divide(m[2], n)
				if err != nil {
					return "", err
				}
				out.WriteString(rest[:size] + m[1] + d)
				i += size + len(m[0])
				continue
			}
		}
		out.WriteString(rest[:size])
		i += size
	}
	return out.String(), nil
}

var offset = regexp.MustCompile(`^(\s+-?\s*)([0-9a-z]+)`)

// quoted is the length of the string that s begins with, its quotes included.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return i + 1
		case s[i] == '\\' && s[0] != '`':
			i++
		}
	}
	return len(s)
}

// wordy reports whether c may be part of a name, a number or a duration.
func wordy(c byte) bool {
	return c == '_' || c == ':' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// divide divides a duration as Prometheus writes them, to the millisecond, its shortest.
func divide(s string, n float64) (string, error) {
	d, err := model.ParseDuration(s)
	if err != nil {
		return "", err
	}
	ms := math.Round(float64(time.Duration(d).Milliseconds()) / n)
	if d > 0 && ms < 1 {
		return "", fmt.Errorf("%s divided by %v is shorter than a millisecond", s, n)
	}
	if ms > float64(math.MaxInt64/time.Millisecond) {
		return "", fmt.Errorf("%s divided by %v is longer than a duration can be", s, n)
	}
	return model.Duration(time.Duration(ms) * time.Millisecond).String(), nil
}
