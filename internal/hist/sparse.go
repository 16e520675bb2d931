package hist

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
)

// AppendSparse appends a compact form of h that DecodeSparse reads back
// exactly: Over and Sum, then the slots' counts from the lowest on, all as
// varints. A count of 0 is followed by the number of empty slots it stands for;
// where that is 0 too, the histogram ends.
func (h *Histogram) AppendSparse(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, h.over)
	dst = binary.AppendUvarint(dst, uint64(h.sum))
	next := 0
	for i, o := range &h.octaves {
		if o == nil {
			continue
		}
		for j, low := range o {
			slot := i<<octaveBits + j
			n := uint64(low)
			if h.carries != nil {
				n += h.carries[slot] << 32
			}
			if n == 0 {
				continue
			}
			if slot > next {
				dst = binary.AppendUvarint(append(dst, 0), uint64(slot-next))
			}
			dst = binary.AppendUvarint(dst, n)
			next = slot + 1
		}
	}
	return append(dst, 0, 0)
}

var (
	errSparseShort = errors.New("sparse histogram: it ends too early")
	errSparseRange = errors.New("sparse histogram: a number is out of range")
)

// DecodeSparse reads into h, which must be empty, what AppendSparse wrote at the
// beginning of src, and returns what follows it. After an error h is of no use.
func (h *Histogram) DecodeSparse(src []byte) (rest []byte, err error) {
	over, at := varint(src, 0)
	sum, at := varint(src, at)
	h.over, h.sum = over, int64(sum)
	var made builder
	var o *octave
	end := 0 // slot at which o ends
	for slot := 0; ; {
		// Nearly all of what is left of an octave, fewer than 0x80 slots, are counts
		// and gaps of one byte.
		var small uint64
		for slot < end && at+1 < len(src) {
			n, gap := src[at], int(src[at+1])
			if n >= 0x80 || n == 0 && (gap == 0 || gap > end-slot) {
				break
			}
			if n == 0 {
				slot += gap
				at += 2
				continue
			}
			o[slot&(octaveLen-1)] = uint32(n)
			small += uint64(n)
			slot++
			at++
		}
		h.count += small
		var n uint64
		if n, at = varint(src, at); n == 0 {
			if n, at = varint(src, at); n == 0 {
				break
			}
			if n > uint64(slots-slot) {
				return nil, errSparseRange
			}
			slot += int(n)
			continue
		}
		if slot >= end {
			if slot == slots {
				return nil, errSparseRange
			}
			o = made.next(h, slot>>octaveBits)
			end = slot | (octaveLen - 1) + 1
		}
		o[slot&(octaveLen-1)] = uint32(n)
		if n > math.MaxUint32 {
			h.carry(slot, n>>32)
		}
		if h.count += n; h.count < n {
			return nil, errSparseRange
		}
		slot++
	}
	made.store(h)
	switch {
	case at > len(src):
		return nil, errSparseShort
	case h.over > h.count:
		return nil, errSparseRange
	}
	return src[at:], nil
}

// varint reads a number of src and returns where it ends, beyond src where there is none.
func varint(src []byte, at int) (v uint64, end int) {
	if at >= len(src) {
		return 0, len(src) + 1
	}
	v, n := binary.Uvarint(src[at:])
	if n <= 0 {
		return 0, len(src) + 1
	}
	return v, at + n
}

// Equal reports whether h and g hold the same counts, sum and overflow.
func (h *Histogram) Equal(g *Histogram) bool {
	if h == g {
		return true
	}
	if h.count != g.count || h.over != g.over || h.sum != g.sum || !maps.Equal(h.carries, g.carries) {
		return false
	}
	for i, a := range &h.octaves {
		b := g.octaves[i]
		if a == nil {
			a = &noOctave
		}
		if b == nil {
			b = &noOctave
		}
		if a != b && *a != *b {
			return false
		}
	}
	return true
}

// noOctave stands for one that does not exist. Nothing writes to it.
var noOctave octave
