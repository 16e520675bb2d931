package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// TLSOptions are the options of TLS connections. Files are PEM.
type TLSOptions struct {
	CAFile             string // authorities to trust instead of the system's
	CertFile, KeyFile  string // client certificate and its key
	ServerName         string // name to request and verify instead of the host's
	InsecureSkipVerify bool   // accept any certificate
	MinVersion         uint16 // default TLS 1.2
	NoResumption       bool   // each handshake is a full one
}

// longestPEM bounds a file of certificates, in bytes.
const longestPEM = 4 << 20

// A TLSMistake is what is wrong with a file that TLSOptions name.
type TLSMistake struct {
	Option string // ca_file, cert_file or key_file
	Err    error
}

// Error says which option is at fault.
func (m *TLSMistake) Error() string { return m.Option + ": " + m.Err.Error() }

// Unwrap returns what is wrong.
func (m *TLSMistake) Unwrap() error { return m.Err }

// Mistakes reads the files and returns what is wrong with them: at most one mistake of
// the authorities, and one of the client's certificate and key.
func (o TLSOptions) Mistakes() (found []*TLSMistake) {
	switch {
	case o.KeyFile == "" && o.CertFile != "":
		found = append(found, &TLSMistake{"cert_file", errors.New("needs key_file beside it")})
	case o.CertFile == "" && o.KeyFile != "":
		found = append(found, &TLSMistake{"key_file", errors.New("needs cert_file beside it")})
	default:
		found = (&TLSOptions{CertFile: o.CertFile, KeyFile: o.KeyFile}).mistake(found)
	}
	return (&TLSOptions{CAFile: o.CAFile}).mistake(found)
}

// mistake appends the first one, if there is any.
func (o *TLSOptions) mistake(to []*TLSMistake) []*TLSMistake {
	files, err := o.read()
	if err == nil {
		_, err = o.config(&files)
	}
	if m, ok := errors.AsType[*TLSMistake](err); ok {
		return append(to, m)
	}
	return to
}

// tlsFiles is the content of the files that TLSOptions name, in the order of names.
type tlsFiles [3][]byte

// read reads the files. An error is a *TLSMistake.
func (o *TLSOptions) read() (f tlsFiles, err error) {
	for i, file := range []struct{ option, path string }{{"ca_file", o.CAFile}, {"cert_file", o.CertFile}, {"key_file", o.KeyFile}} {
		if file.path == "" {
			continue
		}
		if f[i], err = readPEM(file.path); err != nil {
			return f, &TLSMistake{file.option, err}
		}
	}
	return f, nil
}

