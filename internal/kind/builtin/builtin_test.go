package builtin

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

func TestAnalysesAreDescribed(t *testing.T) {
	keys := block.FieldNames(block.Fields(reflect.TypeFor[config.Scenario]()))
	names, found, sent := map[string]bool{}, map[load.Kind]bool{load.KindRun: true}, map[*metric.Desc]bool{}
	for _, k := range Kinds().Analyses {
		if k.Name == "" || k.Doc == "" || k.New == nil || names[k.Name] {
			t.Errorf("%q has no name, sentence or constructor, or is listed twice", k.Name)
		}
		names[k.Name] = true
		if (k.Block == nil) != (k.BlockDoc == "") {
			t.Errorf("%s: a block and its description go together", k.Name)
		}
		if k.Block != nil && slices.Contains(keys, k.Name) {
			t.Errorf("%s: a scenario has such a key already", k.Name)
		}
		if len(k.Findings) == 0 {
			t.Errorf("%s makes no findings", k.Name)
		}
		for _, f := range k.Findings {
			if f.Kind == "" || f.Word == "" || f.Headline == "" || f.Gravity == 0 || found[f.Kind] {
				t.Errorf("%s: findings of kind %q have no word, headline or gravity, or are another analysis's too", k.Name, f.Kind)
			}
			found[f.Kind] = true
			if f.Speech == analysis.Summed && f.Topic == "" {
				t.Errorf("%s: runs speak of findings of kind %s, which have no topic", k.Name, f.Kind)
			}
		}
		for _, d := range k.Metrics {
			if sent[d] || !slices.Contains(metric.All(), d) {
				t.Errorf("%s: metric %s is another analysis's too, or not in the catalogue", k.Name, d.Name)
			}
			sent[d] = true
		}
	}
}

// The words that pages and reports have for each kind of findings, the gravest first.
func TestTheWordsOfFindings(t *testing.T) {
	var b strings.Builder
	for _, f := range Kinds().Analyses.Findings() {
		fmt.Fprintf(&b, "%s\n  first page: %s\n", f.Word, f.Headline)
		if f.Topic != "" {
			fmt.Fprintf(&b, "  not proven: %s\n", f.Topic)
		}
		if f.Clean != "" {
			fmt.Fprintf(&b, "  clean:      %s\n", f.Clean)
		}
	}
	golden(t, "words.txt", b.String())
}
