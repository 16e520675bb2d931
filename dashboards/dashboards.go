// Package dashboards holds perfd's Grafana dashboards, each of which answers
// one question.
//
// The files are written by the package build below it and only embedded here.
package dashboards

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed *.json
var files embed.FS

// A File is a dashboard: the text that Grafana reads, and its name.
type File struct {
	Name string // such as overview.json
	Text []byte
}

// All returns the dashboards, by name.
func All() []File {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		panic(err) // only a malformed pattern is an error
	}
	list := make([]File, len(names))
	for i, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(err) // what is embedded can be read
		}
		list[i] = File{name, text}
	}
	return list
}

// ConfigMaps returns the same dashboards as Kubernetes ConfigMaps, with the label
// for which the sidecar of Grafana's Helm chart looks.
func ConfigMaps() []File {
	list := All()
	for i, f := range list {
		var text bytes.Buffer
		fmt.Fprintf(&text, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: perfd-dashboard-%s\n  labels: {grafana_dashboard: \"1\"}\ndata:\n  perfd-%s: |\n",
			strings.TrimSuffix(f.Name, ".json"), f.Name)
		for line := range bytes.Lines(f.Text) {
			text.WriteString("    ")
			text.Write(line)
		}
		list[i] = File{strings.TrimSuffix(f.Name, ".json") + ".yaml", text.Bytes()}
	}
	return list
}
