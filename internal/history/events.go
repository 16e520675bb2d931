package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// Event keeps an event. It is on disk when Event returns nil, unless another
// process was reading just then: it is written within a second after that. An
// error was reported to Fault; the event waits in memory until the disk takes it.
func (h *History) Event(e load.Event) error {
	if err := h.AddEvent(e); err != nil {
		return err
	}
	return h.Flush()
}

// AddEvent keeps an event that Flush, or Run within a second, writes together with others.
func (h *History) AddEvent(e load.Event) error {
	if h.readOnly {
		return errReadOnly
	}
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	h.ledger.put(change{bucket: eventsBucket, key: h.ledger.eventKey(e.At), value: text})
	return nil
}

// Flush writes events and findings that wait, in one transaction, as Event does.
func (h *History) Flush() error {
	if err := h.ledger.flush(); err != nil && !errors.Is(err, errBusy) {
		h.fault(err)
		return err
	}
	return nil
}

// Events returns the events from an instant to another, both included, in order
// of time, those of one instant in the order in which they came. The zero time is no bound.
func (h *History) Events(from, to time.Time) ([]load.Event, error) {
	var first, last []byte
	if !from.IsZero() {
		first = timeKey(from)
	}
	if !to.IsZero() {
		last = timeKey(to)
	}
	return decoded[load.Event](h, eventsBucket, first, last)
}

// PutFinding keeps a finding, in place of an earlier one of its ID. Run writes it
// within a second, and Close.
func (h *History) PutFinding(f load.Finding) error {
	if h.readOnly {
		return errReadOnly
	}
	if f.ID == "" {
		return errors.New("a finding has no ID")
	}
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode finding %s: %w", f.ID, err)
	}
	h.ledger.put(change{bucket: findingsBucket, key: []byte(f.ID), value: text})
	return nil
}

// Findings returns all findings in order of their IDs.
func (h *History) Findings() ([]load.Finding, error) {
	return decoded[load.Finding](h, findingsBucket, nil, nil)
}

// DeleteFindings removes findings by their IDs, as PutFinding keeps them.
func (h *History) DeleteFindings(ids ...string) error {
	if h.readOnly {
		return errReadOnly
	}
	for _, id := range ids {
		if id != "" {
			h.ledger.put(change{bucket: findingsBucket, key: []byte(id)})
		}
	}
	return nil
}

// decoded returns the values of a bucket. What cannot be decoded is left out and
// reported to Fault.
func decoded[T any](h *History, bucket, first, last []byte) ([]T, error) {
	values, err := h.ledger.values(bucket, first, last)
	if err != nil {
		return nil, err
	}
	var list []T
	for _, text := range values {
		var v T
		if err := json.Unmarshal(text, &v); err != nil {
			h.fault(fmt.Errorf("%s: %w", h.ledger.path, err))
			continue
		}
		list = append(list, v)
	}
	return list, nil
}
