package app

import (
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/protocol/http"
)

// Kinds is the one list of protocols. One more protocol is one more line here.
func Kinds() []protocol.Kind {
	return []protocol.Kind{
		http.Kind,
	}
}
