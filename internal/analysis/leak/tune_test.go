package leak

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/perfd/perfd/internal/load"
)

func TestTune(t *testing.T) {
	n, _ := strconv.Atoi(cmp.Or(os.Getenv("N"), "5"))
	salt, _ := strconv.Atoi(os.Getenv("SALT"))
	list := shapes()
	if os.Getenv("SET") == "b" {
		list = independent()
	}
	looks := os.Getenv("LOOK") != ""
	var tot [2][6]int
	for ci, c := range list {
		if o := os.Getenv("ONLY"); o != "" && o != c.name {
			continue
		}
		for _, span := range c.spans {
			if o := os.Getenv("SPAN"); o != "" && o != fmt.Sprint(span) {
				continue
			}
			var s [6]int
			why := map[objection]int{}
			var lacks [8]int
			var first []float64
			for k := range n {
				x := c.make(rand.New(rand.NewPCG(uint64(salt*1000+k), uint64(ci)*100+uint64(span))), span)
				var o outcome
				if looks {
					o = x.watch()
				} else {
					o = x.once()
				}
				s[0]++
				if o.once == load.Fail {
					s[1]++
				}
				if o.once == load.Pass {
					s[2]++
				}
				if o.final == load.Fail {
					s[3]++
				}
				if o.ever {
					s[4]++
					first = append(first, o.first)
				}
				if o.once != load.Fail {
					why[o.m.judgement.objection]++
					lacks[o.m.judgement.x.lack]++
				}
			}
			i := 0
			if c.leak {
				i = 1
			}
			for j := range s {
				tot[i][j] += s[j]
			}
			slices.Sort(first)
			fmt.Printf("%-24s %3g h leak=%-5v n %3d fail %3d pass %3d | final %3d ever %3d", c.name, span, c.leak, s[0], s[1], s[2], s[3], s[4])
			if len(first) > 0 {
				fmt.Printf(" first %.1f..%.1f h", first[0], first[len(first)/2])
			}
			fmt.Println("  ", why, lacks)
		}
	}
	for i, s := range tot {
		if s[0] > 0 {
			f := func(v int) float64 { return 100 * float64(v) / float64(s[0]) }
			fmt.Printf("%s n %d fail %.1f%% pass %.1f%% | final %.1f%% ever %.1f%%\n", []string{"harmless", "leak"}[i], s[0], f(s[1]), f(s[2]), f(s[3]), f(s[4]))
		}
	}
}
