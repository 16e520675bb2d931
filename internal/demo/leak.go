package demo

// A leak is memory that nothing gives back. It grows by exactly what is asked for,
// rounded up to a chunk once, and every byte of it is written: memory that was
// only reserved would not be resident, and nobody who watches the process would see it.
type leak struct {
	chunks [][]byte
	room   []byte // what is left of the last chunk
}

const leakChunk = 64 << 10

func (l *leak) grow(n int) {
	for n > 0 {
		if len(l.room) == 0 {
			l.room = make([]byte, leakChunk)
			l.chunks = append(l.chunks, l.room)
		}
		m := min(n, len(l.room))
		for i := range l.room[:m] {
			l.room[i] = 0xA5
		}
		l.room = l.room[m:]
		n -= m
	}
}

// size is how many bytes are held.
func (l *leak) size() int { return len(l.chunks)*leakChunk - len(l.room) }
