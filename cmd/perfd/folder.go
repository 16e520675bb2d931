package main

import (
	"os"
	"path/filepath"
)

// A file is one that perfd ships, such as a dashboard.
type file struct {
	Name string
	Text []byte
}

// writeFolder writes files to a folder, which it makes where it is missing.
func writeFolder[F ~struct {
	Name string
	Text []byte
}](folder string, files []F) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		f := file(f)
		if err := os.WriteFile(filepath.Join(folder, f.Name), f.Text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
