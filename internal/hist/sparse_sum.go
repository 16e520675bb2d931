package hist

// A builder is where octaves are filled until it is known how many there are:
// those of one histogram are used together, so they are allocated together.
type builder struct {
	octaves [8]octave
	places  [8]int
	n       int
}

// next returns an empty octave that will be h's i-th.
func (b *builder) next(h *Histogram, i int) *octave {
	if b.n == len(b.octaves) {
		b.store(h)
		clear(b.octaves[:])
	}
	b.places[b.n] = i
	b.n++
	return &b.octaves[b.n-1]
}

// store moves the octaves to their places in h.
func (b *builder) store(h *Histogram) {
	kept := append([]octave(nil), b.octaves[:b.n]...)
	for i := range kept {
		h.octaves[b.places[i]] = &kept[i]
	}
	b.n = 0
}

// Sum returns what several histograms hold together, and leaves them as they are.
func Sum(parts []*Histogram) *Histogram {
	h := new(Histogram)
	var made builder
	for i := range octaves {
		var o *octave
		for _, p := range parts {
			switch from := p.octaves[i]; {
			case from == nil:
			case o == nil:
				o = made.next(h, i)
				*o = *from
			default:
				h.addOctave(i, o, from)
			}
		}
	}
	made.store(h)
	for _, p := range parts {
		for slot, n := range p.carries {
			h.carry(slot, n)
		}
		h.count += p.count
		h.over += p.over
		h.sum = plus(h.sum, p.sum)
	}
	return h
}

// addOctave adds an octave to o, which will be h's i-th.
func (h *Histogram) addOctave(i int, o, from *octave) {
	for j, n := range from {
		low := o[j] + n
		o[j] = low
		if low < n {
			h.carry(i<<octaveBits+j, 1)
		}
	}
}
