package block

// concealed is printed in place of a secret.
const concealed = "<secret>"

// A Secret is text that must not be shown. It prints as <secret>. The text is behind
// a pointer because fmt does not call the methods of unexported fields.
type Secret struct{ value *string }

// DecodeBlock accepts any scalar, which nothing that is made of the node shows from then on.
func (s *Secret) DecodeBlock(n *Node, errs *Errors) {
	n.Hidden = true
	if isScalar(n, "text", errs) {
		text := n.Scalar
		s.value = &text
	}
}

// Value returns the text itself, which must not reach a log, a page or an error.
func (s Secret) Value() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String returns "<secret>", or "" for an empty secret.
func (s Secret) String() string {
	if s.Value() == "" {
		return ""
	}
	return concealed
}

// GoString returns String, so that %#v does not show the text.
func (s Secret) GoString() string { return s.String() }

// MarshalText returns String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
