package grpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

// Descriptors is the block of a target that says where its services are described.
type Descriptors struct {
	Protoset    []block.Text `yaml:"protoset" doc:"Files of descriptors, as protoc --include_imports --descriptor_set_out and buf build -o write them."`
	Proto       []block.Text `yaml:"proto" doc:"Files of definitions (.proto), by the names that others import them by."`
	ImportPaths []block.Text `yaml:"import_paths" doc:"Folders that proto and its imports are looked for in (default: the configuration file's)."`

	mu     sync.Mutex // scenarios of a target are compiled side by side
	opened *protoregistry.Files
}

// inFiles reports whether services are described in files, and not by the server.
func (d *Descriptors) inFiles() bool { return len(d.Protoset)+len(d.Proto) > 0 }

// largestProtoset bounds a file of descriptors, in bytes.
const largestProtoset = 64 << 20

// open reads the files once. Mistakes go to k.Errors, and then it returns nil. It is safe for concurrent use.
func (d *Descriptors) open(k *protocol.Compiler) *protoregistry.Files {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opened != nil || !d.inFiles() {
		return d.opened
	}
	before := k.Errors.Len()
	set := map[string]*descriptorpb.FileDescriptorProto{}
	for _, name := range d.Protoset {
		if err := readProtoset(k.Path(name.S), set); err != nil {
			k.Errors.Add(name.Pos, name.Path, "%v", err).Hint = "write it by protoc --include_imports --descriptor_set_out=FILE or buf build -o FILE"
		}
	}
	d.compile(k, set)
	if k.Errors.Len() > before {
		return nil
	}
	files, err := filesOf(set)
	if err != nil {
		at := slices.Concat(d.Protoset, d.Proto)[0]
		k.Errors.Add(at.Pos, at.Path, "%v", err).Hint = "give every file that another imports: protoc needs --include_imports"
		return nil
	}
	d.opened = files
	return files
}

// readProtoset adds the descriptors of a file to a set.
func readProtoset(path string, to map[string]*descriptorpb.FileDescriptorProto) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return withoutCall(err)
	case !st.Mode().IsRegular() || st.Size() > largestProtoset:
		return fmt.Errorf("%s is no file of descriptors", path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return withoutCall(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(content, &set); err != nil || len(set.File) == 0 {
		return fmt.Errorf("%s is no file of descriptors", path)
	}
	for _, f := range set.File {
		to[f.GetName()] = f
	}
	return nil
}

// withoutCall says what is wrong with a path without the system call's name.
func withoutCall(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

// compile adds the descriptors of .proto files, and of all that they import, to a set.
func (d *Descriptors) compile(k *protocol.Compiler, to map[string]*descriptorpb.FileDescriptorProto) {
	if len(d.Proto) == 0 {
		return
	}
	var paths []string
	for _, p := range d.ImportPaths {
		paths = append(paths, k.Path(p.S))
	}
	if len(paths) == 0 {
		paths = []string{cmpDir(k.Dir)}
	}
	for _, name := range d.Proto {
		var mistakes []reporter.ErrorWithPos
		c := protocompile.Compiler{
			Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: paths}),
			Reporter: reporter.NewReporter(func(err reporter.ErrorWithPos) error {
				mistakes = append(mistakes, err)
				return nil
			}, nil),
		}
		compiled, err := c.Compile(context.Background(), filepath.ToSlash(name.S))
		for _, m := range mistakes {
			e := k.Errors.Add(name.Pos, name.Path, "%v: %v", m.GetPosition(), m.Unwrap())
			if strings.Contains(m.Unwrap().Error(), "edition value") {
				e.Hint = "perfd compiles proto2, proto3 and edition 2023; let protoc or buf compile the files and give the result as protoset"
			}
		}
		switch {
		case len(mistakes) > 0:
		case errors.Is(err, protoregistry.NotFound), errors.Is(err, os.ErrNotExist):
			k.Errors.Add(name.Pos, name.Path, "%v", err).Hint = "looked for in " + strings.Join(paths, ", ") + "; see import_paths"
		case err != nil:
			k.Errors.Add(name.Pos, name.Path, "%v", err)
		default:
			for _, f := range compiled {
				addFile(f, to)
			}
		}
	}
}

// cmpDir returns the folder that relative paths start from.
func cmpDir(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// addFile adds the descriptor of a file and of its imports to a set.
func addFile(f protoreflect.FileDescriptor, to map[string]*descriptorpb.FileDescriptorProto) {
	if _, is := to[f.Path()]; is {
		return
	}
	to[f.Path()] = protodesc.ToFileDescriptorProto(f)
	for i := range f.Imports().Len() {
		addFile(f.Imports().Get(i).FileDescriptor, to)
	}
}

// filesOf links the descriptors of a set. What is imported and is neither there nor one of
// the files that every compiler brings along is left out, as servers leave it out.
func filesOf(set map[string]*descriptorpb.FileDescriptorProto) (*protoregistry.Files, error) {
	for _, f := range set {
		for _, name := range f.Dependency {
			if _, is := set[name]; is {
				continue
			}
			if known, err := protoregistry.GlobalFiles.FindFileByPath(name); err == nil && strings.HasPrefix(name, "google/protobuf/") {
				addFile(known, set)
			}
		}
	}
	all := &descriptorpb.FileDescriptorSet{}
	for _, f := range set {
		all.File = append(all.File, f)
	}
	return protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(all)
}

// A mistake is what is wrong with the name of a method.
type mistake struct{ text, hint string }

// methodOf returns the method of a name of the form package.Service/Method.
func methodOf(files *protoregistry.Files, service, method string) (protoreflect.MethodDescriptor, *mistake) {
	d, err := files.FindDescriptorByName(protoreflect.FullName(service))
	s, ok := d.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return nil, &mistake{"there is no service " + service, block.Nearest(service, services(files))}
	}
	m := s.Methods().ByName(protoreflect.Name(method))
	if m == nil {
		var names []string
		for i := range s.Methods().Len() {
			names = append(names, string(s.Methods().Get(i).Name()))
		}
		return nil, &mistake{fmt.Sprintf("%s has no method %s", service, method), block.Nearest(method, names)}
	}
	return m, nil
}

// services returns the names of the services, in order.
func services(files *protoregistry.Files) (names []string) {
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			names = append(names, string(f.Services().Get(i).FullName()))
		}
		return true
	})
	slices.Sort(names)
	return names
}
