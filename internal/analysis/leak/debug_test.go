package leak

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis/analysistest"
)

func TestDebug(t *testing.T) {
	list := shapes()
	if os.Getenv("SET") == "b" {
		list = independent()
	}
	salt, _ := strconv.Atoi(os.Getenv("SALT"))
	n, _ := strconv.Atoi(os.Getenv("N"))
	for ci, c := range list {
		if c.name != os.Getenv("ONLY") {
			continue
		}
		for _, span := range c.spans {
			if o := os.Getenv("SPAN"); o != "" && o != fmt.Sprint(span) {
				continue
			}
			for k := range n {
				x := c.make(rand.New(rand.NewPCG(uint64(salt*1000+k), uint64(ci)*100+uint64(span))), span)
				o := x.once()
				m := o.m
				fmt.Printf("--- %d: %s %v earlier %d\n", k, o.once, m.judgement.objection, len(m.earlier))
				if o.once == 2 && c.leak {
					continue
				}
				th := &Defaults
				all := m.stretches(math.Inf(-1), math.Inf(1))
				for i := range all {
					all[i].falls = findCollections(all[i].points, th)
					fmt.Printf("   life %.2fh falls %d cycle %.0fs swing %.3g (level %.3g)\n", all[i].span()/3600, len(all[i].falls.at), all[i].falls.length, all[i].falls.swing, all[i].points[0].low)
				}
				show := func(name string, s []stretch) {
					x := examine(s, 10000, &m.resource.target.traffic, th)
					fmt.Printf("   %s lack %d blocks %d cycles %d block %.0fs lives %d p %.2g slope/h %.3g factor %.1f growth %.3f late %.2f lateP %.2g bend %.1f steps %d obj %d\n", name, x.lack, x.blocks, x.cycles, x.block, x.lives, x.trend.p, x.trend.slope*3600, x.trend.factor, x.growth, x.trend.late/x.trend.slope, x.trend.lateP, x.trend.bend, x.trend.steps, x.objects(&m.resource.Resource, th))
				}
				if len(all) > 1 {
					show("pooled", all)
				}
				cur := all[len(all)-1]
				show("whole", all[len(all)-1:])
				for _, sh := range []float64{.5, .25} {
					show(fmt.Sprint(sh), []stretch{cur.after(cur.points[len(cur.points)-1].at - sh*cur.span())})
				}
			}
		}
	}
}

func TestWay(t *testing.T) {
	list := shapes()
	if os.Getenv("SET") == "b" {
		list = independent()
	}
	salt, _ := strconv.Atoi(os.Getenv("SALT"))
	n, _ := strconv.Atoi(os.Getenv("N"))
	for ci, c := range list {
		if c.name != os.Getenv("ONLY") {
			continue
		}
		for _, span := range c.spans {
			if o := os.Getenv("SPAN"); o != "" && o != fmt.Sprint(span) {
				continue
			}
			for k := range n {
				x := c.make(rand.New(rand.NewPCG(uint64(salt*1000+k), uint64(ci)*100+uint64(span))), span)
				fmt.Printf("--- %d\n", k)
				a := New()
				was := -1
				x.feed(a, func(at time.Time, hours float64) {
					a.Judge(at)
					m := a.targets["shop"].resources["heap"].members[""]
					if m == nil {
						return
					}
					j := m.judgement
					if int(j.verdict) != was {
						was = int(j.verdict)
						x := j.x
						fmt.Printf("   %.2f h: %s obj %d earlier %d lack %d from %.1fh span %.2fh blocks %d cycles %d cycle %.0f swing %.3g start %.3g p %.2g growth %.3f factor %.1f late %.2f bend %.1f load %.3g\n", hours, j.verdict, j.objection, len(m.earlier), x.lack, (x.from-seconds(analysistest.Zero))/3600, x.span/3600, x.blocks, x.cycles, x.cycle, x.swing, x.start, x.trend.p, x.growth, x.trend.factor, x.trend.late/x.trend.slope, x.trend.bend, x.loadPart)
					}
				})
			}
		}
	}
}
