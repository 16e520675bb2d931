// Package credential holds what requests of load prove with who they are: tokens
// that are fetched and renewed outside measured time, fixed fields, and signatures.
//
// A Credential belongs to the process, not to a run: all virtual users of all
// scenarios that name it send the same value. Its Keeper is one goroutine, which
// alone asks for values; whoever sends a request reads the current one without a lock.
package credential

import (
	"context"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A Kind describes one kind of credential to the configuration. Its name is the key
// of its block in an entry of credentials.
type Kind struct {
	Name, Doc string
	// New returns a new block with its defaults, to be decoded into.
	New func() Config
}

// A Config is the decoded block of one credential.
type Config interface {
	// Open returns what makes values. It asks nobody; it reports every mistake to o.Errors, and then may return nil.
	Open(o *Opener) Source
	// Fields are the names of the header fields that values set.
	Fields() []string
}

// An Opener is what a Config needs to become a Source.
type Opener struct {
	// Dir is the folder that relative paths of files start from.
	Dir string
	// Allowed returns an error unless requests may go to a host; nil allows all.
	Allowed func(host string) error
	At      *block.Node // the block
	Errors  *block.Errors
}

// A Source makes the values of one credential. Its methods are called by one goroutine at a time.
type Source interface {
	// Fetch returns a new value. An error that tells more than its text is an *Error.
	Fetch(ctx context.Context, by *Client) (*Value, error)
}

// Remote is implemented by a Source that asks another process for its values.
type Remote interface {
	Endpoint() *Endpoint
}

// A Value is what makes a request one of its credential's. It is immutable.
type Value struct {
	// Header is the header fields as HTTP/1.1 writes them, each with its line end.
	Header []byte
	// Query is what is added to the query, encoded; empty for nothing.
	Query []byte
	// Sign, if not nil, appends the header fields that depend on the request. It is safe for concurrent use.
	Sign func(dst []byte, r *Request) ([]byte, error)

	// Lifetime is how long the value is good for, from the begin of Fetch on; 0 is for ever.
	Lifetime time.Duration
	// Again is when a value without a Lifetime is looked for again; 0 is never.
	Again time.Duration
	// Secrets are texts that must not be shown.
	Secrets []string
}

// A Request is what a signature is of.
type Request struct {
	Method string
	Host   []byte // value of the Host field
	Target []byte // path and query as they are sent
	Body   []byte
	File   io.ReadSeeker // the body instead of Body; nil for none
	At     time.Time
}

// writeBody writes the body.
func (r *Request) writeBody(to io.Writer) error {
	if r.File == nil {
		_, err := to.Write(r.Body)
		return err
	}
	if _, err := r.File.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(to, r.File)
	return err
}

// A Definition is an entry of credentials.
type Definition struct {
	Name block.Text
	// Blocks are its keys, which package config decodes: it knows the kinds.
	Blocks []block.Key
	At     *block.Node

	Fields []string
	Source Source // nil where something is wrong
}

// DecodeBlock keeps the keys.
func (d *Definition) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind != block.Map {
		errs.Add(n.Pos, n.Path, "must be a mapping with one kind of credential, got %s", n.Found()).Hint = "write oauth2: {…}, bearer: {…} or another kind"
		return
	}
	d.At, d.Blocks = n, n.Keys
}

// JSONSchema describes an entry whose kinds are not known.
func (Definition) JSONSchema() map[string]any { return map[string]any{"type": "object"} }

// Schema describes an entry: it is of one of the kinds.
func Schema(kinds []Kind) map[string]any {
	var of []any
	for _, k := range kinds {
		one := block.Schema(reflect.ValueOf(k.New()).Elem().Interface())
		one["description"] = k.Doc
		of = append(of, map[string]any{
			"type": "object", "additionalProperties": false, "required": []any{k.Name}, "properties": map[string]any{k.Name: one},
		})
	}
	return map[string]any{"anyOf": of}
}

// Decode decodes the entry's block, which must be one of a kind.
func (d *Definition) Decode(kinds []Kind, dir string, allowed func(host string) error, errs *block.Errors) {
	if d.At == nil {
		return // decoding said why
	}
	names := make([]string, len(kinds))
	for i := range kinds {
		names[i] = kinds[i].Name
	}
	var of []block.Key
	for _, key := range d.Blocks {
		if slices.Contains(names, key.Name) {
			of = append(of, key)
		} else {
			block.UnknownKey(key, d.At.Path, names, errs)
		}
	}
	if len(of) != 1 {
		if len(of) == len(d.Blocks) {
			errs.Add(d.At.Pos, d.At.Path, "has %d kinds of credential, must have one", len(of)).Hint = "kinds are " + join(names)
		}
		return
	}
	c := kinds[slices.Index(names, of[0].Name)].New()
	before := errs.Len()
	if block.Decode(of[0].Value, c, errs); errs.Len() > before {
		return
	}
	d.Fields = c.Fields()
	d.Source = c.Open(&Opener{Dir: dir, Allowed: allowed, At: of[0].Value, Errors: errs})
}

func join(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
