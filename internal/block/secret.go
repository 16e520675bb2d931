package block

// concealed stands where a secret would.
const concealed = "<secret>"

// A Secret is text that must not be shown. It prints as <secret>. The text
// sits behind a pointer because fmt calls no methods below unexported fields.
type Secret struct{ value *string }

// DecodeBlock accepts any scalar.
func (s *Secret) DecodeBlock(n *Node, errs *Errors) {
	if isScalar(n, "text", errs) {
		text := n.Scalar
		s.value = &text
	}
}

// Value returns the text itself; it must not reach a log, a page or an error.
func (s Secret) Value() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String returns "<secret>", or nothing for an empty secret.
func (s Secret) String() string {
	if s.Value() == "" {
		return ""
	}
	return concealed
}

// GoString returns String, so that %#v tells nothing either.
func (s Secret) GoString() string { return s.String() }

// MarshalText returns String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
