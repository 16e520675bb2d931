package analysis

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/perfd/perfd/internal/load"
)

// ID returns the ID of a finding of a kind on what parts name. The same parts give
// the same ID, which is safe in a path.
func ID(kind load.Kind, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return string(kind) + "-" + hex.EncodeToString(h.Sum(nil)[:8])
}
