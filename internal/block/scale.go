package block

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// What the tag scale of a field says of its value.
const (
	ScaleTime = "time" // a time that a rehearsal shortens
	ScaleLoad = "load" // an amount of load that a rehearsal makes smaller
)

// A Scaling is what a rehearsal multiplies the values of fields with, by their tag. Its factors are more than 0.
type Scaling struct{ Time, Load float64 }

// Scaled is a type that multiplies itself.
type Scaled interface {
	// ScaleBlock multiplies a value that was decoded without a mistake.
	ScaleBlock(by float64)
}

// Scale has everything below n decoded as a rehearsal asks for; nil is no rehearsal.
func (n *Node) Scale(s *Scaling) {
	n.scaling = s
	for _, k := range n.Keys {
		k.Value.Scale(s)
	}
	for _, item := range n.Items {
		item.Scale(s)
	}
}

// Scaling is what values below n are multiplied with, by 1 where there is no rehearsal.
func (n *Node) Scaling() Scaling {
	if n.scaling == nil {
		return Scaling{1, 1}
	}
	return *n.scaling
}

// fields multiplies the fields of a struct that have the tag.
func (s *Scaling) fields(known []Field, v reflect.Value) {
	for _, f := range known {
		switch f.Scale {
		case "":
		case ScaleTime:
			scaleValue(v.FieldByIndex(f.index), s.Time)
		case ScaleLoad:
			scaleValue(v.FieldByIndex(f.index), s.Load)
		default:
			panic(fmt.Sprintf("block: the field %s of %s is scaled by %q", f.Name, v.Type(), f.Scale))
		}
	}
}

func scaleValue(v reflect.Value, by float64) {
	if v.Kind() == reflect.Pointer {
		if !v.IsNil() {
			scaleValue(v.Elem(), by)
		}
		return
	}
	switch t := v.Addr().Interface().(type) {
	case Scaled:
		t.ScaleBlock(by)
		return
	case *Duration:
		*t = t.times(by)
		return
	case *Rate:
		*t = t.Times(by)
		return
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(Times(int(v.Int()), by)))
	case reflect.Float64:
		v.SetFloat(v.Float() * by)
	default:
		panic("block: a field of type " + v.Type().String() + " cannot be scaled")
	}
}

// Times returns a scaled number of things, rounded, and at least one where there was one.
func Times(n int, by float64) int {
	if n < 1 {
		return n
	}
	return max(1, int(math.Round(float64(n)*by)))
}

// times returns a scaled duration, at least 1ns where there was one.
func (d Duration) times(by float64) Duration {
	if d <= 0 {
		return d
	}
	return max(1, Duration(math.Round(min(float64(d)*by, math.MaxInt64/2))))
}

// Times returns a scaled rate, rounded as Round does.
func (r Rate) Times(by float64) Rate { return Rate{r.Count * by, r.Per}.Round() }

// Round returns the rate with as many decimals as a plan can keep exactly beside those of others.
func (r Rate) Round() Rate {
	fine := min(1e8, math.Pow10(int(math.Floor(math.Log10(1e17/float64(max(r.Per, time.Nanosecond)))))))
	return Rate{math.Round(r.Count*fine) / fine, r.Per}
}
