package grpc

import (
	"cmp"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // answers may come so
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// Compile turns the block into a step.
func (c *Config) Compile(k *protocol.Compiler) protocol.Step {
	before := k.Errors.Len()
	t, _ := k.Defaults.(*TargetConfig)
	if t == nil {
		t = DefaultTarget()
	}
	s := c.step(k, t)
	var on *streamStep
	if c.streams() {
		on = c.stream(s, k)
		s = &on.step
	}
	files := t.Descriptors.open(k)
	if k.Errors.Len() > before || c.Method.Path == "" && on == nil {
		return nil
	}
	if t.Descriptors.inFiles() && (c.Method.Path != "" || on.send != nil) {
		md, wrong := t.methodOf(files, s, k.Scenario, c.Stream)
		switch {
		case wrong != nil:
			k.Errors.Add(c.Method.Pos, c.Method.Path, "%s", wrong.text).Hint = wrong.hint
			return nil
		case c.Method.Path == "":
			if md != nil { // else the step that opens the stream comes later, or is another target's
				on.bindSend(md, dynamicpb.NewTypes(files), k.Errors)
			}
		default:
			s.bound = s.bind(md, dynamicpb.NewTypes(files), k.Errors)
		}
	}
	switch {
	case k.Errors.Len() > before:
		return nil
	case on != nil:
		return on
	}
	return s
}

// methodOf returns the step's method. For a step without one it is that of the stream which it uses, nil if that is not known.
func (t *TargetConfig) methodOf(files *protoregistry.Files, s *step, scenario, stream string) (protoreflect.MethodDescriptor, *mistake) {
	key := [2]string{scenario, stream}
	if s.method == "" {
		md, _ := t.streams.Load(key)
		known, _ := md.(protoreflect.MethodDescriptor)
		return known, nil
	}
	md, wrong := methodOf(files, s.service, s.method)
	if s.stream != nil && wrong == nil {
		t.streams.Store(key, md)
	}
	return md, wrong
}

// step compiles what all requests have.
func (c *Config) step(k *protocol.Compiler, t *TargetConfig) *step {
	s := &step{at: c.Method}
	if c.Method.Path == "" {
		s.at = block.Text{}
	} else {
		s.service, s.method = splitMethod(c.Method.S)
		s.path = "/" + s.service + "/" + s.method
	}
	s.to = t.endpoint(k)
	s.metadata = c.metadata(k, t)
	s.credential = c.credential(k, t)
	s.options = []grpc.CallOption{grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(int(t.MaxRead)), grpc.MaxCallSendMsgSize(math.MaxInt32)}
	if cmp.Or(c.Compression, t.Compression) == compressionGzip {
		s.options = append(s.options, grpc.UseCompressor(compressionGzip))
	}
	if c.Message != nil {
		s.message = newTree(c.Message, k.Symbols, k.Errors)
	}
	return s
}

// stream compiles what the step does on a stream.
func (c *Config) stream(of *step, k *protocol.Compiler) *streamStep {
	s := &streamStep{
		step: step{
			to: of.to, service: of.service, method: of.method, path: of.path, at: of.at, message: of.message,
			metadata: of.metadata, options: of.options, credential: of.credential,
		},
		key: protocol.Key{Kind: Kind.Name, Name: "stream " + c.Stream}, opens: of.method != "",
		rules: protocol.ParseStreamRules(c.Sequence, c.SequencePer, c.Each, k.Errors), reconnect: c.Reconnect, lifetime: c.Lifetime.D(),
		listen: int64(c.Listen), ends: c.Close == closeEnd, cancels: c.Close == closeCancel,
	}
	s.stream = s
	if c.Send != nil {
		s.send = newTree(c.Send, k.Symbols, k.Errors)
	}
	s.wanted = protocol.ParseWanted(c.Receive, c.Echo, k)
	return s
}

// bind compiles the step's messages by its method's descriptor. Mistakes go to errs.
func (s *step) bind(md protoreflect.MethodDescriptor, types *dynamicpb.Types, errs *block.Errors) *bound {
	b := binder{types: types, errs: errs}
	out := &bound{method: md, types: types}
	name := s.service + "." + s.method
	switch streaming := md.IsStreamingClient() || md.IsStreamingServer(); {
	case streaming && s.stream == nil:
		errs.Add(s.at.Pos, s.at.Path, "%s streams, and the step does not say what it does on the stream", name).
			Hint = "write stream to open one, or receive, listen or close: end beside it"
		return nil
	case !streaming && s.stream != nil:
		errs.Add(s.at.Pos, s.at.Path, "%s takes one message and answers one: it has no stream", name).Hint = "leave out the keys of streams"
		return nil
	}
	switch {
	case s.message != nil:
		out.first = newPayload(b.bind(s.message, md.Input()))
		out.greets = true
	case !md.IsStreamingClient():
		empty := &tree{node: &block.Node{Kind: block.Map, Pos: s.at.Pos, Path: s.at.Path}}
		out.first = newPayload(b.bind(empty, md.Input()))
		out.greets = true
	}
	if s.stream != nil {
		s.stream.bindSend(md, types, errs)
	}
	return out
}

// endpoint compiles where requests go.
func (t *TargetConfig) endpoint(k *protocol.Compiler) *endpoint {
	at := t.Address
	if at.Path == "" {
		at = k.Base
		if at.S == "" {
			return nil // the target's url was reported
		}
	}
	text := at.S
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || at.Path == t.Address.Path && (u.Path != "" || u.RawQuery != "" || u.User != nil) {
		k.Errors.Add(at.Pos, at.Path, "must be host:port or https://host:port, got %q", at)
		return nil
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	o, err := wire.ParseOrigin(address)
	if err != nil {
		k.Errors.Add(at.Pos, at.Path, "%v", err)
		return nil
	}
	k.CheckHost(o.Host, at)
	o.TLS = u.Scheme == "https"
	e := &endpoint{origin: o, address: address, authority: cmp.Or(t.Authority, u.Host), tls: t.TLS.Open(k), target: t}
	e.key = protocol.Key{Kind: Kind.Name, Name: strconv.FormatBool(o.TLS) + " " + address}
	return e
}

// A field is one entry of a request's metadata.
type field struct {
	name  string
	value *expr.Template
	fixed string // where the value has no expressions
	at    placed
}

// metadata compiles the metadata of the target and of the step, which replaces the target's of the same name.
func (c *Config) metadata(k *protocol.Compiler, t *TargetConfig) (fields []field) {
	for _, e := range slices.Concat(t.Metadata, c.Metadata) {
		f := field{name: strings.ToLower(e.Name.S), value: expr.ParseTemplate(e.Value, k.Symbols, k.Errors)}
		f.at = placed{e.Value.Pos.String() + ": " + e.Value.Path, e.Value.Hidden}
		if text, ok := f.value.Constant(); ok {
			if f.fixed, f.value = text, nil; !isValue(f.name, text) {
				k.Errors.Add(e.Value.Pos, e.Value.Path, "must be printable ASCII").Hint = "any bytes may be in metadata whose name ends in -bin"
			}
		}
		if i := slices.IndexFunc(fields, func(o field) bool { return o.name == f.name }); i >= 0 {
			fields[i] = f
		} else {
			fields = append(fields, f)
		}
	}
	return fields
}

// isValue reports whether text may be sent as metadata of a name.
func isValue(name, text string) bool {
	return strings.HasSuffix(name, "-bin") || strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// noCredential is the value of a key credentials that means none.
const noCredential = "none"

// credential returns the name of the entry of credentials that requests are sent with, empty for none.
func (c *Config) credential(k *protocol.Compiler, t *TargetConfig) string {
	name, own := k.Credentials, c.Credentials.Path != ""
	if own {
		name = c.Credentials.S
	}
	if name == "" || name == noCredential {
		return ""
	}
	var d *credential.Definition
	if k.Credential != nil {
		d = k.Credential(name)
	}
	if d == nil {
		if own {
			k.Errors.Add(c.Credentials.Pos, c.Credentials.Path, "there is no entry of credentials named %q", c.Credentials).Hint = "write one of the names below credentials, or none"
		}
		return "" // that of the target was reported
	}
	for _, e := range slices.Concat(c.Metadata, t.Metadata) {
		if slices.ContainsFunc(d.Fields, func(f string) bool { return strings.EqualFold(f, e.Name.S) }) {
			return ""
		}
	}
	return name
}
