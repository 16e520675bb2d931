package history

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Values that come while others are being written are written together, and each caller knows what became of its own.
func TestValuesThatAreSetAtOnceShareATransaction(t *testing.T) {
	const callers = 200
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("the disk is full: %v", fails), func(t *testing.T) {
			var transactions atomic.Int32
			var full atomic.Bool
			goOn, began := make(chan struct{}), make(chan struct{}, 1)
			h := opened(t, Options{Dir: t.TempDir(), Fault: func(error) {}, Disk: func() error {
				if transactions.Add(1) == 1 {
					began <- struct{}{}
					<-goOn
				}
				if full.Load() {
					return syscall.ENOSPC
				}
				return nil
			}})
			var all sync.WaitGroup
			errs := make([]error, callers)
			set := func(i int) {
				h.PutState(fmt.Sprint("key", i), []byte("1"))
				errs[i] = h.FlushState()
			}
			all.Go(func() { set(0) })
			<-began
			put := make(chan struct{}, callers)
			for i := 1; i < callers; i++ {
				all.Go(func() {
					h.PutState(fmt.Sprint("key", i), []byte("1"))
					put <- struct{}{}
					errs[i] = h.FlushState()
				})
			}
			for range callers - 1 {
				<-put
			}
			full.Store(fails)
			close(goOn)
			all.Wait()
			if n := transactions.Load(); n > 20 { // some may have asked when the second flight was under way
				t.Errorf("%d transactions for %d values that were set at once", n, callers)
			}
			for i, err := range errs {
				if errors.Is(err, syscall.ENOSPC) != fails || !fails && err != nil {
					t.Errorf("value %d: %v", i, err)
				}
			}
			full.Store(false)
			must(t, h.FlushState())
			kept, err := h.States()
			must(t, err)
			if len(kept) != callers {
				t.Errorf("%d values are on disk, want %d", len(kept), callers)
			}
		})
	}
}
