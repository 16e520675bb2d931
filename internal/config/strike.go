package config

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/perfd/perfd/internal/block"
)

const (
	// certain is the length from which on a secret is struck out of any text, words that
	// it is a part of included. A shorter one is struck out where it is a word.
	certain = 8
	// leastCut is the length from which on a text may have been cut.
	leastCut = 64
	// shortestLiteral is the length from which on what the document says itself is a secret by its place: shorter
	// ones are passwords of test users, which are words of logs too.
	shortestLiteral = 6
	// mostShort bounds the short secrets, each of which is looked for by itself.
	mostShort = 1000
)

// striking is what strikes secrets out of texts.
type striking struct {
	long  *strings.Replacer
	all   []string       // what long replaces
	short *regexp.Regexp // nil for none
}

// Strike replaces every secret in a text: as it is, and as addresses, JSON, quotes and
// HTTP's basic authentication write it. Numbers and switches are no secrets. It is safe
// for concurrent use.
func (d *Document) Strike(text string) string { return d.striking.strike(text) }

// Striker returns Strike as a function that does not hold the document.
func (d *Document) Striker() func(string) string { return d.striking.strike }

// Striker returns what strikes texts out that no document holds, as Document.Strike does.
func Striker(texts []string) func(string) string {
	s := newSecrets("")
	for _, text := range texts {
		s.add(text)
	}
	return newStriking(s).strike
}

func (s *striking) strike(text string) string {
	text = s.long.Replace(text)
	if s.short != nil {
		text = s.short.ReplaceAllString(text, "${1}"+concealed)
	}
	return s.strikeCut(text)
}

// strikeCut strikes out the beginning of a secret where a text was cut within it.
func (s *striking) strikeCut(text string) string {
	whole := strings.TrimSuffix(strings.TrimSuffix(text, "…"), "\uFFFD")
	if len(whole) < leastCut {
		return text
	}
	for _, secret := range s.all {
		for n := min(len(secret)-1, len(whole)); n >= certain; n-- {
			if strings.HasSuffix(whole, secret[:n]) {
				return whole[:len(whole)-n] + concealed + text[len(whole):]
			}
		}
	}
	return text
}

// newStriking prepares what strikes out the secrets of a document.
func newStriking(s *secrets) *striking {
	var long []string
	var short []string
	for value := range s.values {
		for _, form := range forms(value) {
			switch {
			case len(form) >= certain:
				long = append(long, form)
			case len(form) >= shortest && !plainValue(form) && len(short) < mostShort:
				short = append(short, regexp.QuoteMeta(form))
			}
		}
	}
	out := &striking{long: striker(long), all: long}
	if len(short) > 0 {
		slices.Sort(short)
		out.short = regexp.MustCompile(`(^|[^\pL\pN_])(?:` + strings.Join(slices.Compact(short), "|") + `)\b`)
	}
	return out
}

// plainValue reports whether a short text is a number or a switch.
func plainValue(text string) bool {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return true
	}
	_, err := strconv.ParseBool(text)
	return err == nil
}

