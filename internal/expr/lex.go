package expr

import (
	"strings"
	"unicode/utf8"
)

// rewrite replaces notation that the parser does not know: a duration 300ms
// becomes duration("300ms"), a number that a float64 may not hold number("…"), a pipe into a name `x | random` becomes a pipe into a
// call `x | random()`. It leaves text in quotes unchanged.
func rewrite(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\'' || c == '`':
			end := quoted(s, i)
			b.WriteString(s[i:end])
			i = end
		case isDigit(c) && (i == 0 || !isWord(s[i-1]) && s[i-1] != '.'):
			end := i + 1
			for end < len(s) && (isWord(s[end]) || s[end] == '.' && end+1 < len(s) && isDigit(s[end+1])) {
				end++
			}
			if n := s[i:end]; isDuration(n) {
				b.WriteString(`duration("` + n + `")`)
			} else if len(n) > floatDigits && strings.Trim(n, "0123456789.") == "" {
				b.WriteString(`number("` + n + `")`)
			} else {
				b.WriteString(n)
			}
			i = end
		case strings.HasPrefix(s[i:], each):
			b.WriteString(`["` + each + `"]`)
			i += len(each)
		case c == '|' && i+1 < len(s) && s[i+1] == '|':
			b.WriteString("||")
			i += 2
		case c == '|':
			end := i + 1
			for end < len(s) && (s[end] == ' ' || s[end] == '\t' || s[end] == '\n') {
				end++
			}
			for end < len(s) && isWord(s[end]) {
				end++
			}
			b.WriteString(s[i:end])
			if rest := strings.TrimLeft(s[end:], " \t\n"); !strings.HasPrefix(rest, "(") {
				b.WriteString("()")
			}
			i = end
		default:
			_, size := utf8.DecodeRuneInString(s[i:])
			b.WriteString(s[i : i+size])
			i += size
		}
	}
	return b.String()
}

// quoted returns the end of the text in quotes that begins at i.
func quoted(s string, i int) int {
	q := s[i]
	for i++; i < len(s); i++ {
		switch {
		case s[i] == '\\' && q != '`':
			i++
		case s[i] == q:
			return i + 1
		}
	}
	return len(s)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}

// isDuration reports whether a word that begins with a digit consists of numbers with units of time.
func isDuration(s string) bool {
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if n <= 0 {
			return false
		}
		s = s[n:]
		unit := ""
		for _, u := range []string{"ns", "us", "µs", "ms", "s", "m", "h", "d"} {
			if strings.HasPrefix(s, u) && len(u) > len(unit) {
				unit = u
			}
		}
		if unit == "" {
			return false
		}
		s = s[len(unit):]
	}
	return true
}
