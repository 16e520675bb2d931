package app

import (
	"os"
	"runtime/debug"

	"github.com/perfd/perfd/internal/config"
)

// manySteps is from how many steps on most memory is what they are counted in, which lives as
// long as they do, and manyStepsGC by how many per cent the heap grows then until it is
// collected. Go's default of 100 would double that memory for garbage of which there is little:
// windows, verdicts and reloads make it, requests hardly any. A small heap keeps the default,
// as its collections would be many more.
const (
	manySteps   = 2000
	manyStepsGC = 35

	// reloadGC is the same during a reload, which for a moment takes what would be
	// collected several times over.
	reloadGC = 60
)

// loosen lets the heap of a daemon with many steps grow more until restore is called.
func loosen() (restore func()) {
	was := debug.SetGCPercent(reloadGC)
	if was != manyStepsGC {
		debug.SetGCPercent(was)
		return func() {}
	}
	return func() { debug.SetGCPercent(was) }
}

// boundGarbage sets when the heap of a daemon with a document is collected, where the
// environment does not say it by GOGC.
func boundGarbage(doc *config.Document) {
	steps := 0
	for _, s := range doc.Scenarios {
		steps += len(s.Program.Steps)
	}
	if steps >= manySteps && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(manyStepsGC)
	}
}
