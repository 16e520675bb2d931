package history

import (
	"bytes"
	"errors"

	"go.etcd.io/bbolt"
)

// States returns the small state that PutState kept, by key.
func (h *History) States() (map[string][]byte, error) {
	kept := map[string][]byte{}
	err := h.ledger.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(stateBucket)
		if b == nil { // of a version without state
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			kept[string(k)] = bytes.Clone(v)
			return nil
		})
	})
	return kept, err
}

// PutState keeps a value under a key, or forgets the key where value is nil. It is on disk
// after FlushState. A history that is read only keeps nothing.
func (h *History) PutState(key string, value []byte) {
	if !h.readOnly {
		h.ledger.put(change{bucket: stateBucket, key: []byte(key), value: value})
	}
}

// FlushState writes what PutState kept. It is on disk when FlushState returns nil, unless
// another process was reading just then: it is written within a second after that. After
// an error it waits in memory until the disk takes it.
func (h *History) FlushState() error {
	if h.readOnly {
		return errReadOnly
	}
	if err := h.ledger.flush(); err != nil && !errors.Is(err, errBusy) {
		h.fault(err)
		return err
	}
	return nil
}
