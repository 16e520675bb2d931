package history

import (
	"testing"

	"go.etcd.io/bbolt"
)

// setVersion makes the file one of another version.
func (l *ledger) setVersion(t *testing.T, v byte) {
	t.Helper()
	must(t, l.update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(versionKey, []byte{v}) }))
}
