package demo

import (
	"bytes"
	"embed"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"time"
)

//go:embed page.html
var pageFile embed.FS

var page = template.Must(template.New("page.html").ParseFS(pageFile, "page.html"))

// A panel is where a person or a program turns the knobs of a target.
type panel struct {
	*faults
	name     string // of the target
	playing  func() (script []Scene, began time.Time)
	takeOver func() // called after somebody turned the knobs
}

func (p panel) mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.show)
	mux.HandleFunc("GET /knobs", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, p.Knobs()) })
	// A page of another site must not turn the knobs of a target on somebody's laptop.
	protected := http.NewCrossOriginProtection()
	mux.Handle("POST /knobs", protected.Handler(http.HandlerFunc(p.turn)))
	mux.Handle("POST /turn", protected.Handler(http.HandlerFunc(p.turnByForm)))
}

// turn changes the knobs that a request names and leaves the others.
func (p panel) turn(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
	if err == nil {
		err = p.change(func(k *Knobs) error { return decode(text, k) })
	}
	if err != nil {
		wrong(w, http.StatusBadRequest, err.Error())
		return
	}
	p.takeOver()
	reply(w, http.StatusOK, p.Knobs())
}

// A pageView is what the page shows.
type pageView struct {
	Name    string
	Knobs   Knobs
	Errors  float64 // per cent
	LeakKiB float64
	Delay   float64 // in milliseconds
	Script  []sceneView
	Wrong   string
}

type sceneView struct {
	At           string
	What, Expect string
	Past         bool
}

// show answers with the page on which a person turns the knobs.
func (p panel) show(w http.ResponseWriter, _ *http.Request) { p.write(w, http.StatusOK, "") }

func (p panel) write(w http.ResponseWriter, code int, wrong string) {
	k := p.Knobs()
	v := pageView{Name: p.name, Knobs: k, Errors: 100 * k.ErrorRatio[""], LeakKiB: float64(k.LeakPerRequest) / 1024, Delay: time.Duration(k.Delay).Seconds() * 1000, Wrong: wrong}
	script, began := p.playing()
	for _, scene := range script {
		m := int(scene.At.Minutes())
		v.Script = append(v.Script, sceneView{
			At: strconv.Itoa(m) + ":" + strconv.Itoa(100 + int(scene.At.Seconds()) - 60*m)[1:], What: scene.What, Expect: scene.Expect,
			Past: time.Since(began) >= scene.At,
		})
	}
	var out bytes.Buffer
	if err := page.Execute(&out, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	w.Write(out.Bytes())
}

// turnByForm changes the knobs that the page has.
func (p panel) turnByForm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	number := func(name string) (v float64, err error) {
		if text := r.PostFormValue(name); text != "" {
			v, err = strconv.ParseFloat(text, 64)
		}
		return v, err
	}
	slowdown, err := number("slowdown")
	errors, err2 := number("errors")
	leak, err3 := number("leak")
	delay, err4 := number("delay")
	for _, e := range []error{err, err2, err3, err4} {
		if e != nil {
			p.write(w, http.StatusBadRequest, e.Error())
			return
		}
	}
	err = p.change(func(k *Knobs) error {
		k.Slowdown, k.LeakPerRequest, k.Hang = slowdown, int(leak*1024), r.PostFormValue("hang") != ""
		if r.PostForm.Has("delay") { // the page of a service has it
			k.Delay = Duration(delay * float64(time.Millisecond))
		}
		if release := r.PostFormValue("release"); release != "" {
			k.Release = release
		}
		if errors != 100*k.ErrorRatio[""] {
			k.ErrorRatio = map[string]float64{"": errors / 100}
		}
		return nil
	})
	if err != nil {
		p.write(w, http.StatusBadRequest, err.Error())
		return
	}
	p.takeOver()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
