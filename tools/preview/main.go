// Command preview draws dashboards from what their queries returned, so that a
// person can see them without a Grafana.
//
//	preview UPLOT RESULTS FOLDER
//
// UPLOT is the folder of uPlot's distribution. RESULTS holds one JSON file for
// each dashboard, as the end-to-end test of the dashboards writes it; FOLDER gets
// one PNG for each, drawn by a headless Chromium, once all of them are drawn.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed page.html
var page string

//go:embed draw.js
var draw string

const (
	width   = 1600 // of a picture, in pixels
	cell    = 38   // height of a grid cell, Grafana's
	header  = 96   // height of what stands above the panels
	largest = 300_000

	patience = 2 * time.Minute // with a browser
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: preview UPLOT RESULTS FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "preview:", err)
		os.Exit(1)
	}
}

func run(uplot, results, folder string) error {
	script, err := os.ReadFile(filepath.Join(uplot, "uPlot.iife.min.js"))
	if err != nil {
		return err
	}
	style, err := os.ReadFile(filepath.Join(uplot, "uPlot.min.css"))
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(results, "*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no results", results)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	t, err := template.New("page").Parse(page)
	if err != nil {
		return err
	}
	pictures := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		h, err := height(text)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		var html bytes.Buffer
		if err := t.Execute(&html, map[string]any{
			"Style": template.CSS(style), "UPlot": template.JS(script), "Draw": template.JS(draw), "Dashboard": template.JS(text),
		}); err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		picture, err := shoot(html.Bytes(), h)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		pictures[name] = picture
	}
	for name, picture := range pictures {
		if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// height is how high the picture of a dashboard is, in pixels.
func height(dashboard []byte) (int, error) {
	var d struct {
		Panels []struct {
			GridPos struct{ H, Y int }
		}
	}
	if err := json.Unmarshal(dashboard, &d); err != nil {
		return 0, err
	}
	bottom := 0
	for _, p := range d.Panels {
		bottom = max(bottom, p.GridPos.Y+p.GridPos.H)
	}
	return header + bottom*cell, nil
}

// shoot returns the picture of a page, in few colours, which keeps it small. A browser that takes too long, as one may
// on a busy machine, is started once more.
func shoot(html []byte, height int) ([]byte, error) {
	dir, err := os.MkdirTemp("", "preview-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	from, shot := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.png")
	if err := os.WriteFile(from, html, 0o644); err != nil {
		return nil, err
	}
	if err := browse(dir, from, shot, height); err != nil {
		if err = browse(dir, from, shot, height); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(shot)
	if err != nil {
		return nil, err
	}
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, reduced(picture)); err != nil {
		return nil, err
	}
	if small.Len() > largest {
		return nil, fmt.Errorf("the picture has %d bytes, want at most %d", small.Len(), largest)
	}
	return small.Bytes(), nil
}

// browse writes what a browser shows of a page to the file shot. Its profile is a new one in dir.
func browse(dir, page, shot string, height int) error {
	profile, err := os.MkdirTemp(dir, "profile-")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	chromium := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
		"--user-data-dir="+profile, fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+shot, "file://"+page)
	chromium.WaitDelay = patience // its children may outlive it, and hold the pipe open
	out, err := chromium.CombinedOutput()
	if _, missing := os.Stat(shot); err != nil || missing != nil {
		return fmt.Errorf("%w\n%s", errors.Join(err, missing), out)
	}
	return nil
}
