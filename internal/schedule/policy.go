package schedule

import (
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
)

// oneOf decodes the name of a policy.
func oneOf[T ~string](n *block.Node, errs *block.Errors, known ...T) T {
	if n.Kind == block.String && slices.Contains(known, T(n.Scalar)) {
		return T(n.Scalar)
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	errs.Add(n.Pos, n.Path, "must be %s, got %s", strings.Join(names, " or "), n.Found()).Hint = block.Nearest(n.Scalar, names)
	return known[0]
}
