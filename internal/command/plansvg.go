package command

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"github.com/perfd/perfd/internal/amount"
)

// svg draws the load as a picture of its own, which needs nothing else and follows the
// light or dark scheme of who looks at it.
func (p *planned) svg() []byte {
	const (
		width, height            = 960, 320
		left, right, top, bottom = 64, 16, 40, 56
		across, down             = width - left - right, height - top - bottom
	)
	x := func(share float64) float64 { return left + across*share }
	most := p.peak
	if most == 0 {
		most = 1
	}
	y := func(level float64) float64 { return top + down*(1-level/most) }
	var b bytes.Buffer
	title := p.scenario.Name.S + ": " + p.title()
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\">\n", width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(title))
	fmt.Fprint(&b, "<style>svg{background:#fff;color:#222}.peak{fill:#2563eb;opacity:.25}.mean{fill:#2563eb;opacity:.75}.warm{fill:#d97706;opacity:.25}.closed{fill:#888;opacity:.3}"+
		"@media(prefers-color-scheme:dark){svg{background:#18181b;color:#ddd}.peak,.mean{fill:#60a5fa}}text{fill:currentColor}line{stroke:currentColor;opacity:.25}</style>\n")
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"20\" font-size=\"14\">%s</text>\n", left, html.EscapeString(title))
	bands := func(class, name string, all []period) {
		for _, one := range all {
			fmt.Fprintf(&b, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>%s</title></rect>\n",
				class, x(p.place(one.Begin)), top, max(1, across*(p.place(one.End)-p.place(one.Begin))), down, name)
		}
	}
	bands("closed", "blackout", p.blackouts())
	bands("warm", "warm-up", p.warmUps)
	points := p.points(planPoints)
	area := func(class string, level func(point) float64) {
		var d strings.Builder
		fmt.Fprintf(&d, "M%.1f,%.1f", x(0), y(0))
		for i, pt := range points {
			fmt.Fprintf(&d, "V%.1fH%.1f", y(level(pt)), x(float64(i+1)/planPoints))
		}
		fmt.Fprintf(&b, "<path class=\"%s\" d=\"%sV%.1fZ\"/>\n", class, d.String(), y(0))
	}
	area("peak", func(pt point) float64 { return pt.Peak })
	area("mean", func(pt point) float64 { return pt.Mean })
	for _, share := range []float64{0, 0.25, 0.5, 0.75, 1} {
		fmt.Fprintf(&b, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", left, width-right, y(share*most), y(share*most))
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", left-6, y(share*most)+4, amount.Count(share*most))
	}
	for _, t := range p.ticks(10) {
		at := x(p.place(t.at))
		fmt.Fprintf(&b, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><text x=\"%.1f\" y=\"%d\">%s</text>\n", at, at, top, height-bottom+6, at, height-bottom+18, t.label)
	}
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\">%s</text>\n</svg>\n", left, height-12, html.EscapeString(p.load()))
	return b.Bytes()
}
