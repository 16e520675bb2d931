package http

import (
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
)

// habits are keys of a request that people write who know other tools, and what is written here.
var habits = []struct{ keys, hint string }{
	{"expected_status expected_statuses expectedStatus status statusCode status_code codes", "write expect: status in [200, 404], beside http"},
	{"expect checks check extract capture assert match ensure timeout target name tags on_failure", "it stands beside http, in the step"},
	{"follow_redirects followRedirects followRedirect allow_redirects max_redirects maxRedirects redirect", "write redirects: 10, how many to follow; 0 makes a redirect an answer"},
	{"auth basic_auth basicAuth basic bearer token authorization user username password", "write headers: {Authorization: …}, or an entry of credentials, and its name as credentials"},
	{"files upload formUpload attachments multipart_form", "write multipart: [{name: picture, file: a.png}], or file: a.png for a whole body"},
	{"data payload content postData", "write json: {…}, form: {…} or body: text"},
	{"params parameters queryParams query_params qs queryString search", "write query: {q: lamp}"},
	{"verify insecure insecureSkipTLSVerify tls cert ssl proxy keepalive keepAlive", "write it in the http block of the target or of the scenario: tls, connections"},
	{"cookie jar", cookieHint},
	{"header", "write headers: {Accept: text/html}"},
	{"path uri endpoint href address", "write url: /path"},
	{"contentType content_type mime", "write headers: {Content-Type: …}"},
	{"compression compress", "write encodings: [gzip]"},
	{"type verb", "write method: POST"},
}

const cookieHint = `cookies that answers set are sent by themselves; for one of your own write cookies: false and headers: {Cookie: "session=…"}`

// HintOf returns the hint for a key that habit explains, empty for none.
func (*Config) HintOf(k block.Key) string {
	switch k.Name {
	case "body":
		return "write json: {…} for JSON, or form: {…} for a form"
	case "cookies":
		return cookieHint
	case "redirects":
		return "write how many to follow: 10, or 0 for none"
	}
	for _, h := range habits {
		if slices.Contains(strings.Fields(h.keys), k.Name) {
			return h.hint
		}
	}
	return ""
}