// forms lists how a secret may be written.
func forms(value string) []string {
	out := []string{value, url.QueryEscape(value), url.PathEscape(value), strings.ReplaceAll(url.QueryEscape(value), "+", "%20")}
	quoted := strconv.Quote(value)
	out = append(out, quoted[1:len(quoted)-1])
	if text, err := json.Marshal(value); err == nil {
		out = append(out, string(text[1:len(text)-1]))
	}
	if line := strings.TrimSpace(value); line != value {
		out = append(out, line)
	}
	// Of a text with several lines, each may come by itself.
	if lines := strings.Split(value, "\n"); len(lines) > 1 {
		for _, line := range lines {
			if line = strings.TrimSpace(line); len(line) >= certain {
				out = append(out, line)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var (
	// secretKeys are the keys of blocks, bodies and queries whose values are secrets, queryKeys those of queries alone.
	secretKeys = regexp.MustCompile(`(?i)^(password|passwd|passphrase|secret|client_?secret|bearer_?token|token|access_?token|refresh_?token|id_?token|api_?key|credentials?)$`)
	// credentialKeys are further keys whose values are secrets, in credentials alone.
	credentialKeys = regexp.MustCompile(`^(value|access_key|secret_key|session_token)$`)
	// credentialKind is the path of a block in an entry of credentials, bodies those of what requests are made of.
	credentialKind = regexp.MustCompile(`^credentials\.[^.]+\.[^.]+$`)
	bodies         = regexp.MustCompile(`\.(json|form|multipart|headers|query|body|with|set)\b`)
	queryKeys      = regexp.MustCompile(`(?i)^(key|sig|pass|pwd|code)$`)
	// secretFields are the names of header fields, and parts of them, whose values are secrets.
	secretFields = regexp.MustCompile(`(?i)(auth|cookie|token|secret|passw|api-?key|credential|signature|session)`)
	// tokenFiles are the keys of files that an output or a credential reads again and again.
	tokenFiles = regexp.MustCompile(`^((bearer_)?token|password)_file$`)
	// otlpHeaders are the variables of the environment in which a library finds credentials, proxies those whose
	// addresses may hold a password.
	otlpHeaders = regexp.MustCompile(`^OTEL_EXPORTER_OTLP_(TRACES_)?HEADERS$`)
	proxies     = regexp.MustCompile(`(?i)^(https?|all)_proxy$|^OTEL_EXPORTER_OTLP_(TRACES_)?ENDPOINT$`)
)

// conceal adds what is written into the document and is a secret by its place: the
// passwords and tokens of blocks, of header fields, of bodies, and of addresses.
//
// Where fields is set, n is the value of a header field. Those of outputs are all secrets.
func (s *secrets) conceal(n *block.Node, key string, fields bool) {
	if n == nil {
		return
	}
	user, password := n.Get("username"), n.Get("password")
	if user != nil && password != nil {
		s.literal(base64.StdEncoding.EncodeToString([]byte(user.Scalar + ":" + password.Scalar)))
	}
	if id, secret := n.Get("client_id"), n.Get("client_secret"); id != nil && secret != nil {
		s.literal(base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id.Scalar) + ":" + url.QueryEscape(secret.Scalar))))
	}
	inCredentials := strings.HasPrefix(n.Path, "credentials.")
	for _, k := range n.Keys {
		// What is extracted, checked or declared is an expression, and so is what a login finds in its answer.
		if k.Name == "extract" || k.Name == "checks" || k.Name == "objectives" || k.Name == "params" && !inCredentials ||
			key == "login" && credentialKind.MatchString(n.Path) && (k.Name == "token" || k.Name == "expires_in" || k.Name == "expect") {
			continue
		}
		s.conceal(k.Value, k.Name, strings.EqualFold(key, "headers") || k.Name == "headers" || inCredentials && key == "params")
	}
	for _, item := range n.Items {
		s.conceal(item, key, fields)
	}
	if n.Kind != block.String && n.Kind != block.Int {
		return
	}
	output := !strings.HasPrefix(n.Path, "scenarios") && !strings.HasPrefix(n.Path, "flows") && !strings.HasPrefix(n.Path, "targets")
	if output && tokenFiles.MatchString(key) {
		if text, err := s.peek(n.Scalar); err == nil {
			s.literal(text)
		}
	}
	if key == "credentials" && !output && !bodies.MatchString(n.Path) {
		return // the name of an entry
	}
	if inCredentials && credentialKeys.MatchString(key) || secretKeys.MatchString(key) || fields && (output || secretFields.MatchString(key)) {
		s.literal(n.Scalar)
		// "Bearer …": the scheme says nothing.
		if _, token, ok := strings.Cut(n.Scalar, " "); ok && fields {
			s.literal(token)
		}
	}
	s.address(n.Scalar)
}

// literal adds a text that no run fills in.
func (s *secrets) literal(text string) {
	if text = strings.TrimSpace(text); len(text) >= shortestLiteral && !strings.Contains(text, "${") {
		s.add(text)
	}
}

// address adds the password of an address, and what its query says of secrets.
func (s *secrets) address(text string) {
	path, query, asks := strings.Cut(text, "?")
	if strings.Contains(path, "://") {
		if u, err := url.Parse(path); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				s.literal(password)
			} else {
				s.literal(u.User.Username()) // a token by itself
			}
		}
	}
	if !asks {
		return
	}
	query, _, _ = strings.Cut(query, "#")
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if !secretKeys.MatchString(name) && !queryKeys.MatchString(name) && !secretFields.MatchString(name) {
			continue
		}
		s.literal(value)
		if plain, err := url.QueryUnescape(value); err == nil {
			s.literal(plain)
		}
	}
}

// environ adds what libraries take from the environment.
func (s *secrets) environ(env map[string]string) {
	for name, value := range env {
		switch {
		case otlpHeaders.MatchString(name):
			for pair := range strings.SplitSeq(value, ",") {
				_, text, _ := strings.Cut(pair, "=")
				s.literal(text)
			}
		case proxies.MatchString(name):
			s.address(value)
		}
	}
}