// readPEM reads a regular file: a pipe would block a handshake.
func readPEM(path string) ([]byte, error) {
	i, err := os.Stat(path)
	if err != nil {
		return nil, withoutCall(err)
	}
	if !i.Mode().IsRegular() || i.Size() > longestPEM {
		return nil, fmt.Errorf("%s is no file of certificates", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutCall(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longestPEM))
	return text, withoutCall(err)
}

// withoutCall says what is wrong with a path without the system call's name.
func withoutCall(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

// config returns the configuration that the files come to. An error is a *TLSMistake.
func (o *TLSOptions) config(f *tlsFiles) (*tls.Config, error) {
	c := &tls.Config{
		ServerName:         o.ServerName,
		InsecureSkipVerify: o.InsecureSkipVerify, //nolint:gosec // the operator may ask for it, of a staging system
		MinVersion:         o.MinVersion,

		SessionTicketsDisabled: o.NoResumption,
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if o.CAFile != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(f[0]) {
			return nil, &TLSMistake{"ca_file", fmt.Errorf("%s holds no certificate", o.CAFile)}
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		pair, err := tls.X509KeyPair(f[1], f[2])
		if err != nil {
			return nil, &TLSMistake{"cert_file", err}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// TLSFor returns a configuration for a host out of TLS.Current, nil included. A
// foreign host is trusted by the same authorities, verified by its own name, and
// shown no client certificate: credentials are for the host that they were
// configured for.
func TLSFor(current *tls.Config, host string, foreign bool) *tls.Config {
	c := current.Clone()
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if foreign {
		c.Certificates, c.GetClientCertificate, c.ServerName = nil, nil, ""
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	return c
}

// Handshake opens TLS over a connection, which it leaves open after an error. Of
// its errors, Classify tells those of TLS from those of the network.
func Handshake(ctx context.Context, nc net.Conn, c *tls.Config) (*tls.Conn, error) {
	t := tls.Client(nc, c)
	err := t.HandshakeContext(ctx)
	switch {
	case err == nil:
		return t, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case died(err):
		return nil, err
	}
	return nil, &handshakeError{err}
}

// TLSFaults counts and logs certificates and authorities that changed and could
// not be used. One is shared by a whole daemon; a nil one does neither.
type TLSFaults struct {
	Log   *slog.Logger
	count atomic.Uint64
}

// Count is how often a look at the files found what could not be used.
func (f *TLSFaults) Count() uint64 { return f.count.Load() }

// lookEvery is the least time between two looks at the files of one TLS. Whoever
// replaces a certificate does so long before the old one ends.
const lookEvery = 5 * time.Second

// TLS is a configuration of TLS whose files are read again when they change:
// agents replace short-lived certificates and tell nobody. It is safe for
// concurrent use; a nil TLS is the default configuration.
type TLS struct {
	o    TLSOptions
	zero time.Time
	next atomic.Int64 // when the files are to be looked at, ns since zero
	now  atomic.Pointer[tls.Config]

	mu     sync.Mutex // of a look
	used   tlsFiles   // what now was made from
	broken bool       // the last look found what could not be used
}

// NewTLS reads the files. An error is a *TLSMistake.
func NewTLS(o TLSOptions) (*TLS, error) {
	t := &TLS{o: o, zero: time.Now()}
	files, err := o.read()
	if err != nil {
		return nil, err
	}
	c, err := o.config(&files)
	if err != nil {
		return nil, err
	}
	t.used = files
	t.now.Store(c)
	t.next.Store(int64(lookEvery))
	return t, nil
}

// Current returns the configuration at this moment, which must not be changed. It
// is another one only if a file is. It is called for each handshake, and looks at
// the files at most once every lookEvery; callers meanwhile do not wait for it.
func (t *TLS) Current(f *TLSFaults) *tls.Config {
	if t == nil {
		return nil
	}
	if t.o.CAFile == "" && t.o.CertFile == "" {
		return t.now.Load()
	}
	now := int64(time.Since(t.zero))
	if next := t.next.Load(); now >= next && t.next.CompareAndSwap(next, now+int64(lookEvery)) {
		t.look(f)
	}
	return t.now.Load()
}

// look reads the files and uses what they hold if it has changed. What cannot be
// used, such as a certificate whose key has yet to be written, leaves the
// configuration as it is, and is looked at again the next time.
func (t *TLS) look(f *TLSFaults) {
	if !t.mu.TryLock() {
		return // a slow disk keeps the look before this one
	}
	defer t.mu.Unlock()
	files, err := t.o.read()
	if err == nil && files.equal(&t.used) {
		t.broken = false
		return
	}
	var c *tls.Config
	if err == nil {
		c, err = t.o.config(&files)
	}
	if err != nil {
		f.note(err, !t.broken)
		t.broken = true
		return
	}
	t.used, t.broken = files, false
	t.now.Store(c)
	f.changed(&t.o)
}

func (f *tlsFiles) equal(g *tlsFiles) bool {
	for i := range f {
		if !bytes.Equal(f[i], g[i]) {
			return false
		}
	}
	return true
}

func (f *TLSFaults) note(err error, first bool) {
	if f == nil {
		return
	}
	f.count.Add(1)
	if first && f.Log != nil {
		f.Log.Error("changed TLS files cannot be used; connections go on with what they held before", "err", err)
	}
}

func (f *TLSFaults) changed(o *TLSOptions) {
	if f != nil && f.Log != nil {
		f.Log.Info("changed TLS files are in use for new connections", "ca_file", o.CAFile, "cert_file", o.CertFile)
	}
}
