package record

import "github.com/perfd/perfd/internal/load"

// A messageCell counts what happened on the streams that a step opened.
type messageCell struct {
	load.MessageCounts
	closes      []load.CodeCount // by rising code
	otherCloses uint64           // with codes beyond the cap
}

// recordMessage counts what happened on a stream, all but its timings. It keeps nothing of it.
func (c *stepCell) recordMessage(m *load.Message, maxCodes int) {
	x := c.messages
	if x == nil {
		x = new(messageCell)
		c.messages = x
	}
	for i := range m.Count {
		x.Count[i] += m.Count[i]
		x.Bytes[i] += uint64(m.Bytes[i])
	}
	x.Missing += m.Missing
	x.Reordered += one(m.Reordered)
	x.Repeated += one(m.Repeated)
	x.Unmet += one(m.Unmet)
	if m.Closed {
		x.close(load.CodeCount{Code: m.Code, Count: 1}, maxCodes)
	}
}

func one(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// close counts ends with one code, as others where it would be one beyond the cap.
func (x *messageCell) close(c load.CodeCount, most int) {
	for i := range x.closes {
		if x.closes[i].Code == c.Code {
			x.closes[i].Count += c.Count
			return
		}
	}
	if len(x.closes) >= most {
		x.otherCloses += c.Count
		return
	}
	x.closes = addCode(x.closes, c)
}

// add adds what another cell of the step counted.
func (x *messageCell) add(o *messageCell, maxCodes int) {
	x.Add(&o.MessageCounts)
	x.otherCloses += o.otherCloses
	for _, c := range o.closes {
		x.close(c, maxCodes)
	}
}
