package http

import (
	"container/list"
	"strings"
	"sync"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// keptCertificates is how many client certificates a run keeps opened on one target. Of more, those that were not used
// for longest are read again when they are needed.
const keptCertificates = 1000

// ofRows reports whether client certificates are named by values of a flow.
func ofRows(t *protocol.TLS) bool {
	return strings.Contains(t.CertFile.S, "${") || strings.Contains(t.KeyFile.S, "${")
}

// A certificate names the files of a client certificate and its key.
type certificate struct{ cert, key string }

// identities are the client certificates of steps whose files are named by values of the flow.
type identities struct {
	tls       protocol.TLS
	dir       string
	cert, key *expr.Template
}

// newIdentities compiles the names of files; nil where they are no values of the flow.
func newIdentities(k *protocol.Compiler, t *protocol.TLS) *identities {
	if !ofRows(t) {
		return nil
	}
	return &identities{*t, k.Dir, expr.ParseTemplate(t.CertFile, k.Symbols, k.Errors), expr.ParseTemplate(t.KeyFile, k.Symbols, k.Errors)}
}

// A certificateError is a client certificate that a request cannot be made with.
type certificateError struct{ error }

// Cause returns load.Input.
func (certificateError) Cause() load.Cause { return load.Input }

func (e certificateError) Unwrap() error { return e.error }

// present has the session's connections present the certificate that the flow's values name. Where it is another than
// before, they are closed: a connection is one client's.
func (i *identities) present(s *session, t *transport, scope *expr.Scope, vu int) error {
	var err error
	if s.names, err = i.cert.Append(s.names[:0], scope); err != nil {
		return err
	}
	split := len(s.names)
	if s.names, err = i.key.Append(s.names, scope); err != nil {
		return err
	}
	cert, key := s.names[:split], s.names[split:]
	if string(cert) == s.presents.cert && string(key) == s.presents.key {
		return nil
	}
	names := certificate{string(cert), string(key)}
	by, err := t.with(i, names)
	if err != nil {
		return certificateError{err}
	}
	s.replace(wire.NewAgent(by, vu))
	s.presents = names
	return nil
}

// opened are the transports of a run on one target, one for each client certificate, bounded.
type opened struct {
	mu   sync.Mutex
	by   map[certificate]*list.Element // of order
	used list.List                     // of *withCertificate, the one used last first
}

type withCertificate struct {
	names certificate
	*wire.Transport
}

// with returns the transport that presents a certificate. One that is forgotten is still used by whoever has it.
func (t *transport) with(i *identities, names certificate) (*wire.Transport, error) {
	if have := t.opened.get(names); have != nil {
		return have, nil
	}
	opened, err := i.tls.With(i.dir, names.cert, names.key)
	if err != nil {
		return nil, err
	}
	return t.opened.add(&withCertificate{names, t.another(opened)}), nil
}

func (o *opened) get(names certificate) *wire.Transport {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.find(names)
}

// find returns the transport of a certificate, nil for none. The caller holds mu.
func (o *opened) find(names certificate) *wire.Transport {
	at := o.by[names]
	if at == nil {
		return nil
	}
	o.used.MoveToFront(at)
	return at.Value.(*withCertificate).Transport //nolint:forcetypeassert // the list holds nothing else
}

// add keeps a transport, unless another VU has opened the same certificate meanwhile. It returns the one that is kept.
func (o *opened) add(w *withCertificate) *wire.Transport {
	o.mu.Lock()
	defer o.mu.Unlock()
	if have := o.find(w.names); have != nil {
		return have
	}
	if o.by == nil {
		o.by = map[certificate]*list.Element{}
	}
	o.by[w.names] = o.used.PushFront(w)
	for o.used.Len() > keptCertificates {
		last := o.used.Back()
		delete(o.by, last.Value.(*withCertificate).names) //nolint:forcetypeassert // the list holds nothing else
		o.used.Remove(last)
	}
	return w.Transport
}

// checkCertificates reports client certificates of rows where connections are not one virtual user's.
func checkCertificates(t *protocol.TLS, pool int, errs *block.Errors) {
	if pool > 0 && ofRows(t) {
		errs.Add(t.CertFile.Pos, t.CertFile.Path, "a client certificate of each row and a pool exclude each other: a connection that all share is of no row").Hint = "leave pool out"
	}
}
